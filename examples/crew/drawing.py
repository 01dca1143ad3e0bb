"""The jobs between the screenplay and the comic; what draws is the comic's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncjobs import current_job
from examples.comic import jobs
from examples.comic.script import parse_script
from examples.crew.screenplay import parse, stage


def make_script(screenplay: str, title: str) -> dict[str, Any]:
    """Put the words of a screenplay on the storyboard: the script of the comic."""
    script = stage(parse(screenplay), title)
    parse_script(script)  # what cannot be drawn is said here, before anything is
    current_job().log(f"the murderer is {script['mystery']['killer']}")
    return script


async def write_plot(script: dict[str, Any], out: Path) -> dict[str, Any]:
    """Work out the plot of a script."""
    cast = {name: words.get("role", "") for name, words in script["characters"].items()}
    return await jobs.write_plot(script["mystery"], cast, out)


async def write_narrative(plot: dict[str, Any], script: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write the story of a script down."""
    scenes = [
        {
            "title": scene.title,
            "beats": [
                {
                    "id": panel.id,
                    "action": panel.action,
                    "lines": [f"{line.speaker}: {line.text}" for line in panel.dialogue],
                }
                for panel in scene.panels
            ],
        }
        for scene in parse_script(script).scenes
    ]
    return await jobs.write_narrative(plot, scenes, out)


def draw_panel(
    script: dict[str, Any],
    number: int,
    panel_id: str,
    references: dict[str, dict[str, Any]],
    size: list[int],
    out: Path,
) -> dict[str, Any]:
    """Draw one panel of a script, with the references of the people in it."""
    story = parse_script(script)
    panel = replace(story.panels[number - 1], id=panel_id)
    present = {name: references[name] for name in panel.who}
    return jobs.draw_panel(panel.as_dict(), present, size, story.seed, out)
