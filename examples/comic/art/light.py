"""Light and shadow over a whole picture: glow, shafts, halftone, rim light, vignette, paper grain."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .canvas import SCALE, Canvas
from .geometry import Point
from .palette import RGB


def _curve(change: Callable[[int], int]) -> list[int]:
    """Tabulate a change of tone for all 256 of them."""
    return [change(value) for value in range(256)]


@lru_cache(maxsize=1)
def _disc() -> Image.Image:
    """A soft round light, 255 in the middle."""
    return ImageChops.invert(Image.radial_gradient("L")).point(_curve(lambda v: max(0, round((v - 75) * 255 / 180))))


def glow(canvas: Canvas, center: Point, radius: float, color: RGB, strength: float = 1.0) -> None:
    """Add a round soft light."""
    r = int(radius * SCALE)
    if r < 2:
        return
    disc = _disc().resize((2 * r, 2 * r), Image.Resampling.BILINEAR).point(_curve(lambda v: round(v * strength)))
    mask = Image.new("L", canvas.image.size, 0)
    mask.paste(disc, (int(center[0] * SCALE) - r, int(center[1] * SCALE) - r))
    canvas.light(mask, color)


def shaft(canvas: Canvas, points: list[Point], color: RGB, strength: float = 0.5, blur: float = 6.0) -> None:
    """Add a beam of light with soft edges."""
    canvas.light(canvas.mask(points, blur=blur, strength=strength), color)


def shadow(
    canvas: Canvas, points: list[Point], color: RGB, strength: float = 0.6, blur: float = 8.0, *, curved: bool = False
) -> None:
    """Lay a soft shadow over a shape."""
    canvas.tint(canvas.mask(points, blur=blur, strength=strength, curved=curved), color)


@lru_cache(maxsize=8)
def _screen(size: tuple[int, int], cell: int) -> Image.Image:
    """A printer's dot screen, turned by 45 degrees."""
    tile = Image.new("L", (cell, cell))
    disc = Image.radial_gradient("L").resize((cell, cell), Image.Resampling.BILINEAR)
    tile.paste(disc)
    half = cell // 2
    tile = ImageChops.darker(tile, ImageChops.offset(disc, half, half))
    out = Image.new("L", size)
    for x in range(0, size[0], cell):
        out.paste(tile, (x, 0))
    row = out.crop((0, 0, size[0], cell))
    for y in range(cell, size[1], cell):
        out.paste(row, (0, y))
    return out


def halftone(canvas: Canvas, tone: Image.Image, color: RGB, cell: float = 7.0) -> None:
    """Print dots of a colour, larger where `tone` (L, any size) is brighter."""
    size = canvas.image.size
    tone = tone.resize(size, Image.Resampling.BILINEAR)
    dots = ImageChops.subtract(
        tone, _screen(size, int(cell * SCALE)).point(_curve(lambda v: min(255, round(v * 1.25))))
    )
    canvas.tint(dots.point(_curve(lambda v: min(255, v * 12))), color)


def fade(angle: str = "down", gain: float = 1.0) -> Image.Image:
    """Return a gradient tone: brighter towards `down`, `up`, `left` or `right`."""
    tone = Image.linear_gradient("L")
    turn = {"up": 180, "right": 90, "left": 270}.get(angle, 0)
    if turn:
        tone = tone.rotate(turn)
    return tone.point(_curve(lambda v: round(v * gain)))


def rim(layer: Canvas, color: RGB, side: int, width: float, strength: float = 0.9) -> None:
    """Draw a line of light along the lit edge of a figure (`side` is -1 for light from the left)."""
    box = layer.image.getbbox()
    if box is None:
        return
    piece = layer.image.crop(box)
    alpha = piece.getchannel("A")
    shift = max(1, round(width * SCALE))
    moved = Image.new("L", alpha.size, 0)
    moved.paste(alpha, (-side * shift, shift // 2))
    edge = ImageChops.subtract(alpha, moved).point(_curve(lambda v: round(v * strength)))
    piece.paste(color, (0, 0), edge)
    layer.image.paste(piece, box[:2])


def form_shadow(layer: Canvas, color: RGB, side: int, width: float, strength: float = 0.55) -> None:
    """Darken the edge of a figure away from the light, softly: that is what makes it round."""
    box = layer.image.getbbox()
    if box is None:
        return
    piece = layer.image.crop(box)
    alpha = piece.getchannel("A")
    small = alpha.reduce(4)
    shift = max(1, round(width * SCALE / 4))
    moved = Image.new("L", small.size, 0)
    moved.paste(small, (side * shift, -shift // 3))
    edge = ImageChops.subtract(small, moved).filter(ImageFilter.GaussianBlur(max(1.0, shift / 3)))
    mask = edge.resize(alpha.size, Image.Resampling.BILINEAR).point(_curve(lambda v: round(v * strength)))
    piece.paste(Image.new("RGB", piece.size, color), (0, 0), ImageChops.darker(mask, alpha))
    piece.putalpha(alpha)
    layer.image.paste(piece, box[:2])


def vignette(canvas: Canvas, color: RGB, strength: float = 0.7) -> None:
    """Let the corners fall into darkness."""
    tone = Image.radial_gradient("L").point(_curve(lambda v: round(max(0, v - 110) * 1.75 * strength)))
    canvas.tint(tone.resize(canvas.image.size, Image.Resampling.BILINEAR), color)


def grain(image: Image.Image, rng: random.Random, strength: int = 9) -> Image.Image:
    """Return the picture on slightly rough paper."""
    w, h = 256, 256
    noise = Image.frombytes("L", (w, h), rng.randbytes(w * h)).point(_curve(lambda v: 255 - v * strength // 255))
    sheet = Image.new("L", image.size)
    for x in range(0, image.width, w):
        for y in range(0, image.height, h):
            sheet.paste(noise, (x, y))
    return ImageChops.multiply(image, Image.merge("RGB", (sheet, sheet, sheet)))


def silhouette(layer: Canvas, color: RGB) -> None:
    """Turn a figure into one flat shape."""
    alpha = layer.image.getchannel("A")
    flat = Image.new("RGBA", layer.image.size, (*color, 0))
    flat.putalpha(alpha)
    layer.image = flat
    layer.draw = ImageDraw.Draw(flat)
