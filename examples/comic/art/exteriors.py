"""Out of doors: the lane in Surrey, the manor of Stoke Moran, its lawn by night."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

import math

from .geometry import Point
from .light import fade, halftone
from .stage import Stage


def _sky(s: Stage) -> None:
    p = s.p
    e = s.edge
    low, high = (p.mid, p.deep) if s.night else (p.key, p.light)
    s.box(-e, -0.5, e, 0.75, high, ink=False)
    halftone(s.c, fade("down", 1.0), low, 6)


def _tree(s: Stage, x: float, y: float, h: float, *, bare: bool = True) -> None:
    p = s.p
    trunk = p.ink if s.night else p.shade((84, 66, 50))

    def branch(a: Point, angle: float, length: float, width: float, depth: int) -> None:
        b = (a[0] + length * math.sin(angle), a[1] - length * math.cos(angle))
        mid = ((a[0] + b[0]) / 2 + s.rng.uniform(-0.01, 0.01), (a[1] + b[1]) / 2)
        s.line([a, mid, b], width, width * 0.62, trunk)
        if depth:
            for _ in range(2 if depth > 2 else 3):
                branch(b, angle + s.rng.uniform(-0.75, 0.75), length * s.rng.uniform(0.58, 0.8), width * 0.6, depth - 1)
        elif not bare:
            s.dot(
                b[0],
                b[1],
                s.rng.uniform(0.012, 0.026) * h * 3,
                s.rng.choice([p.half((110, 130, 80)), p.lit((140, 156, 92)), p.shade((90, 112, 70))]),
            )

    branch((x, y), s.rng.uniform(-0.08, 0.08), h * 0.36, 26 * h, 4)


def _house(s: Stage, x: float, y: float, k: float, *, lit: str) -> None:
    """Draw the manor: a high central block and two wings like the claws of a crab."""
    p = s.p
    stone = p.shade((132, 130, 124)) if s.night else p.half((150, 146, 136))
    dark = p.ink if s.night else p.shade((120, 112, 104))
    roof = p.deep if s.night else p.shade((96, 84, 84))

    def r(x0: float, y0: float, x1: float, y1: float, color: tuple[int, int, int]) -> None:
        s.box(x + x0 * k, y + y0 * k, x + x1 * k, y + y1 * k, color)

    def poly(points: list[Point], color: tuple[int, int, int]) -> None:
        s.fill([(x + a * k, y + b * k) for a, b in points], color)

    for a in (-0.75, -0.3, 0.22, 0.72):
        r(a, -0.62 if abs(a) < 0.5 else -0.4, a + 0.07, -0.3 if abs(a) < 0.5 else -0.2, dark)
    poly([(-1.0, -0.22), (-0.92, -0.33), (-0.4, -0.33), (-0.36, -0.22)], roof)
    poly([(0.36, -0.22), (0.4, -0.33), (0.92, -0.33), (1.0, -0.22)], roof)
    r(-0.98, -0.22, -0.36, 0.0, stone)
    r(0.36, -0.22, 0.98, 0.0, stone)
    r(-0.36, -0.42, 0.36, 0.0, stone)
    poly([(-0.4, -0.42), (-0.2, -0.60), (0.0, -0.42)], roof)
    poly([(0.0, -0.42), (0.2, -0.60), (0.4, -0.42)], roof)
    poly([(-0.9, -0.33), (-0.78, -0.26), (-0.7, -0.33)], p.ink)
    s.hatch(
        [(x + a * k, y + b * k) for a, b in ((-0.98, -0.22), (-0.36, -0.42), (-0.1, -0.42), (-0.2, 0.0), (-0.98, 0.0))],
        7,
        75,
    )
    glass = p.ink if s.night else p.shade((70, 84, 96))
    windows = [
        (-0.86, -0.15), (-0.68, -0.15), (-0.5, -0.15), (0.46, -0.15), (0.64, -0.15), (0.82, -0.15), (-0.26, -0.34),
        (-0.06, -0.34), (0.16, -0.34), (-0.26, -0.16), (0.16, -0.16),
    ]
    for i, (wx, wy) in enumerate(windows):
        on = lit == "window" and i == 4
        r(wx, wy, wx + 0.08, wy + 0.11, (255, 232, 140) if on else glass)
        s.line([(x + (wx + 0.04) * k, y + wy * k), (x + (wx + 0.04) * k, y + (wy + 0.11) * k)], 3 * k, curved=False)
        if on:
            s.glow(x + (wx + 0.04) * k, y + (wy + 0.05) * k, 0.5 * k, p.key, 0.9)
            s.later_glow(x + (wx + 0.04) * k, y + (wy + 0.05) * k, 0.25 * k, p.key, 0.6)
    poly([(-0.05, 0.0), (-0.05, -0.13), (0.0, -0.17), (0.05, -0.13), (0.05, 0.0)], p.ink)


def manor(s: Stage) -> None:
    """Draw Stoke Moran across the lawn."""
    p = s.p
    _sky(s)
    if s.night and s.prop != "cover":
        s.dot(-0.62, 0.2, 0.1, p.light)
        s.dot(-0.62, 0.2, 0.085, p.lit((255, 250, 226)))
        s.glow(-0.62, 0.2, 0.5, p.light, 0.55)
        for i in range(4):
            y = 0.14 + 0.05 * i
            for k in range(4):
                s.dot(-1.0 + 0.22 * i + 0.17 * k, y + 0.012 * (k % 2), 0.16 - 0.02 * i, p.deep, 0.017)
    for x, h in ((-1.05, 0.7), (-0.8, 0.5), (0.95, 0.7), (1.2, 0.6)):
        _tree(s, x, 0.7, h)
    _house(s, 0.18, 0.68, 0.62, lit="window" if s.prop in {"signal", "cover"} else "")
    grass = (86, 104, 66)
    e = s.edge
    s.fill(
        [(-e, 0.66), (-0.5, 0.675), (0.4, 0.68), (e, 0.66), (e, 1.4), (-e, 1.4)],
        p.shade(grass) if s.night else p.half(grass),
    )
    s.fill(
        [(0.12, 0.68), (0.24, 0.68), (0.62, 1.1), (-0.1, 1.1)],
        p.half((150, 132, 100)) if not s.night else p.mid,
        ink=False,
    )
    for _ in range(70):
        x, y = s.rng.uniform(-e, e), s.rng.uniform(0.72, 1.0)
        s.line([(x, y), (x + 0.008, y - 0.02 - 0.03 * (y - 0.7))], 2.5, 0.5, p.ink if s.night else p.shade(grass))
    for x in (-1.2, -1.05, 1.02, 1.2):
        for _ in range(9):
            s.dot(
                x + s.rng.uniform(-0.12, 0.12),
                0.78 + s.rng.uniform(-0.08, 0.05),
                s.rng.uniform(0.03, 0.06),
                p.ink if s.night else p.shade((70, 92, 58)),
            )


def lane(s: Stage) -> None:
    """Draw the Surrey lane in April: hedges, young leaves, gables beyond the park."""
    p = s.p
    _sky(s)
    e = s.edge
    for x, y, w in ((-0.7, 0.16, 0.3), (0.1, 0.1, 0.22), (0.8, 0.2, 0.34)):
        for k in range(5):
            s.dot(x + (k - 2) * w * 0.26, y + 0.012 * abs(k - 2), w * 0.2, p.lit((255, 252, 240)), w * 0.085)
    s.fill(
        [(-e, 0.6), (-0.7, 0.46), (-0.1, 0.52), (0.45, 0.42), (e, 0.52), (e, 0.8), (-e, 0.8)],
        p.light,
        ink=False,
        curved=False,
    )
    _house(s, 0.55, 0.475, 0.17, lit="")
    for i in range(20):
        s.dot(
            0.3 + 0.035 * i + s.rng.uniform(-0.02, 0.02),
            0.49 + s.rng.uniform(-0.015, 0.02),
            s.rng.uniform(0.016, 0.032),
            p.half((110, 126, 78)),
        )
    s.fill([(-e, 0.68), (-0.4, 0.58), (0.3, 0.56), (e, 0.66), (e, 1.4), (-e, 1.4)], p.half((128, 140, 82)), ink=False)
    s.fill([(0.05, 0.575), (0.14, 0.575), (0.85, 1.2), (-0.75, 1.2)], p.lit((196, 172, 130)))
    for d in (-1, 1):
        s.line([(0.095 + d * 0.02, 0.58), (d * 0.32 + 0.08, 1.15)], 2, 14, p.half((160, 136, 100)), curved=False)
        for i in range(34):
            t = i / 33
            x = 0.1 + d * (0.05 + t * 1.05) + s.rng.uniform(-0.03, 0.03)
            y = 0.57 + t * 0.27 + s.rng.uniform(-0.02, 0.02)
            s.dot(
                x,
                y,
                0.02 + 0.07 * t,
                s.rng.choice([p.shade((84, 106, 62)), p.half((100, 124, 70)), p.half((120, 140, 80))]),
                0.016 + 0.06 * t,
            )
    _tree(s, -0.95, 0.76, 0.85, bare=False)
    _tree(s, 1.08, 0.8, 0.9, bare=False)


def trap(s: Stage) -> None:
    """Draw the side of the hired trap in front of the people who ride in it."""
    p = s.p
    body = (128, 62, 46)
    s.fill(
        [
            (-0.52, 0.76), (0.5, 0.76), (0.56, 0.70), (0.60, 0.74), (0.50, 0.98), (-0.46, 0.98), (-0.60, 0.84),
            (-0.60, 0.74),
        ],
        p.half(body),
    )
    s.fill([(-0.50, 0.80), (0.5, 0.80), (0.46, 0.94), (-0.44, 0.94)], p.shade(body), ink=False)
    s.line([(-0.58, 0.755), (0.55, 0.755)], 8, color=p.lit((206, 170, 90)))
    s.line([(0.5, 0.92), (0.9, 0.90), (1.3, 0.86)], 16, 12, p.shade((110, 78, 50)))
    x, y, r = -0.05, 1.02, 0.2
    s.dot(x, y, r + 0.012, p.ink)
    s.dot(x, y, r - 0.012, p.half((150, 90, 60)))
    s.dot(x, y, r - 0.03, p.shade(body))
    for i in range(12):
        a = math.radians(30 * i + 8)
        s.line(
            [(x, y), (x + (r - 0.02) * math.cos(a), y + (r - 0.02) * math.sin(a))],
            8,
            6,
            p.lit((206, 170, 90)),
            curved=False,
        )
    s.dot(x, y, 0.035, p.ink)
