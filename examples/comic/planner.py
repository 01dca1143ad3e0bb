"""The jobs of a comic that is made for constraints: its plot, and the plan of a story that a crew has written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncjobs import JobHandle, current_job
from asyncjobs.compat import JobType

from . import jobs
from .book import stem_of
from .constraints import Character, PlotConstraints
from .pipeline import RETRY, build, prompt_of, roles_of
from .script import Panel, Script, ScriptError, parse_script
from .storyboard import book_of, cast_of, mystery_of

TYPES = {
    "plot": JobType.SCREENPLAY,
    "narrative": JobType.SCREENPLAY,
    "references": JobType.CHARACTER_REF,
    "panels": JobType.IMAGE,
    "pages": JobType.POST_PRODUCTION,
    "book": JobType.POST_PRODUCTION,
}
"""The old pipeline's type of each stage."""
INTERRUPTIONS = 10
"""How often a process may die under a job until the job is given up."""
MOST_SCENES = 20


def options_of(
    stage: str,
    tracker_id: str,
    script: Script | None,
    out: Path,
    args: tuple[Any, ...] = (),
    options: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Return the options of a job: its own, and those of every job of such a comic.

    These are its place in the old pipeline, and how it is retried.
    """
    metadata: dict[str, Any] = {"stage": stage, "tracker_id": tracker_id, "type": TYPES[stage].value}
    if stage == "plot":
        metadata["output_path"] = str(out / "story" / "plot.json")
    elif stage == "narrative":
        metadata["output_path"] = str(out / "story" / "narrative.txt")
    elif stage == "references":
        metadata |= {"name": args[0], "output_path": str(_reference(args[0], out))}
    elif stage == "panels" and script is not None:
        metadata |= facts_of(Panel.from_dict(args[0]), script, out)
    elif stage == "pages":
        metadata["output_path"] = str(out / "pages" / f"{tracker_id}.png")
    elif stage == "book":
        metadata["output_path"] = str(out / f"{stem_of(args[0])}.pdf")
    own = {"metadata": {**options.get("metadata", {}), **metadata}}
    return {**options, **own, "retry": RETRY, "max_interruptions": INTERRUPTIONS}


def facts_of(panel: Panel, script: Script, out: Path) -> dict[str, Any]:
    """Return what the old pipeline noted of a panel."""
    references = {name: str(_reference(name, out)) for name in panel.who}
    return {
        "character_name": panel.lead,
        "character_names": panel.who,
        "character_references": references,
        "character_image_paths": list(references.values()),
        "scene_id": f"scene_{panel.number:04d}",
        "timestamp": panel.number,
        "action_index": panel.action_index,
        "beat_index": panel.beat_index,
        "action": panel.action,
        "location": panel.place,
        "panel": panel.as_dict(),
        "prompt": prompt_of(panel, script),
        "output_path": str(out / "images" / panel.output_filename),
    }


def _reference(name: str, out: Path) -> Path:
    return out / "characters" / f"{name}_reference.png"


async def write_plot(
    request: dict[str, Any], mystery: dict[str, Any], cast: dict[str, str], out: Path
) -> dict[str, Any]:
    """Work out the plot of a comic that was asked for: who did it, who saw what, in which order.

    :param request: what was asked for. It is stored with this job, and what goes on with the comic reads it there.
    """
    return await jobs.write_plot(mystery, cast, out)


async def plan(answer: Any, request: dict[str, Any], out: Path, images: int) -> dict[str, Any]:
    """Read the story that a crew has written, and submit the comic of it as children of this job.

    :param answer: the output of the crew.
    :param request: what was asked for, for those who go on with the comic.
    :raises ScriptError: the answer cannot be drawn, or tells of another mystery; the text says where.
    """
    job = current_job()
    script = parse_script(script_of(answer["raw"] if isinstance(answer, dict) else answer.raw, request))
    plot = await jobs.write_plot(script.mystery, roles_of(script), out)

    async def add(stage: str, name: str, func: Any, *args: Any, **options: Any) -> JobHandle[Any]:
        return await job.submit_job(func, *args, key=name, **options_of(stage, name, script, out, args, options))

    await build(add, script, plot, out, images=("images", images))
    job.log(f"{len(script.panels)} panels on {len(script.scenes)} pages")
    return {"panels": len(script.panels), "pages": len(script.scenes)}


def script_of(text: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return the script of what a crew has answered: JSON, as its task says, perhaps with a fence around it.

    :raises ScriptError: it is no such JSON.
    """
    begin, end = text.find("{"), text.rfind("}")
    try:
        story = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError) as error:
        raise ScriptError(f"$: the answer is not the JSON of a story: {error}") from None
    scenes = story.get("scenes")
    if not isinstance(scenes, list) or not 1 <= len(scenes) <= MOST_SCENES:
        raise ScriptError(f"$.scenes: a list of 1 to {MOST_SCENES} scenes is needed")
    constraints, characters = read_request(request)
    title = request["title"]
    return {
        "book": book_of(title, "A crew of agents"),
        "mystery": {**mystery_of(constraints, characters), **_texts(story)},
        "characters": cast_of(characters),
        "scenes": scenes,
    }


def _texts(story: dict[str, Any]) -> dict[str, Any]:
    return {name: story[name] for name in ("motive", "weapon") if isinstance(story.get(name), str)}


def read_request(request: dict[str, Any]) -> tuple[PlotConstraints, list[Character]]:
    """Return what was asked for."""
    return PlotConstraints(**request["constraints"]), [Character(**one) for one in request["characters"]]
