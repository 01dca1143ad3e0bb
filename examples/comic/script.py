"""Reads the script file and checks it, so that a mistake is told with its place before anything is drawn."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from .art.look import MOODS
from .art.palette import PAINTS, TONES
from .art.poses import POSES

SHOTS = ("wide", "medium", "two_shot", "close_up", "over_shoulder", "low_angle", "silhouette", "detail")
ORIENTATIONS = ("landscape", "square", "portrait")
PLACES = ("sitting_room", "bedroom", "doctor_room", "corridor", "inn", "train", "manor", "lane")
PROPS = ("", "dark", "signal", "trap", "band", "snake", "ticket", "wrist", "bell_rope", "milk", "ventilator")
DETAILS = ("ticket", "wrist", "bell_rope", "milk", "ventilator")
MOST_PANELS = 9
"""Of a scene, which is a page: three tiers of three."""
NAME = re.compile(r"[\w.'-]{1,60}")
MANNERS = ("", "whispers", "shouts")
_PAINTED = ("skin", "hair", "coat", "shirt", "neckwear", "trousers", "hat_color")
_CHOICES = {
    "hair_style": ("slick", "parted", "chignon", "loose", "wild", "curly"),
    "nose": ("aquiline", "straight", "hawk", "small", "broad"),
    "whiskers": ("none", "moustache", "mutton", "beard"),
    "build": ("slight", "lean", "middling", "sturdy", "huge"),
    "height": ("small", "middling", "tall", "towering"),
    "coat_style": ("jacket", "frock", "ulster", "gown", "dress", "nightdress"),
    "hat": ("none", "deerstalker", "top_hat", "bowler", "bonnet", "flat_cap"),
}


_TEXTS = ("title", "place", "tone", "lead", "key")
_SCENE: dict[str, type] = {**dict.fromkeys(_TEXTS, str), "night": bool, "panels": list, "hats": list, "dress": dict}
_PANEL: dict[str, type] = {
    **dict.fromkeys(("shot", "orientation", "action", "caption", "tone", "place", "key", "prop", "sound"), str),
    **dict.fromkeys(("beat", "night", "silhouettes", "bare_headed"), bool),
    **dict.fromkeys(("who", "dialogue", "hats"), list),
    **dict.fromkeys(("poses", "moods", "dress", "facing"), dict),
}
"""What may be said of a scene and of a panel; the items of lists and dicts are texts."""


_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "a table"}


class ScriptError(ValueError):
    """The script cannot be used; the text says where and why."""


@dataclass(frozen=True)
class Line:
    """Something that somebody says."""

    speaker: str
    text: str
    manner: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture of the script, with everything its drawing needs."""

    id: str
    number: int
    scene: int
    shot: str
    orientation: str
    tone: str
    place: str
    night: bool
    key: str
    action: str
    who: list[str]
    poses: dict[str, str]
    moods: dict[str, str]
    hats: list[str]
    dress: dict[str, str]
    dialogue: list[Line]
    caption: str
    sound: str
    prop: str
    silhouettes: bool
    facing: dict[str, str]
    lead: str = ""
    """Whose panel it is."""
    action_index: int = 0
    """Which of the lead's turns it is, from 1; a beat belongs to the turn before it."""
    beat_index: int | None = None
    """Which of the beats of that turn, from 1; None for the turn itself."""

    @property
    def output_filename(self) -> str:
        """Return the name of the picture's file."""
        return f"scene_{self.number:04d}.png"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a job's arguments."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Panel:
        """Read what `as_dict` wrote."""
        values: dict[str, Any] = {**data, "dialogue": [Line(**line) for line in data["dialogue"]]}
        return cls(**values)


@dataclass(frozen=True)
class Scene:
    """A scene is a page of the book."""

    number: int
    title: str
    panels: list[Panel]


@dataclass(frozen=True)
class Script:
    """A whole script."""

    title: str
    subtitle: str
    author: str
    source: str
    art_style: str
    seed: int
    mystery: dict[str, Any]
    characters: dict[str, dict[str, Any]]
    scenes: list[Scene]

    @property
    def panels(self) -> list[Panel]:
        """Return all panels in reading order."""
        return [panel for scene in self.scenes for panel in scene.panels]


