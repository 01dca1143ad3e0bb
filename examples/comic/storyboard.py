"""A script for any mystery that can be: what the constraints say, in pictures, where no crew writes a better one."""

from __future__ import annotations

import textwrap
from typing import Any

from .casting import cast
from .constraints import Character, PlotConstraints, choose_detective, key_of

SEED = 1883
PANELS_OF_A_PAGE = 5
_WORDS = 110
"""Characters of a line that fit into a balloon."""


def mystery_of(constraints: PlotConstraints, characters: list[Character]) -> dict[str, Any]:
    """Return the mystery of a script, as the plot is worked out from it."""
    detective = choose_detective(constraints, characters)
    assert detective is not None, "checked before"
    in_it = {constraints.killer, constraints.victim, detective.name, *constraints.accomplices}
    others = [character.name for character in characters if character.name not in in_it]
    client = next(
        (n for n in (constraints.framed_suspect, *(w for w, _ in constraints.seen()), *others) if n in others), None
    )
    facts = constraints.as_dict()
    return {
        **{name: facts[name] for name in ("factions", "winners", "losers", "betrayals", "alliances")},
        "killer": key_of(constraints.killer),
        "victim": key_of(constraints.victim),
        "client": detective.key if client is None else key_of(client),
        "detective": detective.key,
        "witnesses": [key_of(name) for name, _ in constraints.seen() if name != detective.name],
        "accomplices": [key_of(name) for name in constraints.accomplices],
        "framed_suspect": None if constraints.framed_suspect is None else key_of(constraints.framed_suspect),
        "clues": [_told(name, what, constraints) for name, what in constraints.seen()],
    }


def title_of(constraints: PlotConstraints) -> str:
    """Return what a comic is called of which nobody says it."""
    return f"The Death of {constraints.victim}"


def cast_of(characters: list[Character]) -> dict[str, dict[str, Any]]:
    """Return the characters of a script."""
    return {character.key: cast(character, SEED) for character in characters}


def book_of(title: str, author: str) -> dict[str, Any]:
    """Return what stands on the cover."""
    return {
        "title": title,
        "subtitle": "A detective comic",
        "author": author,
        "source": "the constraints of its plot",
        "art_style": "Victorian noir, flat inks, one strong light",
        "seed": SEED,
    }


def write_script(constraints: PlotConstraints, characters: list[Character], title: str) -> dict[str, Any]:
    """Return a script in the format of ``script.toml``."""
    mystery = mystery_of(constraints, characters)
    names = {character.key: character.name for character in characters}
    acts = [
        _death(mystery, names),
        ("What Was Seen", "sitting_room", "curious", _seen(constraints, mystery["detective"])),
        ("Old Friends", "inn", "dread", _friends(constraints)),
        ("The Wrong Name", "corridor", "sorrow", _framed(mystery)),
        ("The Trap", "bedroom", "menace", _trap(mystery, names)),
        ("Afterwards", "lane", "relief", _afterwards(constraints, mystery)),
    ]
    scenes = [scene for act in acts for scene in _pages(*act, lead=mystery["detective"])]
    return {
        "book": book_of(title, "The storyboard"),
        "mystery": mystery,
        "characters": cast_of(characters),
        "scenes": scenes,
    }


