"""The frames of a clip: a camera that never stands still, over keyframes, and something in the air."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageEnhance

from .drawing import HEIGHT, KEYFRAME, WIDTH

RATE = 24
"""Frames a second."""
Box = tuple[float, float, float, float]


def count_frames(seconds: float) -> int:
    """Return how many frames fill a time; half of one is one."""
    return max(1, math.floor(seconds * RATE + 0.5))


def eased(t: float) -> float:
    """Return the part of a way after a part of the time: slow at first and in the end."""
    t = min(1.0, max(0.0, t))
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Move:
    """From where to where the camera travels: middle and width of what it shows, as parts of a keyframe."""

    x0: float
    y0: float
    w0: float
    x1: float
    y1: float
    w1: float

    def at(self, t: float) -> Box:
        """Return the part of a keyframe that is seen at a moment, 0 to 1, in its pixels."""
        e = 0.5 * eased(t) + 0.5 * t
        x, y, w = (a + (b - a) * e for a, b in ((self.x0, self.x1), (self.y0, self.y1), (self.w0, self.w1)))
        half = w / 2
        x, y = min(max(x, half), 1 - half), min(max(y, half), 1 - half)
        return ((x - half) * KEYFRAME[0], (y - half) * KEYFRAME[1], (x + half) * KEYFRAME[0], (y + half) * KEYFRAME[1])


def choose_move(rng: random.Random, *, travels: bool) -> Move:
    """Return a slow push for an interpolation, or a longer way where the camera alone makes the scene."""
    side = rng.choice((-1, 1))
    if travels:
        return Move(0.5 - 0.07 * side, 0.52, 0.86, 0.5 + 0.05 * side, 0.48, 0.76)
    return Move(0.5 - 0.02 * side, 0.51, 0.96, 0.5 + 0.02 * side, 0.48, 0.84)


def interpolate(frames: list[Image.Image], move: Move, t: float) -> Image.Image:
    """Return the picture at a moment between the first and the last of some keyframes."""
    box, gaps = move.at(t), len(frames) - 1
    shown = [frame.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box) for frame in _two(frames, t)]
    if len(shown) == 1:
        return shown[0]
    place = t * gaps - min(int(t * gaps), gaps - 1)
    return Image.blend(shown[0], shown[1], eased((place - 0.25) / 0.5))


def _two(frames: list[Image.Image], t: float) -> list[Image.Image]:
    gaps = len(frames) - 1
    if gaps == 0:
        return frames
    left = min(int(t * gaps), gaps - 1)
    return frames[left : left + 2]


class Air:
    """What floats between camera and scene: dust in the light, rain, snow or fog; the same for the same seed."""

    def __init__(self, kind: str, rng: random.Random) -> None:
        self.kind = kind
        number = {"rain": 130, "snow": 110, "fog": 5, "dust": 26}[kind]
        self.specks = [
            (rng.random(), rng.random(), rng.uniform(0.5, 1.0), rng.uniform(0, math.tau)) for _ in range(number)
        ]

    def over(self, image: Image.Image, seconds: float) -> Image.Image:
        """Return the picture with the air in front of it."""
        if self.kind == "fog":
            return self._fog(image, seconds)
        draw = ImageDraw.Draw(image, "RGBA")
        for x, y, size, phase in self.specks:
            self._speck(draw, x, y, size, phase, seconds)
        return image

    def _speck(self, draw: ImageDraw.ImageDraw, x: float, y: float, size: float, phase: float, seconds: float) -> None:
        if self.kind == "rain":
            px, py = (x - 0.12 * seconds * size) % 1 * WIDTH, (y + 1.9 * seconds * size) % 1 * HEIGHT
            draw.line([px, py, px - 2.5 * size, py + 17 * size], fill=(206, 220, 236, int(90 * size)), width=1)
            return
        fall, sway = (0.16, 0.015) if self.kind == "snow" else (-0.018, 0.02)
        px = (x + sway * math.sin(seconds * 1.3 + phase)) % 1 * WIDTH
        py = (y + fall * seconds * size) % 1 * HEIGHT
        r = (2.6 if self.kind == "snow" else 1.5) * size
        light = 200 if self.kind == "snow" else int(70 + 60 * math.sin(seconds * 2 + phase))
        draw.ellipse([px - r, py - r, px + r, py + r], fill=(255, 240, 206, max(0, light)))

    def _fog(self, image: Image.Image, seconds: float) -> Image.Image:
        for x, y, size, phase in self.specks:
            bank = _bank(round(WIDTH * (0.9 + 0.5 * size)), round(HEIGHT * (0.3 + 0.25 * size)))
            left = (x + 0.03 * seconds * size + 0.02 * math.sin(seconds * 0.7 + phase)) % 1.6 - 0.8
            place = (round(left * WIDTH), round(HEIGHT * (0.38 + 0.4 * y)))
            image.paste((196, 206, 214), (place[0], place[1], place[0] + bank.width, place[1] + bank.height), bank)
        return image


_banks: dict[tuple[int, int], Image.Image] = {}


def _bank(width: int, height: int) -> Image.Image:
    """A soft bank of fog, as a mask."""
    if (width, height) not in _banks:
        soft = Image.radial_gradient("L").point([max(0, 105 - v * 105 // 180) for v in range(256)])
        _banks[width, height] = soft.resize((width, height), Image.Resampling.BILINEAR)
    return _banks[width, height]


# -- a clip


@dataclass(frozen=True)
class Clip:
    """Everything that the frames of a clip depend on."""

    frames: list[Image.Image]
    seconds: float
    seed: str
    air: str
    travels: bool

    def __iter__(self) -> Iterator[bytes]:
        """Return the frames one by one, as RGB."""
        rng = random.Random(self.seed)
        move, air = choose_move(rng, travels=self.travels), Air(self.air, rng)
        number = count_frames(self.seconds)
        for i in range(number):
            picture = interpolate(self.frames, move, i / max(1, number - 1))
            flicker = 1.0 + 0.012 * math.sin(i * 0.9) + 0.008 * math.sin(i * 2.3 + 1)
            yield ImageEnhance.Brightness(air.over(picture, i / RATE)).enhance(flicker).tobytes()
