"""The graph, submitted all or nothing: a crew → a flow → a script → the comic's plot, references, panels, pages, book.

Each arrow is a handle: what the crew has written is the flow's input, and what the flow returns is drawn.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from asyncjobs import DaemonConfig, JobHandle, JobProcessor, RetryPolicy
from examples.comic import jobs
from examples.comic.files import sweep
from examples.comic.layout import lay_out
from examples.comic.pipeline import IMAGES
from examples.comic.script import parse_script
from examples.crew import drawing
from examples.crew.screenplay import LINES, SUSPECTS, Screenplay, stage

CREW, FLOW = "examples.crew.agents:make_crew", "examples.crew.agents:make_revision"
"""Names: what submits needs no CrewAI."""
DAEMON = DaemonConfig(
    num_workers=8,
    preload=("crewai",),  # before the first job, which would wait for it
    allowed_modules=["examples.crew", "examples.comic"],
    shutdown_timeout=0.25,  # what is cut off goes on after the next start
)
RETRY = RetryPolicy(max_retries=2, base=0.5, never_on=(ValueError,))
WRITING: dict[str, Any] = {"retry": RETRY, "max_interruptions": 20}
"""Long runs are interrupted more often than three times: by each deployment, for one."""


async def submit(jp: JobProcessor, title: str, story: str, out: Path) -> JobHandle[Any]:
    """Submit the whole story; what is stored already under the same ids is taken as it is. Return the book's handle."""
    for folder in ("story", "characters", "images", "pages"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    sweep(out)
    async with jp.batch() as b:

        def options(stage: str, name: str, **metadata: Any) -> dict[str, Any]:
            return {
                "job_id": f"{story}:{name}",
                "group": story,
                "if_exists": "return",
                "metadata": {"stage": stage, "title": title, **metadata},
            }

        draft = b.submit_crew_run(CREW, {"title": title}, args=(story,), **options("crew", "crew"), **WRITING)
        given = {"story": story, "title": title, "draft": draft}
        final = b.submit_flow_run(FLOW, given, **options("flow", "flow"), **WRITING)
        script = b.submit_job(drawing.make_script, final, title, retry=RETRY, **options("script", "script"))
        return _submit_comic(b, script, title, options, out)


def _submit_comic(b: Any, script: JobHandle[Any], title: str, options: Any, out: Path) -> JobHandle[Any]:
    """Submit the graph of the comic, whose script is not written yet: its people and its pages are known."""
    board = parse_script(stage(Screenplay(SUSPECTS[0], "", "", lines=["Bell: …"] * LINES), title))
    plot = b.submit_job(drawing.write_plot, script, out, **options("plot", "plot"))
    narrative = b.submit_job(drawing.write_narrative, plot, script, out, **options("narrative", "narrative"))
    references = {
        name: b.submit_job(
            jobs.draw_reference,
            name,
            words,
            board.seed,
            narrative,
            out,
            limit=IMAGES,
            **options("references", f"char_ref_{name}"),
        )
        for name, words in board.characters.items()
    }
    facts = {
        "title": title,
        "subtitle": board.subtitle,
        "author": board.author,
        "source": board.source,
        "seed": board.seed,
    }
    cover = b.submit_job(
        jobs.draw_cover,
        facts,
        references["Quill"],
        references["Bell"],
        out,
        limit=IMAGES,
        **options("pages", "page_00", page=0),
    )
    sheets = [cover]
    for scene in board.scenes:
        slots = lay_out(scene.panels)
        drawn = [
            b.submit_job(
                drawing.draw_panel,
                script,
                panel.number,
                panel.id,
                references,
                [slot.width, slot.height],
                out,
                limit=IMAGES,
                **options("panels", f"panel_{panel.number}"),
            )
            for panel, slot in zip(scene.panels, slots, strict=True)
        ]
        sheets.append(
            b.submit_job(
                jobs.compose_page,
                scene.number,
                scene.title,
                scene is board.scenes[-1],
                title,
                [asdict(slot) for slot in slots],
                drawn,
                out,
                **options("pages", f"page_{scene.number:02d}", page=scene.number),
            )
        )
    return b.submit_job(jobs.bind_book, title, board.author, sheets, out, **options("book", "book"))
