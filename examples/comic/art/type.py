"""Type: the scalable font that Pillow carries in itself, so that every machine letters alike."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

from .canvas import SCALE, Canvas
from .geometry import Point
from .palette import RGB


@lru_cache(maxsize=64)
def font(size: float) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font at a size in panel pixels."""
    made = ImageFont.load_default(size * SCALE)
    if not isinstance(made, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "this Pillow was built without FreeType, which the lettering needs: install the wheel from PyPI"
        )
    return made


def width(text: str, size: float, bold: float = 0.0) -> float:
    """Return how wide a text is, in panel pixels."""
    return font(size).getlength(text) / SCALE + 2 * bold


def write(
    canvas: Canvas,
    text: str,
    at: Point,
    size: float,
    color: RGB,
    *,
    anchor: str = "la",
    bold: float = 0.0,
    edge: RGB | None = None,
) -> None:
    """Write one line; `bold` thickens the strokes by so many pixels, in `edge` or the text's own colour."""
    canvas.draw.text(
        (at[0] * SCALE, at[1] * SCALE),
        text,
        font=font(size),
        fill=color,
        anchor=anchor,
        stroke_width=bold * SCALE,
        stroke_fill=edge or color,
    )


def wrap(text: str, size: float, limit: float, bold: float = 0.0) -> list[str]:
    """Break a text into lines no wider than `limit` (a single long word may be)."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and width(longer, size, bold) > limit:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines
