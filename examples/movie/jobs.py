"""The jobs: plain functions that a worker finds by name. What they return is stored; pictures and clips are paths."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.from_thread
from PIL import Image

from asyncjobs import JobContext, current_job
from examples.comic import ledger
from examples.comic.files import recipe_of

from . import sound
from .camera import RATE, Clip, count_frames
from .drawing import HEIGHT, WIDTH, design, draw_keyframe, draw_view
from .ffmpeg import Grade, Piece, count_cut, cut, encode, finish, list_starts
from .lettering import lettering, title_card
from .parts import open_picture, save_picture, whole
from .process import ProgramError, StoppedError
from .reading import read_weather
from .screenplay import CARD, PAN

_GRADES = {
    "dread": Grade(1.08, 0.96, -0.03, 0.06, 0.62),
    "fear": Grade(1.08, 0.94, -0.04, 0.04, 0.62),
    "sorrow": Grade(1.04, 0.92, -0.01, 0.05, 0.58),
    "relief": Grade(1.05, 1.14, 0.05, -0.03, 0.48),
    "curious": Grade(1.05, 1.08, 0.02, -0.01, 0.52),
}


class NothingFilmedError(ValueError):
    """There is no scene of which a film could be made."""


@contextmanager
def _working(folder: Path) -> Iterator[JobContext]:
    """Note in the ledger that a body begins; a program that was stopped with it is a cancellation."""
    job = current_job()
    ledger.enter(folder, job.id, job.attempt)
    try:
        yield job
    except StoppedError:
        anyio.from_thread.check_cancelled()
        raise


def write_screenplay(data: dict[str, Any], warnings: list[str], folder: Path) -> dict[str, Any]:
    """Write the screenplay down as it was given, and log what it will be instead of what it asks for."""
    with _working(folder) as job:
        for warning in warnings:
            job.log(warning, level="warning")
        with whole(folder / "screenplay.json") as part:
            part.write_text(json.dumps(data, indent=2, ensure_ascii=False), encoding="utf-8")
        return {"path": folder / "screenplay.json"}


# -- pictures


def draw_front(character: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Draw the front view of a character; all other pictures of him are made from the features in the result."""
    with _working(folder) as job:
        look = design(character["id"], character["name"], character["physical_appearance"], character["style"], seed)
        made = {"name": character["name"], "look": look, "seed": seed}
        return made | _view(job, made, "front", folder / "characters" / f"char_{character['id']}_front.png")


def draw_other_view(front: dict[str, Any], view: str, path: Path, folder: Path) -> dict[str, Any]:
    """Draw another view of a character from the front view."""
    with _working(folder) as job:
        return _view(job, front, view, path)


def _view(job: JobContext, front: dict[str, Any], view: str, path: Path) -> dict[str, Any]:
    recipe = recipe_of(front["look"], view, front["name"], front["seed"])
    if open_picture(path, recipe) is None:
        job.progress(0, 1, f"drawing {view.replace('_', ' ')}")
        save_picture(draw_view(front["look"], view, front["name"], front["seed"]), path, recipe)
    job.emit("preview", {"path": str(path)})
    return {"path": path, "view": view}


def draw_frame(keyframe: dict[str, Any], fronts: dict[str, dict[str, Any]], path: Path, folder: Path) -> dict[str, Any]:
    """Draw a keyframe from its prompt and the front views of its characters."""
    with _working(folder) as job:
        cast = {key: {"name": front["name"], "look": front["look"]} for key, front in fronts.items()}
        picture = {"keyframe": keyframe, "cast": cast, "path": path, "recipe": recipe_of(keyframe, cast)}
        _picture(job, picture)
        job.emit("preview", {"path": str(path)})
        return picture


def _picture(job: JobContext, picture: dict[str, Any]) -> Image.Image:
    """Return a keyframe; one that is missing, empty or broken is drawn, once more if need be."""
    path = Path(picture["path"])
    found = open_picture(path, picture["recipe"])
    if found is None:
        found = draw_keyframe(picture["keyframe"], picture["cast"], _told(job))
        save_picture(found, path, picture["recipe"])
    return found


def _told(job: JobContext) -> Callable[[int, int, str], None]:
    """Return what a drawing calls between its steps: it reports them, and ends a drawing that nobody wants any more."""

    def tell(done: int, total: int, what: str) -> None:
        job.progress(done, total, what)
        if job.cancelled:
            raise StoppedError

    return tell


# -- clips


