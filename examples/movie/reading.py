"""Words that were meant for an image model, read for what the artist here can draw: people, places, poses, light."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

from examples.comic.art.palette import PAINTS, TONES
from examples.comic.script import Panel

_COLORS = {name: name for name in PAINTS} | {
    "blonde": "gold", "blond": "gold", "ginger": "russet", "red": "crimson", "auburn": "chestnut", "gray": "grey",
    "dark": "black", "purple": "plum", "orange": "russet", "yellow": "gold", "beige": "tan", "violet": "mauve",
}  # fmt: skip
_COLOR = re.compile(r"\b(" + "|".join(sorted(_COLORS, key=len, reverse=True)) + r")\b")
_PARTS = {
    "hair": r"hair|curls|locks",
    "coat": r"dress|coat|ulster|overcoat|jacket|suit|whites|uniform|tunic",
    "shirt": r"collar|shirt|blouse",
    "neckwear": r"necktie|tie|scarf|cravat|shawl",
    "trousers": r"trousers|skirt|breeches",
    "hat_color": r"bonnet|bowler|top hat|cap|hat",
}
Words = tuple[tuple[str, str], ...]
_HAIR: Words = (
    (r"chignon|\bbun\b|pinned", "chignon"), (r"wild|unkempt", "wild"), (r"curl", "curly"),
    (r"loose|long hair", "loose"), (r"slick|bald|receding", "slick"), (r"parted|short", "parted"),
)  # fmt: skip
_NOSE: Words = (
    ("aquiline", "aquiline"), ("hawk", "hawk"), ("small nose|button", "small"), ("broad nose", "broad"),
)  # fmt: skip
_WHISKERS: Words = (("mutton|sideburn", "mutton"), ("m[uo]u?stache", "moustache"), ("beard", "beard"))
_BUILD: Words = (
    (r"\bslight|\bslim|\bthin\b", "slight"), (r"\blean\b", "lean"), ("sturdy|stocky|muscular|athletic", "sturdy"),
    ("huge|giant|heavy", "huge"),
)  # fmt: skip
_HEIGHT: Words = (("towering", "towering"), (r"\btall\b", "tall"), (r"\b(small|short)\b(?! \w* ?(hair|nose))", "small"))
_SKIN: Words = (
    (r"\bpale", "pale"), (r"ruddy|freckled", "ruddy"), (r"weathered|tanned", "weathered"), (r"sallow", "sallow"),
    (r"(dark|brown|black)[ -]skin", "brown"), (r"\bfair\b|caucasian", "fair"),
)  # fmt: skip
_COAT: Words = (
    (r"frock", "frock"), (r"ulster|overcoat|cloak|\bcoat\b", "ulster"), (r"nightdress", "nightdress"),
    (r"jacket|suit|uniform|whites|tunic", "jacket"),
)  # fmt: skip
_HAT: Words = (
    ("bonnet", "bonnet"), ("top hat", "top_hat"), ("deerstalker", "deerstalker"), (r"\bcap\b", "flat_cap"),
    (r"bowler|\bhat\b|helmet", "bowler"),
)  # fmt: skip
_WOMAN = re.compile(r"\b(woman|girl|lady|mother|daughter|queen|she|her)\b")
_PLACE: Words = (
    (r"sitting[ -]room|parlou?r|living[ -]room|fireside", "sitting_room"), (r"bed[ -]?room", "bedroom"),
    (r"study|office|laboratory|kitchen", "doctor_room"), (r"corridor|hallway|passage|staircase", "corridor"),
    (r"\binn\b|tavern|\bpub\b|\bbar\b|restaurant|caf", "inn"), (r"train|railway|carriage", "train"),
    (r"manor|castle|mansion|lawn|\bhouse\b", "manor"),
    (r"lane|road|street|field|path|forest|garden|pitch|hill|sea|ship", "lane"),
)  # fmt: skip
_SHOT: Words = (
    (r"over[ -]the[ -]shoulder|over[ -]shoulder", "over_shoulder"), (r"close[ -]?up", "close_up"),
    (r"two[ -]shot", "two_shot"), (r"low[ -]angle", "low_angle"), (r"silhouette", "silhouette"),
    (r"medium|waist", "medium"), (r"wide|establishing|long shot", "wide"),
)  # fmt: skip
_MOOD: Words = (
    (r"relief|relieved|happy|joy|smil", "relief"), (r"sorrow|\bsad|grief|tears", "sorrow"), (r"\bwry", "wry"),
    (r"\bfear|afraid|scared", "fear"), (r"menac|angry|threat", "menace"), (r"horror|terror", "horror"),
    (r"resolv|determin|focus|intens", "resolve"), (r"curious|wonder", "curious"), (r"dread|ominous", "dread"),
    (r"calm|quiet|still", "calm"),
)  # fmt: skip
_POSE: Words = (
    (r"embrac|hug", "embrace"), (r"lantern", "lantern"), (r"candle", "candle"), (r"clasp|pray", "clasp"),
    (r"plead|beg", "plead"), (r"recoil|shrink", "recoil"), (r"stagger|stumbl", "stagger"),
    (r"pistol|revolver", "pistol"),
    (r"letter|paper|\breads?\b", "paper"), (r"hush|finger to", "hush"), (r"stoop|kneel|search", "stoop"),
    (r"points?\b", "point"), (r"reach", "reach"), (r"explain", "explain"), (r"think|ponder", "think"),
    (r"talk|speak|says", "talk"), (r"pocket", "pocket"), (r"walk|run|stride|hurr", "walk"), (r"stand", "stand"),
)  # fmt: skip
_WEATHER: Words = (
    (r"\brain|\bstorm", "rain"), (r"\bsnow|winter|frost", "snow"), (r"\bfog|\bmist|smoke", "fog"),
)  # fmt: skip
_SEATED = {"think": "sit_think", "talk": "sit_talk", "explain": "sit_talk", "clasp": "sit_clasp"}
_ALONE = {"close_up", "low_angle"}
_CROWD = 3
"""People who fit into a picture."""


def _found(words: Words, text: str, default: str) -> str:
    return next((value for pattern, value in words if re.search(pattern, text)), default)


def _mood(text: str, default: str) -> str:
    """Return the mood that is named first."""
    named = [(found.start(), value) for pattern, value in _MOOD if (found := re.search(pattern, text))]
    return min(named)[1] if named else default


def _color(part: str, text: str) -> str | None:
    """Return the last colour that stands up to three words before a part."""
    for noun in re.finditer(rf"\b({_PARTS[part]})\b", text):
        before = re.split(r"[,;.]", text[: noun.start()])[-1].split()[-3:]
        if colors := _COLOR.findall(" ".join(before)):
            return _COLORS[colors[-1]]
    return None


def read_look(number: int, appearance: str, style: str, seed: int) -> dict[str, Any]:
    """Return the features of a character, as a reference sheet of the comic takes them; chance fills the gaps."""
    rng = random.Random(f"{seed}/character/{number}")
    face, clothes = appearance.lower(), style.lower()
    woman = _WOMAN.search(f"{face} {clothes}") is not None
    coat_style = _found(_COAT, clothes, "jacket")
    words: dict[str, Any] = {
        "woman": woman,
        "hair_style": _found(_HAIR, face, "chignon" if woman else "parted"),
        "nose": _found(_NOSE, face, "small" if woman else rng.choice(("straight", "broad", "aquiline"))),
        "whiskers": _found(_WHISKERS, face, "none"),
        "build": _found(_BUILD, face, "middling"),
        "height": _found(_HEIGHT, face, "middling"),
        "skin": _found(_SKIN, face, rng.choice(("pale", "fair", "ruddy", "weathered"))),
        "lines": 2 if re.search(r"(?<!year-)(?<!years )\bold\b|wrinkl|\baged|elder", face) else 0,
        "coat_style": "dress" if woman and coat_style != "nightdress" else coat_style,
        "hat": _found(_HAT, clothes, "none"),
    }
    chance = {
        "hair": rng.choice(("black", "brown", "chestnut", "russet", "silver", "gold")),
        "coat": rng.choice(("navy", "teal", "green", "plum", "charcoal", "tweed", "slate")),
        "shirt": "white",
        "neckwear": rng.choice(("crimson", "gold", "teal", "mauve")),
        "trousers": rng.choice(("charcoal", "brown", "slate")),
        "hat_color": "black",
    }
    return words | {part: _color(part, face if part == "hair" else clothes) or chance[part] for part in _PARTS}


def read_picture(
    picture_id: str, prompt: str, cast: Mapping[str, str], mood: str, scene: int, rng: random.Random
) -> Panel:
    """Return what a prompt asks for as a panel without words: ``cast`` are the names of the people by their keys."""
    text = prompt.lower()
    tone = _mood(text, _mood(mood.lower(), "calm"))
    tone = tone if tone in TONES else "calm"
    shot = _found(_SHOT, text, "medium")
    parts = _parts(text, cast)
    who = list(parts)[: 1 if shot in _ALONE else 2 if shot in {"over_shoulder", "two_shot"} else _CROWD]
    shot = _fitting(shot, len(who))
    place = _found(_PLACE, text, rng.choice(("lane", "manor") if not who else ("lane", "sitting_room")))
    poses = {key: _pose(parts[key], text) for key in who}
    lit = re.search(r"\blit\b|signal|lamp in|light in", text)
    return Panel(
        id=picture_id,
        number=scene,
        scene=scene,
        shot=shot,
        orientation="landscape",
        tone=tone,
        place=place,
        night=re.search(r"night|dark|dawn|dusk|moon|stars", text) is not None,
        key=rng.choice(("left", "right")),
        action=prompt,
        who=who,
        poses={key: pose for key, pose in poses.items() if pose},
        moods={key: _mood(parts[key], tone) for key in who},
        hats=[key for key in who if _found(_HAT, parts[key], "")],
        dress={},
        dialogue=[],
        caption="",
        sound="",
        prop="signal" if place == "manor" and lit else "",
        silhouettes="silhouette" in text,
        facing={},
    )


def _parts(text: str, cast: Mapping[str, str]) -> dict[str, str]:
    """Return what is said of each of the people, in the order in which they are named; then the others, of all."""
    found: list[tuple[int, str]] = []
    for key, name in cast.items():
        words = [re.escape(word) for word in name.lower().split() if len(word) > 2 and word.isalpha()]
        mention = re.search(rf"\b({'|'.join(words)})\b", text) if words else None
        found.append((mention.start() if mention else len(text), key))
    found.sort()
    ends = [*(start for start, _ in found), len(text)][1:]
    return {key: text[start:end] for (start, key), end in zip(found, ends, strict=False)}


def _pose(part: str, text: str) -> str:
    pose = _found(_POSE, part, _found(_POSE, text[text.find(part) :] if part else text, ""))
    if re.search(r"\bsit(s|ting)?\b(?![ -]room)|seated", part):
        return _SEATED.get(pose, "sit")
    return pose


def _fitting(shot: str, people: int) -> str:
    if people == 0:
        return "wide"
    if people == 1 and shot in {"two_shot", "over_shoulder"}:
        return "medium"
    return shot


def read_weather(texts: Iterable[str]) -> str:
    """Return what floats in the air of a scene."""
    return _found(_WEATHER, " ".join(texts).lower(), "dust")
