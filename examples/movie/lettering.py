"""All text of the film, drawn: title cards, the titles and captions of scenes."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

from examples.comic.art.canvas import Canvas
from examples.comic.art.light import glow, vignette
from examples.comic.art.palette import TONES, Palette, mix
from examples.comic.art.type import font, width, wrap, write

from .drawing import HEIGHT, KEYFRAME, WIDTH


def title_card(title: str, subtitle: str, mood: str, rng: random.Random) -> list[Image.Image]:
    """Return a title card in two keyframes: the night sky alone, and with its title."""
    p = TONES.get(mood, TONES["dread"])
    c = Canvas(*KEYFRAME, p.deep)
    _sky(c, p, rng)
    empty = c.finish()
    _letters(c, p, title, subtitle)
    return [empty, c.finish()]


def _sky(c: Canvas, p: Palette, rng: random.Random) -> None:
    w, h = KEYFRAME
    for i in range(24):
        c.rect(0, h * i / 24, w, h * (i + 1) / 24, mix(p.deep, p.mid, 0.55 * (i / 23) ** 1.6))
    for _ in range(150):
        x, y, r = rng.uniform(0, w), rng.uniform(0, h * 0.75), rng.uniform(0.4, 1.5)
        c.dot(x, y, r, mix(p.mid, p.light, rng.uniform(0.3, 1.0)))
    glow(c, (w * 0.5, h * 0.98), h * 0.55, p.key, 0.5)
    hills = [
        (0.0, 0.86),
        (0.16, 0.8),
        (0.33, 0.86),
        (0.52, 0.81),
        (0.7, 0.87),
        (0.86, 0.82),
        (1.0, 0.86),
        (1.0, 1.1),
        (0.0, 1.1),
    ]
    c.shape([(x * w, y * h) for x, y in hills], p.ink)
    c.rect(w * 0.5 - 5, h * 0.79, w * 0.5 + 5, h * 0.815, p.key)
    glow(c, (w * 0.5, h * 0.802), 60, p.key, 0.9)
    vignette(c, p.ink, 0.5)


def _letters(c: Canvas, p: Palette, title: str, subtitle: str) -> None:
    w, h = KEYFRAME
    lines, size = _set(title, w * 0.66)
    top = h * 0.43 - (len(lines) - 1) * size * 0.6
    for i, line in enumerate(lines):
        write(c, line, (w / 2, top + i * size * 1.2), size, (250, 240, 214), anchor="mm", bold=1.2, edge=p.ink)
    if subtitle:
        y, color = top + len(lines) * size * 1.2, mix(p.light, (250, 240, 214), 0.5)
        write(c, shortened(subtitle, 26, w * 0.66), (w / 2, y), 26, color, anchor="mm", bold=0.8, edge=p.ink)


def _set(title: str, limit: float) -> tuple[list[str], float]:
    """Return the lines of a title and the size in which they fit: three at most, all about as long."""
    title, size = _bounded(title, 120), 64.0
    while size > 18 and (len(wrap(title, size, limit)) > 3 or _widest(title, size) > limit):
        size *= 0.9
    number = len(wrap(title, size, limit))
    while len(wrap(title, size, limit - size)) == number and _widest(title, size) <= limit - size > 0:
        limit -= size
    return [shortened(line, size, KEYFRAME[0] * 0.66) for line in wrap(title, size, limit)[:3]], size


def _widest(text: str, size: float) -> float:
    return max((width(word, size) for word in text.split()), default=0.0)


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def shortened(text: str, size: float, limit: float) -> str:
    """Return a text that is cut where it would be wider than a limit."""
    text = _bounded(text, 200)
    while text and width(text, size) > limit:
        text = text[:-2].rstrip() + "…"
    return text


# -- what is laid over a clip


def lettering(title: str, caption: str) -> Image.Image:
    """Return title and caption of a scene on a transparent picture."""
    image = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    if title:
        _band(draw, [shortened(title, 30, WIDTH * 0.8)], 30, (44, HEIGHT - 76), "ls")
    if caption:
        lines = wrap(_bounded(caption, 400), 21, WIDTH * 0.8)
        lines = lines if len(lines) <= 3 else [*lines[:2], lines[2] + " …"]
        top = HEIGHT - 24 - 27 * (len(lines) - 1)
        _band(draw, [shortened(line, 21, WIDTH * 0.9) for line in lines], 21, (WIDTH // 2, top), "ms")
    return image


def _band(draw: ImageDraw.ImageDraw, lines: list[str], size: int, at: tuple[int, int], anchor: str) -> None:
    type_ = font(size / 2)  # this canvas is not drawn at twice its size
    for i, line in enumerate(lines):
        place = (at[0], at[1] + round(i * size * 1.28))
        draw.text(
            (place[0] + 2, place[1] + 2),
            line,
            font=type_,
            fill=(8, 8, 14, 150),
            anchor=anchor,
            stroke_width=3,
            stroke_fill=(8, 8, 14, 120),
        )
        draw.text(
            place,
            line,
            font=type_,
            fill=(250, 240, 214, 255),
            anchor=anchor,
            stroke_width=2,
            stroke_fill=(16, 14, 20, 255),
        )
