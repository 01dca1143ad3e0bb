"""The screenplay: the old pipeline's JSON, checked whole before anything is drawn, and what it comes down to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .mistakes import Reader, ScreenplayError

INTERPOLATION, PAN, CARD = "first_last_frame_interpolation", "image_to_video", "text_to_video"
METHODS = (INTERPOLATION, PAN, CARD)
FRAMES = ("first", "last", "transition")
RATIO = "16:9"
"""Of the pictures."""
SHORTEST, LONGEST = 0.5, 60.0
"""Seconds of a scene."""
MOST_SCENES, MOST_CHARACTERS = 200, 50
_FADES = {"fade to black": "fadeblack", "fade_to_black": "fadeblack", "dissolve": "fade", "fade": "fade"}
_WIPES = {"wipe": "wipeleft", "slide": "slideleft", "iris": "circleopen"}


@dataclass(frozen=True)
class Character:
    """Somebody in the film; how he looks is read from the words."""

    id: int
    name: str
    physical_appearance: str
    style: str


@dataclass(frozen=True)
class Scene:
    """One scene: which pictures it needs, how they become a clip, what is heard, and how the next one follows."""

    id: str
    title: str
    duration: float
    trim: float
    method: str
    frames: dict[str, str]
    characters: list[int]
    line: str
    speaker: str
    transition: str
    mood: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a job's arguments."""
        return asdict(self)


@dataclass(frozen=True)
class Screenplay:
    """A whole film. ``data`` is the JSON that it was read from."""

    title: str
    caption: str
    seed: int
    music: bool
    voices: bool
    characters: list[Character]
    scenes: list[Scene]
    data: dict[str, Any] = field(repr=False)
    warnings: list[str] = field(default_factory=list[str])


def read_screenplay(source: Mapping[str, Any] | str | Path) -> Screenplay:
    """Read and check a screenplay: the JSON as a dict or text, or the path of its file.

    :raises ScreenplayError: it cannot be filmed; the error has every mistake with its path.
    """
    return parse_screenplay(dict(source) if isinstance(source, Mapping) else _loaded(source))


def _loaded(source: str | Path) -> Any:
    try:
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        return json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ScreenplayError([("$", f"the file cannot be read: {error}")]) from None
    except (ValueError, RecursionError) as error:
        hint = (
            "" if isinstance(source, Path) else "; a text is read as JSON: give a file as Path(…); prose is not filmed"
        )
        raise ScreenplayError([("$", f"this is no JSON: {error}{hint}")]) from None


def parse_screenplay(data: Any) -> Screenplay:
    """Check the JSON of a screenplay, and return what is to be filmed."""
    mistakes: list[tuple[str, str]] = []
    warnings: list[str] = []
    whole = Reader(data, "$", mistakes)
    for part in ("scenes", "video_config", "character_description"):
        if isinstance(data, dict) and data.get(part) is None:
            whole.note(part, "this is missing")
    config = whole.inner("video_config")
    if config.fields.get("aspect_ratio") not in (None, RATIO):
        warnings.append(f"$.video_config.aspect_ratio: films are {RATIO}, and not {config.fields['aspect_ratio']!r}")
    characters = _characters(whole)
    scenes = _scenes(whole, {character.id for character in characters}, warnings)
    screenplay = Screenplay(
        title=whole.text("title", "Untitled"),
        caption=whole.text("caption", ""),
        seed=config.whole("seed") or 0,
        music=config.flag("needs_background_music", True),
        voices=config.flag("needs_voiceover", True),
        characters=characters,
        scenes=scenes,
        data=whole.fields,
        warnings=warnings,
    )
    if not mistakes and (problem := _json_problem(data)):
        mistakes.append(("$", f"this is no JSON: {problem}"))
    if mistakes:
        raise ScreenplayError(mistakes)
    return screenplay


def _json_problem(data: Any) -> str:
    """Return why a screenplay could not be read back as it is: NaN, keys that are no texts, values that JSON lacks."""
    try:
        return "" if json.loads(json.dumps(data, allow_nan=False)) == data else "it is read back as something else"
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)


def _characters(whole: Reader) -> list[Character]:
    made: dict[int, Character] = {}
    if whole.fields.get("character_description") is None:
        return []
    for reader in whole.each("character_description", MOST_CHARACTERS):
        number = reader.whole("id")
        if number is None:
            if reader.fields.get("id") is None:
                reader.note("id", "this is missing")
            continue
        if number in made:
            reader.note("id", f"another character has the id {number}, too")
        name = reader.text("name", f"Character {number}")
        made[number] = Character(number, name, reader.text("physical_appearance"), reader.text("style", ""))
    return list(made.values())


def _scenes(whole: Reader, known: set[int], warnings: list[str]) -> list[Scene]:
    made: list[Scene] = []
    if whole.fields.get("scenes") is None:
        return made
    seen: set[str] = set()
    for reader in whole.each("scenes", MOST_SCENES):
        scene = _scene(reader, known, warnings)
        if scene.id and scene.id.casefold() in seen:
            reader.note("scene_id", f"another scene has the id {scene.id!r}, too (upper and lower case are one)")
        seen.add(scene.id.casefold())
        made.append(scene)
    if whole.fields["scenes"] == []:
        whole.note("scenes", "a film has at least one scene")
    return made


def _scene(reader: Reader, known: set[int], warnings: list[str]) -> Scene:
    duration = reader.number("duration", SHORTEST, LONGEST)
    strategy = reader.inner("generation_strategy")
    trim = strategy.number("duration_trim", SHORTEST, max(duration, SHORTEST), duration)
    prompts = reader.inner("keyframe_description")
    frames = {frame: prompts.text(f"{frame}_frame_prompt", "") for frame in FRAMES}
    frames = {frame: prompt for frame, prompt in frames.items() if prompt}
    method = _method(strategy, frames, warnings)
    line = reader.text("voiceover_text", "")
    return Scene(
        id=reader.name("scene_id"),
        title=reader.text("title", ""),
        duration=duration,
        trim=trim,
        method=method,
        frames=frames,
        characters=_cast(reader, known),
        line="" if line.upper() in {"N/A", "NONE"} else line,
        speaker=reader.text("voiceover_character", ""),
        transition=_transition(reader.inner("scene_flow").text("transition_technique", "")),
        mood=reader.text("energy_mood", ""),
    )


def _method(strategy: Reader, frames: dict[str, str], warnings: list[str]) -> str:
    asked = strategy.text("generation_method", PAN)
    where = f"{strategy.path}.generation_method"
    if not frames:
        if asked != CARD:
            warnings.append(f"{where}: the scene has no keyframes and becomes a title card")
        return CARD
    if asked not in METHODS:
        warnings.append(f"{where}: {asked!r} is not known here and becomes {PAN}")
        return PAN
    if asked == INTERPOLATION and not {"first", "last"} <= frames.keys():
        warnings.append(f"{where}: without a first and a last frame it becomes {PAN}")
        return PAN
    return asked


def _cast(reader: Reader, known: set[int]) -> list[int]:
    inner = reader.inner("characters")
    primary = inner.whole("primary_character_id")
    named = [] if primary is None else [(inner, "primary_character_id", primary)]
    named += [(reader, place, number) for place, number in reader.wholes("character_ids")]
    for owner, place, number in named:
        if number not in known:
            owner.note(place, f"no character has the id {number}")
    return list(dict.fromkeys(number for _, _, number in named))


def _transition(words: str) -> str:
    """Return the cross-fade that words ask for, or nothing: a cut."""
    lower = words.lower()
    return next((kind for word, kind in {**_FADES, **_WIPES}.items() if word in lower), "")