def _pages(title: str, place: str, tone: str, panels: list[dict[str, Any]], *, lead: str) -> list[dict[str, Any]]:
    """Return an act as scenes, each of which fits on a page."""
    pages = -(-len(panels) // PANELS_OF_A_PAGE)
    return [
        {
            "title": title if pages == 1 else f"{title} ({page + 1})",
            "place": place,
            "tone": tone,
            "lead": lead,
            "panels": panels[page * len(panels) // pages : (page + 1) * len(panels) // pages],
        }
        for page in range(pages)
    ]


def _death(mystery: dict[str, Any], names: dict[str, str]) -> tuple[str, str, str, list[dict[str, Any]]]:
    detective, client, victim = mystery["detective"], mystery["client"], mystery["victim"]
    arrivals = list(dict.fromkeys([client, detective]))
    panels = [
        {
            "shot": "wide", "place": "manor", "tone": "dread", "night": True, "who": arrivals,
            "action": f"{names[detective]} comes to the house where {names[victim]} lies dead.",
            "dialogue": [_line(detective, f"Who has seen {names[victim]} last?")],
        },
        {
            "shot": "close_up", "orientation": "square", "place": "bedroom", "tone": "horror", "beat": True,
            "who": [victim], "moods": {victim: "dead"}, "action": f"{names[victim]}, dead.",
            "caption": f"{names[victim]} will not say it.",
        },
        {
            "shot": "detail", "orientation": "square", "prop": "milk", "tone": "curious", "beat": True,
            "action": "Something that should not be there.", "caption": "One thing does not fit.",
        },
    ]  # fmt: skip
    if len(arrivals) == 2:
        panels.insert(1, _two(client, detective, "They talk by the fire.", [
            _line(client, "Nobody here had a reason. Nobody."), _line(detective, "Somebody had."),
        ]))  # fmt: skip
    return "A Death", "sitting_room", "sorrow", panels


def _seen(constraints: PlotConstraints, detective: str) -> list[dict[str, Any]]:
    return [
        {
            "shot": "over_shoulder", "orientation": "square", "who": [detective, key_of(name)],
            "action": f"{name} tells what was seen.",
            "dialogue": [_line(key_of(name), _told(name, what, constraints))],
        }
        for name, what in constraints.seen() if key_of(name) != detective
    ]  # fmt: skip


def _told(name: str, what: str, constraints: PlotConstraints) -> str:
    people = {constraints.killer, constraints.victim, *constraints.accomplices, constraints.framed_suspect}
    if not what:
        return "I heard steps in the corridor, and a door."
    return f"I saw {what} that night." if what in people else f"I saw it: {what}."


def _friends(constraints: PlotConstraints) -> list[dict[str, Any]]:
    panels = [
        _two(
            key_of(one),
            key_of(two),
            f"{one} and {two} stand together.",
            [_line(key_of(one), f"You can count on me, {two}.")],
        )
        for one, two in constraints.alliances
    ]
    for one, two in constraints.betrayals:
        panels.append(
            {
                **_two(
                    key_of(one),
                    key_of(two),
                    f"{one} betrays {two}.",
                    [_line(key_of(two), f"And I trusted you, {one}.")],
                ),
                "tone": "menace",
            }
        )
    return panels


def _framed(mystery: dict[str, Any]) -> list[dict[str, Any]]:
    framed, detective = mystery["framed_suspect"], mystery["detective"]
    if framed is None:
        return []
    return [
        {
            "shot": "close_up", "orientation": "square", "tone": "fear", "who": [framed],
            "action": "What was found points to somebody who did not do it.",
            "dialogue": [_line(framed, "It was not me! Somebody has put it there.")],
        },
        _two(framed, detective, "It fits too well.", [_line(detective, "I know. It fits too well.")]),
    ]  # fmt: skip


def _trap(mystery: dict[str, Any], names: dict[str, str]) -> list[dict[str, Any]]:
    killer, detective = mystery["killer"], mystery["detective"]
    panels: list[dict[str, Any]] = [
        {
            "shot": "wide", "place": "corridor", "night": True, "silhouettes": True, "beat": True, "who": [killer],
            "action": "Somebody walks through the dark house once more.", "caption": "At two in the night …",
        },
        {
            "shot": "low_angle", "orientation": "portrait", "who": [killer], "action": "The killer is met.",
            "dialogue": [_line(killer, "You can prove nothing.")],
        },
    ]  # fmt: skip
    panels.extend(
        {
            "shot": "close_up", "orientation": "square", "tone": "fear", "who": [helper],
            "action": f"{names[helper]} gives in.",
            "dialogue": [_line(helper, f"I only kept the door. It was {names[killer]}!")],
        }
        for helper in mystery["accomplices"]
    )  # fmt: skip
    panels.append(
        _two(detective, killer, "It is over.", [_line(detective, f"It was you, {names[killer]}, from the beginning.")])
    )
    return panels


def _afterwards(constraints: PlotConstraints, mystery: dict[str, Any]) -> list[dict[str, Any]]:
    def people(names: list[str]) -> list[str]:
        members = [member for name in names for member in constraints.factions.get(name, [name])]
        gone = {mystery["killer"], mystery["victim"]}
        return [key for key in dict.fromkeys(map(key_of, members)) if key not in gone]

    panels = [
        {
            "shot": "medium", "orientation": "square", "tone": tone, "who": [who], "beat": True,
            "action": action, "caption": caption,
        }
        for tone, action, caption, group in (
            ("relief", "Somebody has won.", "Some sleep well again.", people(constraints.winners)),
            ("sorrow", "Somebody has lost.", "Some do not.", people(constraints.losers)),
        )
        for who in group
    ]  # fmt: skip
    last = list(dict.fromkeys([mystery["client"], mystery["detective"]]))
    panels.append(
        {
            "shot": "wide", "who": last, "action": "They leave.",
            "dialogue": [_line(mystery["detective"], "Somebody always has a reason.")],
        }
    )  # fmt: skip
    return panels


def _two(one: str, two: str, action: str, dialogue: list[str]) -> dict[str, Any]:
    return {"shot": "two_shot", "who": [one, two], "action": action, "dialogue": dialogue}


def _line(speaker: str, words: str) -> str:
    return f"{speaker}: {textwrap.shorten(words, _WORDS, placeholder=' …')}"
