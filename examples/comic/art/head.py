"""Heads: skull, planes of shadow, features and expression, in three-quarter view, profile and from behind.

Local coordinates: the head is one unit high, its middle is the origin, it looks to the right.
"""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

from .canvas import Canvas
from .geometry import Frame, Point
from .hair import draw_hair_back, draw_hair_front, draw_hat, draw_whiskers
from .look import Look, Mood
from .palette import RGB, Palette

NOSES: dict[str, tuple[float, float, float]] = {
    # reach of the tip, height of the tip, hump of the bridge
    "aquiline": (0.065, 0.135, 0.035),
    "straight": (0.035, 0.125, 0.005),
    "hawk": (0.09, 0.16, 0.05),
    "small": (0.01, 0.105, -0.015),
    "broad": (0.03, 0.14, 0.0),
}


class Head:
    """One head to be drawn: holds what every part of the drawing needs to know."""

    def __init__(
        self, canvas: Canvas, frame: Frame, look: Look, mood: Mood, light: Palette, side: int, view: str, *, hat: bool
    ) -> None:
        self.c, self.f, self.look, self.mood, self.p = canvas, frame, look, mood, light
        self.view, self.hat = view, hat
        self.lit_front = side * frame.flip > 0
        self.u = frame.unit
        self.pen = max(0.7, frame.unit * 0.014)
        self.skin, self.dark = light.lit(look.skin), light.shade(look.skin)

    def draw(self) -> None:
        """Draw everything from back to front."""
        draw_hair_back(self)
        if self.view == "back":
            self._back()
        else:
            outline = self._profile_outline() if self.view == "profile" else self._outline()
            self._ear(behind=True)
            self.fill(outline, self.skin)
            self._planes(outline)
            if self.view == "profile":
                self._profile_features()
            else:
                self._features()
            self._ear(behind=False)
        draw_hair_front(self)
        draw_whiskers(self)
        if self.hat and self.look.hat != "none":
            draw_hat(self)

    # --- helpers in local coordinates (used by hair.py too)

    def fill(self, points: list[Point], color: RGB, *, ink: bool = True, curved: bool = True) -> None:
        """Fill a local shape with an ink outline."""
        self.c.shape(
            self.f.all(points),
            color,
            ink=self.p.ink if ink else None,
            width=self.pen,
            curved=curved,
            weight=(0.35 * self.f.flip, 0.5) if ink else (0, 0),
        )

    def line(
        self, points: list[Point], w0: float, w1: float = 0.0, color: RGB | None = None, belly: float = 0.0
    ) -> None:
        """Draw a local brush stroke; widths are in head units."""
        self.c.stroke(self.f.all(points), color or self.p.ink, w0 * self.u, w1 * self.u, belly=belly * self.u)

    @property
    def ear_x(self) -> float:
        """Where the ear sits."""
        return -0.10 if self.view == "profile" else -0.225

    # --- skull

    def _outline(self) -> list[Point]:
        j, g = self.look.jaw, self.look.gaunt
        return [
            (-0.34, -0.08), (-0.34, -0.32), (-0.14, -0.49), (0.12, -0.48), (0.28, -0.33), (0.315, -0.13),
            (0.285, -0.01), (0.325, 0.09), (0.275 - 0.02 * g, 0.25), (0.215 * j, 0.42), (0.20 * j, 0.47),
            (0.12, 0.505), (0.02, 0.495), (-0.06 * j, 0.44), (-0.20 * j, 0.30), (-0.245, 0.13),
        ]

    def _profile_outline(self) -> list[Point]:
        reach, tip, hump = NOSES[self.look.nose]
        j, m = self.look.jaw, self.mood
        drop = 0.05 * m.gape
        return [
            (-0.40, -0.08), (-0.37, -0.34), (-0.14, -0.49), (0.14, -0.46), (0.275, -0.30), (0.30, -0.13),
            (0.275, -0.055), (0.315 + hump, 0.02), (0.365 + reach, tip - 0.01), (0.365 + reach, tip - 0.01),
            (0.36 + reach * 0.6, tip + 0.03), (0.285, tip + 0.045), (0.285, tip + 0.045), (0.315, 0.235),
            (0.31, 0.265), (0.275, 0.285), (0.275, 0.285), (0.305, 0.315 + drop), (0.265, 0.355 + drop),
            (0.285 * (0.5 + j / 2), 0.43 + drop), (0.25, 0.49 + drop), (0.14, 0.50 + drop), (0.0, 0.42),
            (-0.09 * j, 0.31), (-0.12, 0.14),
        ]

    def _planes(self, outline: list[Point]) -> None:
        g = self.look.gaunt
        if self.view == "profile":
            if self.lit_front:
                shape = [
                    (-0.6, -0.6), (0.02, -0.55), (0.05, -0.2), (-0.01, 0.02), (0.08 + 0.05 * g, 0.14), (0.07, 0.3),
                    (0.02, 0.44), (0.1, 0.6), (-0.6, 0.6),
                ]
            else:
                shape = [
                    (0.6, -0.6), (0.17, -0.5), (0.15, -0.12), (0.2, 0.0), (0.23, 0.12), (0.12 - 0.05 * g, 0.16),
                    (0.12, 0.32), (0.1, 0.6), (0.6, 0.6),
                ]
        elif self.lit_front:
            shape = [
                (-0.7, -0.7), (-0.1, -0.6), (-0.1, -0.25), (-0.15, -0.04), (-0.1 + 0.05 * g, 0.09),
                (-0.04 + 0.04 * g, 0.2), (-0.06, 0.34), (0.0, 0.6), (-0.7, 0.6),
            ]
        else:
            shape = [
                (0.7, -0.7), (0.13, -0.6), (0.10, -0.3), (0.12, -0.1), (0.165, 0.0), (0.195, 0.1), (0.15, 0.17),
                (0.16, 0.23), (0.11 - 0.03 * g, 0.3), (0.11, 0.4), (0.07, 0.6), (0.7, 0.6),
            ]
        self.c.within(self.f.all(outline), self.f.all(shape), self.dark)

    def _ear(self, *, behind: bool) -> None:
        if behind or self.look.hair_style in {"chignon", "loose"}:
            return
        x = self.ear_x
        fill = self.dark if self.lit_front else self.skin
        self.fill(
            [
                (x - 0.045, -0.06), (x + 0.03, -0.075), (x + 0.045, 0.02), (x + 0.02, 0.12), (x - 0.03, 0.10),
                (x - 0.055, 0.02),
            ],
            fill,
        )
        self.line([(x + 0.012, -0.035), (x - 0.03, 0.0), (x - 0.012, 0.06)], 0.012, 0.006)

    def _back(self) -> None:
        self.fill(
            [
                (-0.34, -0.1), (-0.31, -0.36), (0.0, -0.5), (0.31, -0.36), (0.34, -0.1), (0.27, 0.2), (0.17, 0.36),
                (-0.17, 0.36), (-0.27, 0.2),
            ],
            self.dark,
        )
        for s in () if self.look.woman else (-1, 1):
            self.fill(
                [(0.31 * s, -0.06), (0.37 * s, -0.05), (0.37 * s, 0.04), (0.31 * s, 0.11)],
                self.skin if s == (1 if self.lit_front else -1) else self.dark,
            )

    # --- features

    def _features(self) -> None:
        m, g = self.mood, self.look.gaunt
        far_dark = not self.lit_front
        self._socket(-0.03, 0.10)
        self._socket(0.225, 0.062)
        self._eye(-0.03, -0.025, 0.085, dark=self.lit_front and self.look.gaunt > 0.9)
        self._eye(0.222, -0.025, 0.056, dark=far_dark)
        y = -0.115 - 0.035 * m.lift
        a = 0.055 * m.angle
        b = self.look.brow
        self.line(
            [(-0.145, y + 0.02 - a * 0.5), (-0.06, y - 0.02), (0.065, y + 0.005 + a)],
            0.016 * b,
            0.036 * b,
            self._hairline_ink(),
            0.02 * b,
        )
        self.line(
            [(0.17, y + 0.005 + a), (0.235, y - 0.018), (0.295, y + 0.02 - a * 0.5)],
            0.036 * b,
            0.014 * b,
            self._hairline_ink(),
            0.012 * b,
        )
        if m.angle > 0.4:
            self.line([(0.10, y - 0.02), (0.115, y + 0.05)], 0.01, 0.004)
            self.line([(0.145, y - 0.02), (0.14, y + 0.04)], 0.01, 0.004)
        self._nose()
        self._mouth(0.145, 0.295, 0.105, 0.075)
        if g > 0.4:
            self.line([(-0.11, 0.13), (-0.045, 0.21), (-0.035, 0.29)], 0.0, 0.006 * g, self.dark, 0.02 * g)
        if self.look.lines:
            self._wrinkles()

    def _hairline_ink(self) -> RGB:
        return self.p.ink if sum(self.look.hair) < 330 else self.p.shade(self.look.hair)

    def _socket(self, x: float, w: float) -> None:
        strength = 0.6 if self.look.woman else 1.0
        color = self.p.half(self.look.skin) if self.look.woman else self.dark
        self.fill(
            [(x - w, -0.055), (x, -0.10), (x + w, -0.06), (x + w * 0.6, 0.005 * strength), (x - w * 0.6, 0.0)],
            color,
            ink=False,
        )

    def _eye(self, x: float, y: float, w: float, *, dark: bool) -> None:
        open_ = self.mood.eyes * (0.036 if self.look.woman else 0.030)
        white = self.p.half((238, 234, 222)) if dark else self.p.lit((244, 240, 230))
        self.fill(
            [
                (x - w, y + 0.008), (x - w * 0.3, y - open_), (x + w * 0.5, y - open_ * 0.9), (x + w, y + 0.008),
                (x, y + open_ * 0.85),
            ],
            white,
            ink=False,
        )
        r = min(0.030, open_ * 0.95) if self.mood.eyes < 1.4 else 0.019
        px, py = self.f.at((x + w * 0.15, y - 0.001))
        self.c.dot(px, py, r * self.u, self.p.ink)
        if self.u > 90:
            hx, hy = self.f.at((x + w * 0.15 + (0.01 if self.lit_front else -0.01), y - 0.011))
            self.c.dot(hx, hy, 0.007 * self.u, (250, 246, 232))
        lid = 0.022 if self.look.woman else 0.018
        self.line(
            [
                (x - w * 1.12, y + 0.014), (x - w * 0.35, y - open_ - 0.002), (x + w * 0.5, y - open_ * 0.95),
                (x + w * 1.08, y + 0.006),
            ],
            lid * 0.6,
            lid * 0.5,
            belly=lid * 0.6,
        )
        self.line(
            [(x - w * 0.6, y + open_ * 0.7), (x + w * 0.1, y + open_ * 0.95), (x + w * 0.8, y + open_ * 0.5)],
            0.004,
            0.004,
            belly=0.006,
        )
        if self.look.woman:
            self.line([(x - w * 1.0, y + 0.01), (x - w * 1.4, y - 0.012)], 0.012, 0.0)
        if self.look.lines or self.mood.eyes > 1.2 or self.look.gaunt > 0.5:
            self.line(
                [(x - w * 0.7, y + 0.055), (x + w * 0.1, y + 0.07), (x + w * 0.7, y + 0.05)], 0.0, 0.008, belly=0.006
            )

    def _nose(self) -> None:
        reach, tip, hump = NOSES[self.look.nose]
        wide = 0.02 if self.look.nose == "broad" else 0.0
        tip_x = 0.205 + reach
        shade = [
            (0.155, -0.06), (0.175 + hump * 0.5, 0.03), (tip_x - 0.02, tip - 0.02), (tip_x, tip + 0.015),
            (0.20, tip + 0.045), (0.12 - wide, tip + 0.04), (0.155, tip - 0.01),
        ]
        if self.look.woman:
            self.fill(
                [(0.17, 0.03), (tip_x - 0.02, tip - 0.01), (0.2, tip + 0.03), (0.15, tip + 0.025)],
                self.p.half(self.look.skin),
                ink=False,
            )
        else:
            self.fill(shade, self.dark, ink=False)
            if self.lit_front:
                self.fill(
                    [
                        (0.165, -0.03), (0.185 + hump * 0.7, 0.03), (tip_x, tip - 0.01), (tip_x - 0.04, tip + 0.0),
                        (0.19, tip - 0.04),
                    ],
                    self.skin,
                    ink=False,
                )
        self.line([(0.165, -0.055), (0.19 + hump, 0.03), (tip_x, tip)], 0.004, 0.015)
        self.line([(tip_x, tip - 0.005), (tip_x - 0.008, tip + 0.03), (0.185, tip + 0.043)], 0.014, 0.008)
        self.line([(0.125 - wide, tip + 0.005), (0.112 - wide, tip + 0.035), (0.145, tip + 0.045)], 0.006, 0.012)

    def _mouth(self, x: float, y: float, left: float, right: float) -> None:
        m = self.mood
        c = 0.035 * m.mouth
        if m.gape > 0.15:
            h = 0.115 * m.gape
            lips = [
                (x - left * 0.85, y + 0.005 - c * 0.3), (x - 0.01, y - 0.022), (x + right * 0.9, y - c * 0.2),
                (x + right * 0.5, y + h), (x - left * 0.45, y + h * 1.05),
            ]
            self.fill(lips, self.p.ink)
            teeth = [
                (x - left * 0.6, y + 0.002), (x - 0.01, y - 0.012), (x + right * 0.65, y + 0.0),
                (x + right * 0.5, y + h * 0.22), (x - left * 0.45, y + h * 0.24),
            ]
            self.fill(teeth, self.p.lit((232, 226, 206)), ink=False)
            self.line([(x - left * 0.45, y + h + 0.035), (x + right * 0.4, y + h + 0.03)], 0.0, 0.012, belly=0.016)
            return
        path: list[Point] = [
            (x - left, y - c), (x - left * 0.4, y - 0.004 + c * 0.2), (x + 0.01, y + 0.004 + c * 0.5),
            (x + right, y - c),
        ]
        if self.look.woman:
            lip = self.p.half((164, 66, 64))
            self.fill(
                [
                    (x - left * 0.72, y - c * 0.7), (x - 0.02, y - 0.026), (x + 0.01, y - 0.018),
                    (x + 0.03, y - 0.025), (x + right * 0.8, y - c * 0.7), (x + 0.01, y + 0.045),
                ],
                lip,
                ink=False,
            )
            self.line([path[0], path[1], path[2], path[3]], 0.004, 0.004, belly=0.012)
            return
        self.line(path, 0.010, 0.006, belly=0.014)
        self.line(
            [(x - left * 0.5, y + 0.06), (x + 0.01, y + 0.07), (x + right * 0.6, y + 0.058)],
            0.0,
            0.0,
            self.dark,
            belly=0.032,
        )

    def _wrinkles(self) -> None:
        for i in range(min(self.look.lines, 3)):
            y = -0.235 - 0.05 * i
            self.line([(-0.03, y), (0.09, y + 0.012), (0.22, y)], 0.0, 0.0, belly=0.011)
        self.line([(0.105, 0.19), (0.035, 0.235), (0.015, 0.31)], 0.012, 0.002, belly=0.008)
        self.line([(0.255, 0.20), (0.27, 0.25), (0.255, 0.31)], 0.01, 0.002)
        for i in range(2):
            self.line([(-0.15, -0.01 + 0.03 * i), (-0.2, -0.02 + 0.045 * i)], 0.009, 0.0)

    def _profile_features(self) -> None:
        m, b = self.mood, self.look.brow
        y = -0.115 - 0.035 * m.lift
        a = 0.055 * m.angle
        color = self.p.half(self.look.skin) if self.look.woman else self.dark
        self.fill([(0.12, -0.06), (0.2, -0.10), (0.275, -0.07), (0.25, 0.0), (0.15, 0.0)], color, ink=False)
        open_ = m.eyes * 0.034
        self.fill(
            [(0.145, 0.004), (0.235, -0.025 - open_), (0.25, -0.02), (0.235, -0.005 + open_ * 0.5)],
            self.p.lit((244, 240, 230)),
            ink=False,
        )
        px, py = self.f.at((0.226, -0.02))
        self.c.dot(px, py, 0.016 * self.u, self.p.ink, 0.028 * self.u * min(1.2, m.eyes))
        self.line([(0.12, 0.008), (0.19, -0.03 - open_ * 0.5), (0.252, -0.028 - open_)], 0.006, 0.016, belly=0.01)
        self.line([(0.15, 0.012), (0.235, 0.012)], 0.003, 0.005)
        self.line(
            [(0.09, y + 0.025 - a * 0.5), (0.18, y - 0.02), (0.29, y + 0.012 + a)],
            0.014 * b,
            0.034 * b,
            self._hairline_ink(),
            0.018 * b,
        )
        _, tip, _ = NOSES[self.look.nose]
        self.line([(0.275, tip - 0.01), (0.255, tip + 0.03), (0.29, tip + 0.05)], 0.004, 0.012)
        c = 0.03 * m.mouth
        if m.gape > 0.15:
            h = 0.10 * m.gape
            self.fill(
                [
                    (0.18, 0.29), (0.30, 0.275), (0.30, 0.275), (0.29, 0.29 + h), (0.29, 0.29 + h),
                    (0.21, 0.30 + h * 0.6),
                ],
                self.p.ink,
                ink=False,
            )
        else:
            self.line([(0.16, 0.295 - c), (0.22, 0.288), (0.285, 0.286)], 0.004, 0.014)
        if self.look.gaunt > 0.4:
            self.line([(0.03, 0.12), (0.11, 0.19), (0.13, 0.28)], 0.0, 0.006, self.dark, 0.018)
        if self.look.lines:
            self.line([(0.245, 0.18), (0.165, 0.235), (0.15, 0.32)], 0.012, 0.002)
            for i in range(2):
                self.line([(0.12, -0.24 - 0.05 * i), (0.26, -0.23 - 0.05 * i)], 0.0, 0.0, belly=0.01)
