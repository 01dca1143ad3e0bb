"""Hands and the things they hold, drawn in the frame of the wrist (fingers along +y)."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

from .canvas import Canvas
from .geometry import Frame, Point, arc
from .palette import RGB, Palette


class Hand:
    """One hand; the frame's y axis runs along the forearm."""

    def __init__(self, canvas: Canvas, frame: Frame, skin: RGB, light: Palette, *, dark: bool = False) -> None:
        self.c, self.f, self.p = canvas, frame, light
        self.skin = light.shade(skin) if dark else light.lit(skin)
        self.low = light.shade(skin)
        self.pen = max(0.7, frame.unit * 0.014)

    def fill(self, points: list[Point], color: RGB, *, curved: bool = True) -> None:
        """Fill a shape of the hand, inked."""
        self.c.shape(self.f.all(points), color, ink=self.p.ink, width=self.pen, curved=curved)

    def line(self, points: list[Point], w0: float, w1: float = 0.0, color: RGB | None = None) -> None:
        """Draw a stroke; widths in head units."""
        self.c.stroke(self.f.all(points), color or self.p.ink, w0 * self.f.unit, w1 * self.f.unit)

    def draw(self, gesture: str) -> None:
        """Draw the hand."""
        if gesture == "none":
            return
        if gesture == "fist":
            self.fill(
                [(-0.11, -0.02), (0.10, -0.04), (0.15, 0.08), (0.13, 0.23), (0.0, 0.27), (-0.12, 0.21), (-0.14, 0.08)],
                self.skin,
            )
            for i in range(3):
                self.line([(-0.06 + 0.065 * i, 0.25), (-0.055 + 0.06 * i, 0.13)], 0.014, 0.006)
            self.line([(0.13, 0.07), (0.02, 0.12), (-0.02, 0.19)], 0.012, 0.006)
        elif gesture == "point":
            self.fill(
                [
                    (-0.11, -0.02), (0.10, -0.04), (0.14, 0.08), (0.12, 0.17), (0.085, 0.19), (0.07, 0.45),
                    (0.03, 0.47), (0.0, 0.44), (0.0, 0.22), (-0.1, 0.22), (-0.14, 0.08),
                ],
                self.skin,
            )
            self.line([(-0.1, 0.12), (-0.02, 0.15)], 0.012, 0.006)
            self.line([(0.0, 0.22), (0.02, 0.13)], 0.014, 0.004)
        elif gesture == "open":
            self.fill(
                [
                    (-0.10, -0.02), (0.10, -0.02), (0.19, 0.10), (0.25, 0.20), (0.21, 0.235), (0.12, 0.17),
                    (0.115, 0.24), (0.13, 0.43), (0.085, 0.445), (0.05, 0.27), (0.035, 0.47), (-0.015, 0.47),
                    (-0.015, 0.27), (-0.06, 0.44), (-0.105, 0.42), (-0.075, 0.24), (-0.155, 0.34), (-0.185, 0.305),
                    (-0.13, 0.14),
                ],
                self.skin,
            )
            self.line([(-0.06, 0.08), (0.03, 0.13), (0.09, 0.11)], 0.008, 0.004, self.low)
        else:
            self.fill(
                [
                    (-0.10, -0.02), (0.09, -0.03), (0.15, 0.10), (0.14, 0.20), (0.09, 0.18), (0.09, 0.30),
                    (0.05, 0.42), (-0.05, 0.44), (-0.11, 0.32), (-0.12, 0.12),
                ],
                self.skin,
            )
            self.line([(0.0, 0.42), (0.01, 0.26)], 0.012, 0.004)
            self.line([(-0.05, 0.42), (-0.04, 0.27)], 0.012, 0.004)

    def hold(self, item: str, other: Point | None = None) -> None:
        """Draw what the hand holds; `other` is where the second hand is, in panel pixels."""
        drawer = {
            "crop": self._crop, "cane": self._cane, "pistol": self._pistol, "lens": self._lens, "pipe": self._pipe,
            "lash": self._lash, "lantern": self._lantern, "candle": self._candle, "paper": self._paper,
            "reins": self._reins,
        }.get(item)
        if item == "poker":
            self._poker(other)
        elif drawer is not None:
            drawer()

    def upright(self) -> Frame:
        """Return a frame at the hand that stands upright whatever the arm does."""
        x, y = self.f.at((0.0, 0.12))
        return Frame(x, y, self.f.unit, self.f.flip)

    def _thing(self, f: Frame, points: list[Point], color: RGB, *, curved: bool = False) -> None:
        self.c.shape(f.all(points), color, ink=self.p.ink, width=self.pen, curved=curved)

    def _crop(self) -> None:
        self.line([(-0.35, 0.12), (0.2, 0.12), (1.0, 0.02), (1.5, -0.12)], 0.075, 0.03)
        self.line([(1.45, -0.12), (1.62, -0.05), (1.58, 0.08)], 0.04, 0.02)

    def _cane(self) -> None:
        self.line([(0.5, 0.06), (-0.4, 0.14), (-2.5, 0.42)], 0.075, 0.045, self.p.ink)
        self.line([(0.4, 0.07), (-0.4, 0.14), (-2.4, 0.40)], 0.03, 0.018, self.p.lit((190, 140, 80)))

    def _pistol(self) -> None:
        f = self.f
        self._thing(
            f,
            [(-0.09, 0.02), (0.07, 0.03), (0.10, 0.22), (0.13, 0.86), (0.03, 0.86), (-0.02, 0.34), (-0.08, 0.30)],
            self.p.half((70, 74, 84)),
        )
        self._thing(f, [(0.0, 0.26), (0.14, 0.26), (0.15, 0.46), (0.0, 0.46)], self.p.lit((96, 100, 110)))
        self.line([(0.11, 0.3), (0.115, 0.82)], 0.016, 0.012, self.p.lit((210, 214, 220)))

    def _lens(self) -> None:
        f = self.upright().inner((0.12, -0.1))
        self.c.stroke(f.all([(0.0, 0.12), (0.16, -0.12)]), self.p.ink, 0.07 * f.unit, 0.06 * f.unit)
        x, y = f.at((0.33, -0.36))
        self.c.dot(x, y, 0.29 * f.unit, self.p.ink)
        self.c.dot(x, y, 0.245 * f.unit, self.p.lit((200, 224, 224)))
        self.c.stroke(f.all(arc(0.33, -0.36, 0.17, 0.17, 190, 270, 8)), (250, 252, 248), 0.03 * f.unit, 0.01 * f.unit)

    def _pipe(self) -> None:
        f = self.upright()
        self.c.stroke(
            f.all([(-0.02, -0.44), (0.1, -0.26), (0.2, -0.14), (0.32, -0.16)]), self.p.ink, 0.04 * f.unit, 0.07 * f.unit
        )
        self._thing(f, [(0.24, -0.36), (0.46, -0.36), (0.43, -0.1), (0.28, -0.08)], self.p.half((92, 52, 34)))

    def _lash(self) -> None:
        f = self.upright()
        self.c.stroke(f.all([(-0.6, 0.02), (0.1, 0.06), (0.9, -0.06)]), self.p.ink, 0.07 * f.unit, 0.045 * f.unit)
        self.c.stroke(
            f.all([(0.9, -0.06), (1.3, 0.1), (1.35, 0.6), (1.1, 0.7), (1.05, 0.4), (1.3, 0.25)]),
            self.p.ink,
            0.03 * f.unit,
        )

    def _lantern(self) -> None:
        f = self.upright().inner((0.05, 0.12))
        self.c.stroke(f.all(arc(0.0, 0.14, 0.17, 0.2, 180, 360, 10)), self.p.ink, 0.035 * f.unit)
        self._thing(f, [(-0.16, 0.16), (0.16, 0.16), (0.2, 0.26), (-0.2, 0.26)], self.p.half((80, 70, 60)))
        self._thing(f, [(-0.18, 0.26), (0.18, 0.26), (0.2, 0.66), (-0.2, 0.66)], (255, 226, 140))
        self.c.stroke(f.all([(0.0, 0.26), (0.0, 0.66)]), self.p.ink, 0.02 * f.unit)
        self._thing(f, [(-0.24, 0.66), (0.24, 0.66), (0.24, 0.76), (-0.24, 0.76)], self.p.half((80, 70, 60)))

    def _candle(self) -> None:
        f = self.upright()
        self._thing(f, [(-0.07, -0.55), (0.07, -0.55), (0.08, -0.02), (-0.08, -0.02)], self.p.lit((246, 236, 208)))
        self._thing(f, [(-0.2, -0.04), (0.2, -0.04), (0.16, 0.05), (-0.16, 0.05)], self.p.half((150, 120, 60)))
        self.c.shape(
            f.all([(0.0, -0.88), (0.0, -0.88), (0.075, -0.68), (0.0, -0.58), (-0.075, -0.68)]), (255, 232, 150)
        )

    def _paper(self) -> None:
        f = self.upright()
        self._thing(f, [(-0.12, -0.36), (0.78, -0.52), (0.84, 0.32), (-0.04, 0.46)], self.p.lit((150, 180, 214)))
        for i in range(6):
            y = -0.24 + 0.105 * i
            self.c.stroke(
                f.all([(0.0, y), (0.62 - 0.1 * (i % 2), y - 0.1)]),
                self.p.shade((90, 110, 150)),
                0.018 * f.unit,
                curved=False,
            )

    def _poker(self, other: Point | None) -> None:
        f = self.upright()
        ox, oy = other or f.at((0.9, 0.0))
        x0, y0 = f.at((0.0, 0.0))
        u = f.unit
        mx, my = (x0 + ox) / 2, (y0 + oy) / 2 + 0.75 * u
        path = [
            (x0 - 0.16 * u * f.flip, y0 - 0.8 * u), (x0, y0), (mx, my), (ox, oy),
            (ox + 0.16 * u * f.flip, oy - 0.75 * u),
        ]
        self.c.stroke(path, self.p.ink, 0.15 * u)
        self.c.stroke(path, self.p.lit((170, 174, 182)), 0.06 * u)

    def _reins(self) -> None:
        self.line([(0.0, 0.15), (0.3, 0.9), (0.9, 2.0)], 0.03, 0.02)
