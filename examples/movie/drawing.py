"""The pictures of the film: views of the characters and keyframes, by the artist of the comic."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from PIL import Image

from examples.comic.art.canvas import Canvas
from examples.comic.art.figure import FEET, Figure
from examples.comic.art.geometry import Frame
from examples.comic.art.light import fade, form_shadow, glow, grain, halftone, rim, vignette
from examples.comic.art.look import MOODS, Look
from examples.comic.art.palette import TONES, mix
from examples.comic.art.poses import POSES
from examples.comic.art.sheet import make_look
from examples.comic.art.type import write
from examples.comic.panel import draw

from .reading import read_look, read_picture

WIDTH, HEIGHT = 854, 480
"""Of the film."""
KEYFRAME = (1068, 600)
"""Of a keyframe: a quarter more, so that the camera has something to travel over."""
VIEW = (480, 600)
VIEWS = ("front", "side", "full_body", "back")
_TURNED = {"front": "three_quarter", "side": "profile", "back": "back", "full_body": "three_quarter"}

Tell = Callable[[int, int, str], object]


def design(number: int, name: str, appearance: str, style: str, seed: int) -> dict[str, Any]:
    """Return how a character looks, as plain values: what the front view fixes for all other pictures."""
    return make_look(name, read_look(number, appearance, style, seed), seed).as_dict()


def draw_view(look: dict[str, Any], view: str, name: str, seed: int) -> Image.Image:
    """Draw one view of a character."""
    person = Look.from_dict(look)
    p = TONES["resolve"]
    width, height = VIEW
    c = Canvas(width, height, mix(p.mid, (214, 200, 172), 0.55))
    glow(c, (width * 0.5, height * 0.36), height * 0.62, p.light, 0.55)
    halftone(c, fade("down", 0.4), mix(p.mid, p.deep, 0.4), 6)
    body = c.layer()
    if view == "full_body":
        unit = 70 * person.height
        frame = Frame(width * 0.5, height - 52 - FEET * unit, unit)
        foot = height - 52
        c.shape([(120, foot), (240, foot - 16), (360, foot), (240, foot + 16)], mix(p.mid, p.deep, 0.5))
    else:
        frame = Frame(width * 0.5, height * 0.42, 230)
    hat = view == "full_body" and person.hat != "none"
    Figure(body, frame, person, MOODS["calm"], POSES["stand"], p, -1, view=_TURNED[view], hat=hat).draw()
    form_shadow(body, p.deep, -1, 16, 0.35)
    rim(body, p.key, -1, 2)
    c.lay(body)
    vignette(c, p.ink, 0.5)
    c.rect(0, height - 44, width, height, p.ink)
    write(c, name[:28], (16, height - 22), 20, (240, 226, 190), anchor="lm")
    write(c, view.replace("_", " "), (width - 16, height - 22), 16, (176, 164, 140), anchor="rm")
    return grain(c.finish(), random.Random(f"{seed}/{name}/{view}"))


def draw_keyframe(keyframe: dict[str, Any], fronts: dict[str, dict[str, Any]], tell: Tell) -> Image.Image:
    """Draw a keyframe: ``fronts`` are the results of the front views of its characters, by their ids."""
    seed, scene = keyframe["seed"], keyframe["scene"]
    looks = {key: Look.from_dict({**front["look"], "name": key}) for key, front in fronts.items()}
    cast = {key: front["name"] for key, front in fronts.items()}
    # All keyframes of a scene have one seed: the set and the light stay the same, and only the people move.
    panel = read_picture(
        scene, keyframe["prompt"], cast, keyframe["mood"], keyframe["number"], random.Random(f"{seed}/{scene}")
    )
    return draw(panel, looks, KEYFRAME, seed, tell)
