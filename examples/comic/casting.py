"""How somebody looks of whom only a role and some traits are known: the same words give the same person."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any

from .art.palette import PAINTS
from .constraints import Character

_WOMEN = {
    "woman", "female", "lady", "girl", "wife", "widow", "mother", "daughter", "sister", "niece", "aunt", "maid",
    "nurse", "actress", "governess", "duchess", "countess", "queen", "mistress", "mrs", "miss", "madame",
}  # fmt: skip
_MEN = {
    "man", "male", "gentleman", "boy", "husband", "widower", "father", "son", "brother", "nephew", "uncle", "butler",
    "actor", "duke", "count", "king", "lord", "sir", "mr",
}  # fmt: skip
_SKINS = ("pale", "fair", "ruddy", "weathered", "sallow")
_HAIR = ("black", "brown", "chestnut", "russet", "grey", "silver", "tan")
_CLOTH = ("black", "charcoal", "slate", "navy", "teal", "green", "olive", "brown", "plum", "mauve", "crimson")
_BUILDS = {"thin": "slight", "slim": "slight", "slender": "slight", "fat": "huge", "big": "huge", "strong": "sturdy"}
_HEIGHTS = {"short": "small"}


def cast(character: Character, seed: int) -> dict[str, Any]:
    """Return what the script says of somebody's looks.

    Words of the traits that name a build, a height, whiskers, a hat or "… hair" are obeyed; the rest is chance that is
    always the same.
    """
    rng = random.Random(f"{seed}/{character.name}/cast")
    words = re.findall(r"[a-z]+", " ".join([character.name, character.role, *character.traits]).lower())
    woman = rng.random() < 0.5
    if said := [word in _WOMEN for word in words if word in _WOMEN | _MEN]:
        woman = said[0]
    hair = next((a for a, b in itertools.pairwise(words) if b == "hair" and a in PAINTS), rng.choice(_HAIR))
    look: dict[str, Any] = {
        "full_name": character.name,
        "role": character.role,
        "woman": woman,
        "skin": rng.choice(_SKINS),
        "hair": hair,
        "hair_style": rng.choice(("chignon", "loose", "curly") if woman else ("slick", "parted", "wild", "curly")),
        "nose": rng.choice(("straight", "small") if woman else ("aquiline", "straight", "hawk", "broad")),
        "lines": 3 if "old" in words else 0 if "young" in words else rng.randrange(3),
        "build": _named(words, _BUILDS, ("slight", "lean", "middling", "sturdy", "huge"), rng),
        "height": _named(words, _HEIGHTS, ("small", "middling", "tall", "towering"), rng),
        "coat": rng.choice(_CLOTH),
        "coat_style": "dress" if woman else rng.choice(("jacket", "frock", "ulster")),
        "shirt": rng.choice(("white", "ivory")),
        "neckwear": rng.choice(("crimson", "navy", "olive", "gold", "plum")),
        "trousers": rng.choice(("charcoal", "slate", "tan", "brown")),
        "hat_color": rng.choice(("black", "charcoal", "brown", "tweed")),
    }
    hats = {"deerstalker": "deerstalker", "bowler": "bowler", "bonnet": "bonnet", "cap": "flat_cap", "hat": "top_hat"}
    look["hat"] = next((hats[word] for word in words if word in hats), "none")
    if not woman:
        whiskers = {"moustache": "moustache", "mustache": "moustache", "beard": "beard", "bearded": "beard"}
        chance = rng.choice(("none", "none", "moustache", "mutton", "beard"))
        look["whiskers"] = next((whiskers[word] for word in words if word in whiskers), chance)
    return look


def _named(words: list[str], other: dict[str, str], known: tuple[str, ...], rng: random.Random) -> str:
    chance = rng.choice(known[:-1])  # the greatest of all is only who is said to be it
    return next((other.get(word, word) for word in words if word in known or word in other), chance)
