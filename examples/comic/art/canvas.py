"""A drawing surface at twice the size, so that every edge is smooth when it is brought down."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .geometry import Point, bounds, brush, smooth
from .palette import RGB

SCALE = 2


class Canvas:
    """Draws in panel pixels; a layer (`clear=True`) starts transparent and is laid over another canvas later."""

    def __init__(self, width: int, height: int, fill: RGB = (0, 0, 0), *, clear: bool = False) -> None:
        self.width, self.height = width, height
        size = (width * SCALE, height * SCALE)
        self.image = Image.new("RGBA", size, (0, 0, 0, 0)) if clear else Image.new("RGB", size, fill)
        self.draw = ImageDraw.Draw(self.image)

    def layer(self) -> Canvas:
        """Return an empty transparent canvas of the same size."""
        return Canvas(self.width, self.height, clear=True)

    def finish(self) -> Image.Image:
        """Return the picture at its real size."""
        return self.image.reduce(SCALE)

    def cut(self, x0: float, y0: float, x1: float, y1: float) -> Canvas:
        """Return only the part of this layer inside a rectangle."""
        out = self.layer()
        box = (round(x0 * SCALE), round(y0 * SCALE), round(x1 * SCALE), round(y1 * SCALE))
        out.image.paste(self.image.crop(box), box[:2])
        return out

    def lay(self, over: Canvas) -> None:
        """Lay a transparent canvas over this one."""
        box = over.image.getbbox()
        if box is None:
            return
        piece = over.image.crop(box)
        if self.image.mode == "RGBA":
            self.image.alpha_composite(piece, box[:2])
        else:
            self.image.paste(piece, box[:2], piece)

    # --- shapes

    def shape(
        self,
        points: Sequence[Point],
        fill: RGB | None,
        *,
        ink: RGB | None = None,
        width: float = 0.0,
        curved: bool = True,
        weight: Point = (0.0, 0.0),
    ) -> None:
        """Fill a closed shape; its outline is heavier on the side of `weight`, as a brush would leave it."""
        path = _up(smooth(points) if curved else points)
        if ink is not None and width > 0:
            if weight != (0.0, 0.0):
                dx, dy = weight[0] * width * SCALE, weight[1] * width * SCALE
                self.draw.polygon([(x + dx, y + dy) for x, y in path], fill=ink)
            self.draw.line([*path, path[0], path[1]], fill=ink, width=max(1, round(width * SCALE)), joint="curve")
        if fill is not None:
            self.draw.polygon(path, fill=fill)

    def stroke(
        self,
        points: Sequence[Point],
        color: RGB,
        w0: float,
        w1: float | None = None,
        *,
        belly: float = 0.0,
        curved: bool = True,
    ) -> None:
        """Draw a brush stroke along an open path."""
        path = smooth(points, closed=False) if curved else list(points)
        self.draw.polygon(_up(brush(path, w0, w0 if w1 is None else w1, belly=belly)), fill=color)

    def dot(self, x: float, y: float, rx: float, fill: RGB, ry: float | None = None) -> None:
        """Fill an ellipse around a point."""
        ry = rx if ry is None else ry
        self.draw.ellipse([(x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE], fill=fill)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: RGB) -> None:
        """Fill an upright rectangle."""
        if x1 > x0 and y1 > y0:
            self.draw.rectangle([x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE], fill=fill)

    def within(self, clip: Sequence[Point], points: Sequence[Point], fill: RGB, *, curved: bool = True) -> None:
        """Fill the part of a shape that lies inside another one."""
        outer = _up(smooth(clip) if curved else clip)
        left, top, right, bottom = bounds(outer)
        x0, y0 = max(0, int(left)), max(0, int(top))
        size = (min(self.image.width, int(right) + 1) - x0, min(self.image.height, int(bottom) + 1) - y0)
        if size[0] <= 0 or size[1] <= 0:
            return
        one, two = Image.new("L", size, 0), Image.new("L", size, 0)
        ImageDraw.Draw(one).polygon([(x - x0, y - y0) for x, y in outer], fill=255)
        inner = _up(smooth(points) if curved else points)
        ImageDraw.Draw(two).polygon([(x - x0, y - y0) for x, y in inner], fill=255)
        self.image.paste(fill, (x0, y0), ImageChops.darker(one, two))

    def hatch(
        self,
        points: Sequence[Point],
        color: RGB,
        *,
        gap: float,
        width: float,
        angle: float = 45.0,
        curved: bool = False,
    ) -> None:
        """Fill a shape with parallel pen lines."""
        path = _up(smooth(points) if curved else points)
        left, top, right, bottom = bounds(path)
        x0, y0 = max(0, int(left)), max(0, int(top))
        x1, y1 = min(self.image.width, int(right) + 1), min(self.image.height, int(bottom) + 1)
        if x1 <= x0 or y1 <= y0:
            return
        size = (x1 - x0, y1 - y0)
        inside = Image.new("L", size, 0)
        ImageDraw.Draw(inside).polygon([(x - x0, y - y0) for x, y in path], fill=255)
        lines = Image.new("L", size, 0)
        pen = ImageDraw.Draw(lines)
        a = math.radians(angle)
        ux, uy = math.cos(a), math.sin(a)
        reach = math.hypot(*size)
        cx, cy = size[0] / 2, size[1] / 2
        step = gap * SCALE
        for i in range(-int(reach / step) - 1, int(reach / step) + 2):
            ox, oy = cx - uy * i * step, cy + ux * i * step
            pen.line(
                [(ox - ux * reach, oy - uy * reach), (ox + ux * reach, oy + uy * reach)],
                fill=255,
                width=max(1, round(width * SCALE)),
            )
        self.image.paste(color, (x0, y0), ImageChops.darker(inside, lines))

    # --- light

    def mask(
        self, points: Sequence[Point], *, blur: float = 0.0, strength: float = 1.0, curved: bool = False
    ) -> Image.Image:
        """Return a soft mask of a shape; drawn small and enlarged, as nobody sees the pixels of a blur."""
        shrink = 1 if blur < 3 else 4
        size = (self.image.width // shrink, self.image.height // shrink)
        out = Image.new("L", size, 0)
        path = smooth(points) if curved else points
        ImageDraw.Draw(out).polygon(
            [(x * SCALE / shrink, y * SCALE / shrink) for x, y in path], fill=round(255 * strength)
        )
        if blur > 0:
            out = out.filter(ImageFilter.GaussianBlur(blur * SCALE / shrink))
        return out if shrink == 1 else out.resize(self.image.size, Image.Resampling.BILINEAR)

    def light(self, mask: Image.Image, color: RGB) -> None:
        """Add coloured light where the mask is bright."""
        glow = ImageChops.multiply(Image.new("RGB", self.image.size, color), Image.merge("RGB", (mask, mask, mask)))
        self._replace(ImageChops.screen(self.image.convert("RGB"), glow))

    def tint(self, mask: Image.Image, color: RGB) -> None:
        """Paint a colour through a mask."""
        self.image.paste(color, (0, 0), mask)

    def grade(self, gamma: float, gain: float) -> None:
        """Develop the picture: lift the middle tones, keep the blacks."""
        curve = [min(255, round(255 * gain * (v / 255) ** gamma)) for v in range(256)]
        self._replace(self.image.convert("RGB").point(curve * 3))

    def _replace(self, image: Image.Image) -> None:
        self.image = image
        self.draw = ImageDraw.Draw(self.image)


def _up(points: Sequence[Point]) -> list[Point]:
    return [(x * SCALE, y * SCALE) for x, y in points]