def film_clip(
    scene: dict[str, Any], keyframes: dict[str, dict[str, Any]], card: dict[str, Any], path: Path, folder: Path
) -> dict[str, Any]:
    """Film a scene: between its first and last frame, over its one frame, or a title card."""
    with _working(folder) as job:
        number = count_frames(scene["duration"])
        seed = f"{card['seed']}/{scene['id']}"
        if scene["method"] == CARD:
            mood = scene["mood"] or "dread"
            pictures, air = title_card(card["title"], card["subtitle"], mood, random.Random(seed)), "dust"
        else:
            order = [frame for frame in ("first", "transition", "last") if frame in keyframes]
            order = order[:1] if scene["method"] == PAN else order
            pictures = [_picture(job, keyframes[frame]) for frame in order]
            air = read_weather(scene["frames"].values())
        clip = Clip(pictures, scene["duration"], seed, air, scene["method"] == PAN)
        job.progress(0, number, "frames")
        poster = path.with_name(f"{path.stem}_poster.png")
        frames = _noting(clip, number * 2 // 3, poster)
        encode(frames, path, lambda done: job.progress(done, number, "frames"), lambda: job.cancelled)
        job.emit("preview", {"path": str(poster)})
        return {"path": path, "frames": number, "poster": poster}


def _noting(clip: Clip, chosen: int, poster: Path) -> Iterator[bytes]:
    """Hand on the frames of a clip, and keep one of them as the picture that stands for it."""
    for number, frame in enumerate(clip):
        if number == chosen:
            with whole(poster) as part:
                Image.frombytes("RGB", (WIDTH, HEIGHT), frame).save(part, "PNG", compress_level=3)
        yield frame


def process_clip(
    scene: dict[str, Any], clip: dict[str, Any], options: dict[str, Any], paths: dict[str, Path], folder: Path
) -> dict[str, Any]:
    """Trim and grade a clip, and give it its title, its voice or caption, and its music."""
    with _working(folder) as job:
        number = min(count_frames(scene["trim"]), clip["frames"])
        seconds = number / clip["frames"] * scene["duration"]
        job.progress(0, number, "sound")
        voice = _voice(job, scene, seconds) if options["voices"] else None
        music = sound.compose(seconds, scene["mood"], f"{options['seed']}/{scene['id']}") if options["music"] else None
        sound.save(sound.mix(music, voice, seconds), paths["audio"])
        letters = lettering("" if scene["method"] == CARD else scene["title"], scene["line"] if voice is None else "")
        with whole(paths["letters"]) as part:
            letters.save(part, "PNG")
        finish(
            Path(clip["path"]),
            paths["letters"],
            paths["audio"],
            number,
            _GRADES.get(scene["mood"], Grade()),
            paths["video"],
            lambda done: job.progress(min(done, number), number, "frames"),
            lambda: job.cancelled,
        )
        return {
            "path": paths["video"],
            "frames": number,
            "scene": scene["id"],
            "spoken": voice is not None,
            "poster": clip["poster"],
        }


def _voice(job: JobContext, scene: dict[str, Any], seconds: float) -> array[int] | None:
    """Return the spoken line of a scene; None without one, or where nothing can speak it: then it is a caption."""
    speaker = sound.find_speaker() if scene["line"] else None
    if speaker is None:
        return None
    try:
        return sound.say(speaker, scene["line"], scene["speaker"], max(0.0, seconds - 0.5), lambda: job.cancelled)
    except ProgramError as error:
        job.log(f"the line becomes a caption: {error}", level="warning")
        return None


# -- the film


def cut_film(
    scenes: list[dict[str, Any]], posts: list[dict[str, Any] | None], path: Path, version: int, folder: Path
) -> dict[str, Any]:
    """Cut the scenes that are there into one film; the result says which are missing."""
    with _working(folder) as job:
        pieces = [
            Piece(Path(post["path"]), post["frames"], scene["transition"])
            for scene, post in zip(scenes, posts, strict=True)
            if post is not None
        ]
        if not pieces:
            raise NothingFilmedError("none of the scenes could be filmed, so there is no film")
        number = count_cut(pieces)
        job.progress(0, number, "frames")
        cut(pieces, path, lambda done: job.progress(min(done, number), number, "frames"), lambda: job.cancelled)
        there = {post["scene"] for post in posts if post is not None}
        return {
            "path": path,
            "version": version,
            "scenes": [scene["id"] for scene in scenes if scene["id"] in there],
            "starts": [start / RATE for start in list_starts(pieces)],
            "missing": [scene["id"] for scene in scenes if scene["id"] not in there],
            "seconds": number / RATE,
        }
