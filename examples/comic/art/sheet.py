"""The character reference: from the words of the script to features, and a model sheet to look at."""

from __future__ import annotations

import random
from typing import Any

from PIL import Image

from .canvas import Canvas
from .figure import FEET, Figure
from .geometry import Frame
from .head import Head
from .light import fade, form_shadow, grain, halftone, rim, vignette
from .look import MOODS, Look
from .palette import PAINTS, RGB, TONES, mix
from .poses import POSES
from .type import write

_BUILD = {"slight": 0.9, "lean": 0.95, "middling": 1.0, "sturdy": 1.12, "huge": 1.32}
_HEIGHT = {"small": 0.93, "middling": 0.97, "tall": 1.03, "towering": 1.13}
_GAUNT = {"aquiline": 0.75, "hawk": 0.8}
_JAW = {"slight": 0.87, "lean": 0.92, "middling": 1.0, "sturdy": 1.12, "huge": 1.16}


def make_look(name: str, words: dict[str, Any], seed: int) -> Look:
    """Turn a character's description into features; a little chance, always the same, keeps people from being types."""
    rng = random.Random(f"{seed}/{name}")
    build = words.get("build", "middling")
    woman = bool(words.get("woman", False))
    nose = words.get("nose", "straight")

    def paint(part: str, default: str) -> RGB:
        color = PAINTS[words.get(part, default)]
        return mix(color, (255, 255, 255) if rng.random() > 0.5 else (0, 0, 0), rng.uniform(0.0, 0.05))

    return Look(
        name=name,
        skin=paint("skin", "fair"),
        hair=paint("hair", "brown"),
        hair_style=words["hair_style"],
        nose=nose,
        jaw=_JAW[build] * rng.uniform(0.985, 1.015),
        gaunt=0.1 if woman else _GAUNT.get(nose, 0.15),
        brow=0.7 if woman else 1.0 + 0.15 * int(words.get("lines", 0)),
        lines=int(words.get("lines", 0)),
        whiskers=words.get("whiskers", "none"),
        woman=woman,
        build=_BUILD[build],
        height=_HEIGHT[words.get("height", "middling")],
        coat_style=words["coat_style"],
        coat=paint("coat", "charcoal"),
        shirt=paint("shirt", "white"),
        neckwear=paint("neckwear", "crimson"),
        trousers=paint("trousers", "charcoal"),
        hat=words.get("hat", "none"),
        hat_color=paint("hat_color", "black"),
        extra={"streak": "grey"} if words.get("grey_streak") else {},
    )


def draw_sheet(look: Look, full_name: str, role: str, seed: int) -> Image.Image:
    """Draw the model sheet: the whole figure, three views of the head, four expressions, the paints."""
    p = TONES["resolve"]
    c = Canvas(1200, 800, (222, 208, 180))
    halftone(c, fade("down", 0.33), (196, 178, 146), 6)
    c.rect(0, 0, 1200, 74, p.ink)
    write(c, full_name.upper(), (32, 37), 34, (240, 226, 190), anchor="lm")
    write(c, role, (1168, 38), 22, (190, 176, 150), anchor="rm")
    body = c.layer()
    unit = 80 * look.height
    Figure(body, Frame(220, 768 - FEET * unit, unit), look, MOODS["calm"], POSES["stand"], p, -1).draw()
    c.shape([(100, 768), (220, 750), (360, 768), (220, 786)], (150, 132, 104))
    form_shadow(body, p.deep, -1, 16, 0.35)
    rim(body, p.key, -1, 2)
    c.lay(body)
    views = (("three_quarter", 1, False), ("profile", 1, False), ("three_quarter", -1, True))
    for i, (view, flip, hat) in enumerate(views):
        x = 520 + i * 250
        c.rect(x - 115, 110, x + 115, 440, mix(p.mid, (222, 208, 180), 0.35))
        bust = c.layer()
        Figure(bust, Frame(x, 300, 165, flip), look, MOODS["calm"], POSES["stand"], p, -1, view=view, hat=hat).draw()
        c.lay(bust.cut(x - 115, 110, x + 115, 440))
    for i, mood in enumerate(("fear", "menace", "sorrow", "relief")):
        x = 480 + i * 165
        face = c.layer()
        Head(face, Frame(x, 552, 125), look, MOODS[mood], p, -1, "three_quarter", hat=False).draw()
        c.lay(face.cut(x - 80, 450, x + 80, 640))
        write(c, mood, (x, 655), 18, (80, 66, 50), anchor="mm")
    for i, color in enumerate((look.skin, look.hair, look.coat, look.shirt, look.neckwear, look.trousers)):
        c.rect(420 + 66 * i, 700, 478 + 66 * i, 760, p.ink)
        c.rect(423 + 66 * i, 703, 475 + 66 * i, 757, color)
    vignette(c, (90, 70, 44), 0.35)
    return grain(c.finish(), random.Random(f"sheet/{seed}/{look.name}"))
