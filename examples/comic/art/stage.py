"""The stage a place is built on: scene coordinates, a camera, and light that is added after the figures.

Scene coordinates: one unit is the height of the picture in a wide shot; x = 0 is the middle of the set, y = 0 its
ceiling.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .canvas import Canvas
from .geometry import Frame, Point, box
from .light import glow, shaft
from .palette import RGB, Palette


@dataclass(frozen=True)
class Camera:
    """Which part of the set the picture shows."""

    zoom: float = 1.0
    x: float = 0.0
    y: float = 0.5


class Stage:
    """A canvas with a camera; places draw on it."""

    def __init__(
        self, canvas: Canvas, light: Palette, camera: Camera, rng: random.Random, *, night: bool = False, prop: str = ""
    ) -> None:
        self.c, self.p, self.rng = canvas, light, rng
        self.night, self.prop = night, prop
        self.unit = canvas.height * camera.zoom
        self.f = Frame(canvas.width / 2 - camera.x * self.unit, canvas.height / 2 - camera.y * self.unit, self.unit)
        self.edge = max(1.35, canvas.width / canvas.height * 0.6 + abs(camera.x))
        self.pen = max(1.0, self.unit * 0.0028)
        self.after: list[Callable[[], None]] = []

    def fill(self, points: list[Point], color: RGB, *, ink: bool = True, curved: bool = False) -> None:
        """Fill a shape of the set."""
        self.c.shape(self.f.all(points), color, ink=self.p.ink if ink else None, width=self.pen, curved=curved)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: RGB, *, ink: bool = True) -> None:
        """Fill an upright rectangle of the set."""
        self.fill(box(x0, y0, x1, y1), color, ink=ink)

    def line(
        self, points: list[Point], w0: float, w1: float | None = None, color: RGB | None = None, *, curved: bool = True
    ) -> None:
        """Draw a stroke; widths are in thousandths of the picture's height."""
        k = self.unit / 1000
        self.c.stroke(self.f.all(points), color or self.p.ink, w0 * k, (w0 if w1 is None else w1) * k, curved=curved)

    def dot(self, x: float, y: float, r: float, color: RGB, ry: float | None = None) -> None:
        """Fill an ellipse of the set."""
        px, py = self.f.at((x, y))
        self.c.dot(px, py, r * self.unit, color, None if ry is None else ry * self.unit)

    def hatch(
        self, points: list[Point], gap: float = 9.0, angle: float = 60.0, color: RGB | None = None, width: float = 1.6
    ) -> None:
        """Shade a part of the set with pen lines."""
        k = max(0.75, self.unit / 900)
        self.c.hatch(self.f.all(points), color or self.p.ink, gap=gap * k, width=width * k, angle=angle)

    def glow(self, x: float, y: float, radius: float, color: RGB, strength: float = 0.8) -> None:
        """Light a lamp now (behind the figures)."""
        glow(self.c, self.f.at((x, y)), radius * self.unit, color, strength)

    def later_glow(self, x: float, y: float, radius: float, color: RGB, strength: float = 0.5) -> None:
        """Light a lamp after the figures are drawn, so that it shines over them."""
        self.after.append(lambda: self.glow(x, y, radius, color, strength))

    def later_shaft(self, points: list[Point], color: RGB, strength: float = 0.3, blur: float = 0.012) -> None:
        """Let a beam of light fall across the set and the figures."""
        self.after.append(lambda: shaft(self.c, self.f.all(points), color, strength, blur * self.unit))

    def shaft(self, points: list[Point], color: RGB, strength: float = 0.4, blur: float = 0.008) -> None:
        """Throw light on the set now."""
        shaft(self.c, self.f.all(points), color, strength, blur * self.unit)
