"""What the agents write: a screenplay as text, so that it can be read while it grows; and how it becomes a script.

::

    Murderer: Hale
    Motive: He had sold the estate that he was to guard.
    Weapon: Morphine in a cup of milk.
    Clue: The cat did not touch the milk.

    1. Bell: No light in the house, Quill.
    …
    8. Quill: Take him to the trap.
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

STORYBOARD = Path(__file__).with_name("story.toml")
LINES = 8
LONGEST = 110
"""Characters of a line that fit into a balloon."""
SUSPECTS = ("Clara", "Hale", "Pike")
_FIELDS = ("murderer", "motive", "weapon")


class ScreenplayError(ValueError):
    """A screenplay cannot be staged; the text says what its author has to change."""


@dataclass(frozen=True)
class Screenplay:
    """A screenplay that can be staged."""

    murderer: str
    motive: str
    weapon: str
    clues: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])
    """What is said, one line for each picture: ``Speaker: words``."""

    def accusation(self) -> str:
        """Return what a person is asked about."""
        person = storyboard()["characters"][self.murderer]
        return f"{person['full_name']}, {person['role']}.\nMotive: {self.motive}\nWeapon: {self.weapon}"


@functools.cache
def storyboard() -> dict[str, Any]:
    """Return the storyboard, with its placeholders."""
    return tomllib.loads(STORYBOARD.read_text("utf-8"))


def parse(text: str) -> Screenplay:
    """Read a screenplay; what stands around it, as models like to add, is ignored.

    :raises ScreenplayError: something is missing, or cannot be drawn.
    """
    fields = {name: _field(text, name) for name in _FIELDS}
    if fields["murderer"] not in SUSPECTS:
        raise ScreenplayError(f"the murderer is {fields['murderer']!r}, and must be one of {', '.join(SUSPECTS)}")
    found = re.findall(r"^\W*(\d+)[.)]\W*(\w+)\W*:(.*)$", text, re.MULTILINE)
    lines = {int(number): (speaker, words.strip(' *_"“”')) for number, speaker, words in found}
    missing = [number for number in range(1, LINES + 1) if number not in lines]
    if missing:
        raise ScreenplayError(f"line {missing[0]} is missing: there are {LINES}, each as '1. Speaker: words'")
    for number, (speaker, words) in lines.items():
        if speaker not in storyboard()["characters"]:
            raise ScreenplayError(f"line {number} is said by {speaker!r}, who is not in the cast")
        if not words or len(words) > LONGEST:
            raise ScreenplayError(f"line {number} has {len(words)} characters, and at most {LONGEST} fit in a balloon")
    clues = re.findall(r"^\W*Clue\W*:\W*(\S.*)$", text, re.MULTILINE)
    said = [f"{speaker}: {words}" for speaker, words in (lines[number] for number in range(1, LINES + 1))]
    return Screenplay(**fields, clues=[clue.strip(" *_") for clue in clues], lines=said)


def _field(text: str, name: str) -> str:
    found = re.search(rf"^\W*{name}\W*:\W*(\S.*)$", text, re.MULTILINE | re.IGNORECASE)
    if found is None:
        raise ScreenplayError(f"there is no line '{name.capitalize()}: …'")
    words = found[1].strip(" *_")
    return words.rstrip(".") if name == "murderer" else words


def stage(screenplay: Screenplay, title: str) -> dict[str, Any]:
    """Return the script of the comic: the storyboard with the words of a screenplay, as ``parse_script`` takes it."""
    words = {"title": title, "murderer": screenplay.murderer, "motive": screenplay.motive, "weapon": screenplay.weapon}
    words |= {str(number): line for number, line in enumerate(screenplay.lines, 1)}
    staged: dict[str, Any] = _filled(storyboard(), words)
    staged["mystery"]["clues"] = screenplay.clues
    return staged


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: words[found[1]], value)
    if isinstance(value, list):
        return [_filled(item, words) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: _filled(item, words) for name, item in cast("dict[str, Any]", value).items()}
    return value