def load_script(path: Path) -> Script:
    """Read and check a script file."""
    return parse_script(read_script(path))


def read_script(path: Path) -> dict[str, Any]:
    """Read a script file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScriptError(f"there is no script at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ScriptError(f"{path.name} cannot be read: {error}") from None


def parse_script(data: dict[str, Any]) -> Script:
    """Check the content of a script file and give every panel its id."""
    book = _table(data, "book")
    characters = _table(data, "characters")
    for name, person in characters.items():
        _check_character(name, person)
    mystery = _table(data, "mystery")
    for part in ("killer", "victim", "client", "detective"):
        _one_of(mystery.get(part, ""), characters, f"mystery.{part}")
    for witness in mystery.get("witnesses", []):
        _one_of(witness, characters, "mystery.witnesses")
    scenes = data.get("scenes")
    if not scenes:
        raise ScriptError("the script has no scenes ([[scenes]])")
    counters: dict[str, tuple[int, int]] = {}
    number = 0
    made: list[Scene] = []
    if not isinstance(scenes, list):
        raise ScriptError(f"scenes: a list is needed, not {scenes!r:.60}")
    for s, scene in enumerate(scenes, 1):
        _check_types(scene, _SCENE, f"scene {s}")
        where = f"scene {s} ({scene.get('title', 'untitled')})"
        if not scene.get("panels"):
            raise ScriptError(f"{where} has no panels ([[scenes.panels]])")
        if len(scene["panels"]) > MOST_PANELS:
            raise ScriptError(f"{where} has {len(scene['panels'])} panels: {MOST_PANELS} are the most of a page")
        _one_of(scene.get("lead", ""), characters, f"{where}: lead")
        panels: list[Panel] = []
        for i, raw in enumerate(scene["panels"], 1):
            number += 1
            panels.append(_panel(raw, scene, s, number, counters, characters, f"{where}, panel {i}"))
        made.append(Scene(s, str(scene.get("title", f"Scene {s}")), panels))
    try:
        return Script(
            title=book["title"],
            subtitle=book.get("subtitle", ""),
            author=book["author"],
            source=book["source"],
            art_style=book.get("art_style", ""),
            seed=int(book.get("seed", 1)),
            mystery=mystery,
            characters=characters,
            scenes=made,
        )
    except KeyError as missing:
        raise ScriptError(f"[book] needs {missing}") from None


def _panel(
    raw: dict[str, Any],
    scene: dict[str, Any],
    scene_number: int,
    number: int,
    counters: dict[str, tuple[int, int]],
    characters: Iterable[str],
    where: str,
) -> Panel:
    _check_types(raw, _PANEL, where)
    for name in raw:
        _one_of(name, _PANEL, f"{where}: setting")
    who = list(raw.get("who", []))
    for name in who:
        _one_of(name, characters, f"{where}: who")
    shot = _one_of(raw.get("shot", "medium"), SHOTS, f"{where}: shot")
    prop = _one_of(raw.get("prop", ""), PROPS, f"{where}: prop")
    if shot == "detail" and prop not in DETAILS:
        raise ScriptError(f"{where}: a detail needs a prop, one of {', '.join(DETAILS)}")
    if shot in {"close_up", "two_shot", "low_angle", "over_shoulder"} and not who:
        raise ScriptError(f"{where}: a {shot} needs somebody in `who`")
    if shot == "over_shoulder" and len(who) != 2:
        raise ScriptError(f"{where}: over_shoulder needs two people: who is seen from behind, then who is looked at")
    for name, pose in raw.get("poses", {}).items():
        _one_of(name, who, f"{where}: poses")
        _one_of(pose, POSES, f"{where}: pose of {name}")
    for name, mood in raw.get("moods", {}).items():
        _one_of(name, who, f"{where}: moods")
        _one_of(mood, MOODS, f"{where}: mood of {name}")
    for name, way in raw.get("facing", {}).items():
        _one_of(name, who, f"{where}: facing")
        _one_of(way, ("left", "right"), f"{where}: facing of {name}")
    lines = [_line(text, characters, where) for text in raw.get("dialogue", [])]
    beat = bool(raw.get("beat", False))
    lead = next((line.speaker for line in lines if line.speaker in who), who[0] if who else scene["lead"])
    turns, beats = counters.get(lead, (0, 0))
    turns, beats = counters[lead] = (turns, beats + 1) if beat else (turns + 1, 0)
    hats = [] if raw.get("bare_headed") else list(raw.get("hats", scene.get("hats", [])))
    return Panel(
        id=f"panel_{lead}_{turns:02d}_b{beats:02d}" if beat else f"panel_{lead}_{turns:02d}",
        number=number,
        scene=scene_number,
        lead=lead,
        action_index=turns,
        beat_index=beats if beat else None,
        shot=shot,
        orientation=_one_of(raw.get("orientation", "landscape"), ORIENTATIONS, f"{where}: orientation"),
        tone=_one_of(raw.get("tone", scene.get("tone", "calm")), TONES, f"{where}: tone"),
        place=_one_of(raw.get("place", scene.get("place", "")), PLACES, f"{where}: place"),
        night=bool(raw.get("night", scene.get("night", False))),
        key=_one_of(raw.get("key", scene.get("key", "left")), ("left", "right"), f"{where}: key"),
        action=str(raw.get("action", "")),
        who=who,
        poses=dict(raw.get("poses", {})),
        moods=dict(raw.get("moods", {})),
        hats=hats,
        dress={**scene.get("dress", {}), **raw.get("dress", {})},
        dialogue=lines,
        caption=str(raw.get("caption", "")),
        sound=str(raw.get("sound", "")),
        prop=prop,
        silhouettes=bool(raw.get("silhouettes", False)),
        facing=dict(raw.get("facing", {})),
    )


def _check_types(given: Any, types: dict[str, type], where: str) -> None:
    """Check that values are of the kinds that they must be: scripts may come from anybody."""
    if not isinstance(given, dict):
        raise ScriptError(f"{where}: a table is needed, not {given!r:.60}")
    for name, kind in types.items():
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, kind):
            raise ScriptError(f"{where}: {name}: {_KINDS[kind]} is needed, not {value!r:.60}")
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if name != "panels" and not all(isinstance(item, str) for item in items):
            raise ScriptError(f"{where}: {name}: texts are needed, not {value!r:.60}")


def _line(text: str, characters: Iterable[str], where: str) -> Line:
    head, colon, words = text.partition(":")
    if not colon or not words.strip():
        raise ScriptError(f"{where}: dialogue {text!r} is not 'Speaker: words'")
    speaker, _, manner = head.partition("(")
    manner = _one_of(manner.rstrip(") ").strip(), MANNERS, f"{where}: manner of speech")
    return Line(_one_of(speaker.strip(), characters, f"{where}: speaker"), words.strip(), manner)


def _check_character(name: str, person: dict[str, Any]) -> None:
    where = f"characters.{name}"
    if NAME.fullmatch(name) is None or not name.strip("."):
        raise ScriptError(f"{where}: a name must be one word, as it becomes part of job ids and file names")
    for part in _PAINTED:
        if part in person:
            _one_of(person[part], PAINTS, f"{where}.{part}")
    for part, allowed in _CHOICES.items():
        if part in person:
            _one_of(person[part], allowed, f"{where}.{part}")
    for part in ("skin", "hair", "coat", "hair_style", "coat_style"):
        if part not in person:
            raise ScriptError(f"{where} needs {part!r}")


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    value: Any = data.get(name)
    if not isinstance(value, dict) or not value:
        raise ScriptError(f"the script needs a [{name}] table")
    return cast("dict[str, Any]", value)


def _one_of(value: Any, allowed: Iterable[str], where: str) -> str:
    options = list(allowed)
    if value in options:
        return str(value)
    near = difflib.get_close_matches(str(value), options, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; it can be {', '.join(repr(o) for o in options if o)}"
    raise ScriptError(f"{where}: {value!r} is not known{hint}")
