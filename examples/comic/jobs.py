"""The jobs: plain functions that a worker finds by name. What they return is stored; pictures travel as paths."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio.to_thread

from asyncjobs import current_job

from . import ledger, pages
from .art.look import Look
from .art.sheet import draw_sheet, make_look
from .book import bind_cbz, bind_pdf, make_contact_sheet, stem_of
from .files import is_drawn, recipe_of, save_picture, write_text
from .layout import Slot
from .panel import draw
from .script import Panel

FAIL_SOME = "COMIC_FAIL_SOME"
"""Environment variable: `0` keeps the panels that would fail on purpose from doing so (not an argument of the job,
so that a run can go on with or without it)."""


async def write_plot(mystery: dict[str, Any], cast: dict[str, str], out: Path) -> dict[str, Any]:
    """Work out the structure of the plot from its constraints: who can have done it, who saw what, in which order."""
    job = current_job()
    ledger.enter(out, job.id, job.attempt)
    killer, victim = mystery["killer"], mystery["victim"]
    if killer in (victim, mystery["detective"]) or killer in mystery.get("witnesses", []):
        raise ValueError(f"{killer} cannot be the killer, and victim, detective or witness as well")
    clues = list(mystery.get("clues", []))
    plot: dict[str, Any] = {
        "killer": killer,
        "victim": victim,
        "client": mystery["client"],
        "detective": mystery["detective"],
        "cast": cast,
        "acts": [
            {"act": "The client", "turn": f"{mystery['client']} tells how {victim} died.", "clues": clues[:1]},
            {"act": "The search", "turn": f"{mystery['detective']} goes over the rooms.", "clues": clues[1:]},
            {"act": "The trap", "turn": f"{killer} is met at night, and meets his own weapon.", "clues": []},
        ],
        "motive": mystery.get("motive", ""),
        "weapon": mystery.get("weapon", ""),
        "witnesses": list(mystery.get("witnesses", [])),
    }
    await anyio.to_thread.run_sync(
        write_text, out / "story" / "plot.json", json.dumps(plot, indent=2, ensure_ascii=False)
    )
    return plot


async def write_narrative(plot: dict[str, Any], scenes: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Write the story down, scene by scene, as the artists will read it."""
    job = current_job()
    ledger.enter(out, job.id, job.attempt)
    text = [f"Killer: {plot['killer']}.  Victim: {plot['victim']}.  Motive: {plot['motive']}", ""]
    for i, scene in enumerate(scenes, 1):
        job.progress(i, len(scenes), scene["title"])
        text.append(f"{i}. {scene['title'].upper()}")
        for beat in scene["beats"]:
            text.append(f"   {beat['id']}: {beat['action']}")
            text.extend(f"      {line}" for line in beat["lines"])
        text.append("")
    path = out / "story" / "narrative.txt"
    await anyio.to_thread.run_sync(write_text, path, "\n".join(text))
    return {"path": path, "scenes": len(scenes), "cast": plot["cast"]}


def draw_reference(name: str, words: dict[str, Any], seed: int, narrative: dict[str, Any], out: Path) -> dict[str, Any]:
    """Draw a character's reference sheet; the features in the result are what the panels draw the person from."""
    job = current_job()
    ledger.enter(out, job.id, job.attempt)
    look = make_look(name, words, seed)
    path = out / "characters" / f"{name}_reference.png"
    recipe = recipe_of(look.as_dict(), seed)
    if not is_drawn(path, recipe):
        job.progress(0, 1, "drawing the sheet")
        save_picture(
            draw_sheet(look, words.get("full_name", name), narrative["cast"].get(name, ""), seed), path, recipe
        )
    job.emit("preview", {"path": str(path)})
    return {"name": name, "path": path, "look": look.as_dict()}


def draw_panel(
    panel: dict[str, Any],
    references: dict[str, dict[str, Any]],
    size: list[int],
    seed: int,
    out: Path,
    hangs_up: bool = False,
) -> dict[str, Any]:
    """Draw one panel with the references of the people in it."""
    job = current_job()
    ledger.enter(out, job.id, job.attempt)
    if hangs_up and job.attempt == 1 and os.environ.get(FAIL_SOME, "1") != "0":
        raise ConnectionError("the image service hung up")
    made = Panel.from_dict(panel)
    path = out / "images" / made.output_filename
    looks = {name: Look.from_dict(reference["look"]) for name, reference in references.items()}
    recipe = recipe_of(panel, [looks[name].as_dict() for name in sorted(looks)], size, seed)
    cached = is_drawn(path, recipe)
    if not cached:
        job.log(f"{made.shot.replace('_', ' ')}, {made.tone}: {made.action}")
        picture = draw(made, looks, (size[0], size[1]), seed, job.progress)
        save_picture(picture, path, recipe)
    job.emit("preview", {"path": str(path), "cached": cached})
    return {"id": made.id, "path": path, "recipe": recipe}


def draw_cover(book: dict[str, Any], detective: dict[str, Any], friend: dict[str, Any], out: Path) -> Path:
    """Draw the cover."""
    job = current_job()
    ledger.enter(out, job.id, job.attempt)
    path = out / "pages" / "page_00.png"
    recipe = recipe_of(book, detective["look"], friend["look"])
    if not is_drawn(path, recipe):
        picture = pages.cover(
            book["title"],
            book["subtitle"],
            book["author"],
            book["source"],
            Look.from_dict(detective["look"]),
            Look.from_dict(friend["look"]),
            book["seed"],
        )
        save_picture(picture, path, recipe)
    job.emit("preview", {"path": str(path)})
    return path


def compose_page(
    number: int, title: str, last: bool, book: str, slots: list[dict[str, Any]], panels: list[dict[str, Any]], out: Path
) -> Path:
    """Set the panels of a scene into a page."""
    job = current_job()
    ledger.enter(out, job.id, job.attempt)
    path = out / "pages" / f"page_{number:02d}.png"
    recipe = recipe_of(number, title, last, book, slots, [panel["recipe"] for panel in panels])
    if not is_drawn(path, recipe):
        pictures = {panel["id"]: Path(panel["path"]) for panel in panels}
        page = pages.compose(title, number, last, book, [Slot(**slot) for slot in slots], pictures)
        save_picture(page, path, recipe)
    job.emit("preview", {"path": str(path)})
    return path


def bind_book(title: str, author: str, sheets: list[Path], out: Path) -> dict[str, Any]:
    """Bind the pages into a PDF and a CBZ, and set them side by side on a contact sheet."""
    job = current_job()
    ledger.enter(out, job.id, job.attempt)
    stem = stem_of(title)
    job.progress(0, 3, "the PDF")
    pdf = bind_pdf(sheets, out / f"{stem}.pdf", title, author)
    job.progress(1, 3, "the CBZ")
    cbz = bind_cbz(sheets, out / f"{stem}.cbz", title, author)
    job.progress(2, 3, "the contact sheet")
    sheet = make_contact_sheet(sheets, out / "contact_sheet.png", title)
    job.progress(3, 3, "bound")
    return {"pages": sheets, "pdf": pdf, "cbz": cbz, "contact_sheet": sheet}
