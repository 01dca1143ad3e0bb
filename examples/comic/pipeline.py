"""The graph: plot → narrative → references → panels → pages → one book, submitted all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asyncjobs import JobHandle, JobProcessor, RetryPolicy

from . import jobs
from .files import sweep
from .layout import lay_out
from .script import Panel, Script

IMAGES = ("images", 3)
"""At most three pictures are drawn at a time."""
STAGES = ("plot", "narrative", "references", "panels", "pages", "book")
RETRY = RetryPolicy(max_retries=3, base=0.2, jitter=0.0, never_on=(ValueError,))
"""An image service that hangs up is asked again; a plot that cannot be is not."""


@dataclass(frozen=True)
class Pipeline:
    """What was submitted: the book to wait for, and the stage of every job."""

    movie_id: str
    book: JobHandle[Any]
    stages: dict[str, str]


def choose_failing(panels: list[Panel]) -> set[str]:
    """Name three panels that fail on their first attempt: one early, one in the middle, one late."""
    return {panels[len(panels) * k // 8].id for k in (1, 4, 6)}


def prompt_of(panel: Panel, script: Script) -> str:
    """Say in words what the panel shows, as an image service would be told."""
    people = ", ".join(script.characters[name].get("full_name", name) for name in panel.who) or "nobody"
    return f"{panel.shot.replace('_', ' ')} of {panel.place.replace('_', ' ')}, {panel.tone}; {people}. {panel.action}"


async def submit(jp: JobProcessor, script: Script, movie_id: str, out: Path, prefix: str = "") -> Pipeline:
    """Submit the whole comic in one batch; what is stored already under the same ids is taken as it is.

    Where several comics share a database, a `prefix` keeps the ids of their jobs apart.
    """
    make_folders(out)
    sweep(out)
    stages: dict[str, str] = {}

    async with jp.batch() as b:

        async def add(stage: str, name: str, func: Any, *args: Any, **options: Any) -> JobHandle[Any]:
            job_id = prefix + name
            stages[job_id] = stage
            metadata = {"stage": stage, **options.pop("metadata", {})}
            return b.submit_job(
                func,
                *args,
                job_id=job_id,
                group=movie_id,
                metadata=metadata,
                retry=RETRY,
                if_exists="return",
                **options,
            )

        plot = await add("plot", "plot", jobs.write_plot, script.mystery, roles_of(script), out)
        book = await build(add, script, plot, out, failing=choose_failing(script.panels))
    return Pipeline(movie_id, book, stages)


def make_folders(out: Path) -> None:
    """Make the folders that the jobs write to."""
    for folder in ("story", "characters", "images", "pages"):
        (out / folder).mkdir(parents=True, exist_ok=True)


def roles_of(script: Script) -> dict[str, str]:
    """Return what each character is in the story."""
    return {name: words.get("role", "") for name, words in script.characters.items()}


async def build(
    add: Callable[..., Awaitable[JobHandle[Any]]],
    script: Script,
    plot: Any,
    out: Path,
    *,
    images: tuple[str, int] = IMAGES,
    failing: Collection[str] = (),
) -> JobHandle[Any]:
    """Add everything that follows from the plot; return the handle of the book.

    :param add: submits a job: its stage, its name, its function and arguments, and options of `submit_job`.
    :param plot: the handle of the plot, or the plot itself.
    :param images: the limit of pictures that are drawn at a time.
    :param failing: panels that fail on their first attempt.
    """
    narrative = await add("narrative", "narrative", jobs.write_narrative, plot, _beats(script), out)
    references = {
        name: await add(
            "references",
            f"char_ref_{name}",
            jobs.draw_reference,
            name,
            words,
            script.seed,
            narrative,
            out,
            limit=images,
        )
        for name, words in script.characters.items()
    }
    sheets = [await _cover(add, script, references, out, images)]
    for scene in script.scenes:
        slots = lay_out(scene.panels)
        drawn = [
            await add(
                "panels",
                panel.id,
                jobs.draw_panel,
                panel.as_dict(),
                {name: references[name] for name in panel.who},
                [slot.width, slot.height],
                script.seed,
                out,
                panel.id in failing,
                depends_on=[narrative],
                limit=images,
                metadata={
                    "prompt": prompt_of(panel, script),
                    "art_style": script.art_style,
                    "shot_type": panel.shot,
                    "emotional_tone": panel.tone,
                    "orientation": panel.orientation,
                    "output_filename": panel.output_filename,
                    "page": scene.number,
                    "slot": [slot.x, slot.y, slot.width, slot.height],
                },
            )
            for panel, slot in zip(scene.panels, slots, strict=True)
        ]
        sheets.append(
            await add(
                "pages",
                f"page_{scene.number:02d}",
                jobs.compose_page,
                scene.number,
                scene.title,
                scene is script.scenes[-1],
                script.title,
                [asdict(s) for s in slots],
                drawn,
                out,
                metadata={"page": scene.number, "title": scene.title},
            )
        )
    facts = {"title": script.title}
    return await add("book", "book", jobs.bind_book, script.title, script.author, sheets, out, metadata=facts)


def _beats(script: Script) -> list[dict[str, Any]]:
    return [
        {
            "title": scene.title,
            "beats": [
                {"id": p.id, "action": p.action, "lines": [f"{line.speaker}: {line.text}" for line in p.dialogue]}
                for p in scene.panels
            ],
        }
        for scene in script.scenes
    ]


async def _cover(
    add: Callable[..., Awaitable[JobHandle[Any]]],
    script: Script,
    references: dict[str, JobHandle[Any]],
    out: Path,
    images: tuple[str, int],
) -> JobHandle[Any]:
    book = {
        "title": script.title,
        "subtitle": script.subtitle,
        "author": script.author,
        "source": script.source,
        "seed": script.seed,
    }
    detective = script.mystery["detective"]
    friend = next(
        (n for n in script.mystery.get("witnesses", []) if n not in (detective, script.mystery["client"])), detective
    )
    return await add(
        "pages",
        "page_00",
        jobs.draw_cover,
        book,
        references[detective],
        references[friend],
        out,
        limit=images,
        metadata={"output_filename": "page_00.png", "page": 0, "title": "Cover"},
    )
