"""Things that matter: the clues seen close, and the snake."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

import math

from .canvas import SCALE, Canvas
from .geometry import Frame, Point, arc, box, brush, smooth
from .hands import Hand
from .palette import RGB, Palette
from .stage import Stage

YELLOW: RGB = (226, 176, 60)
SPECKLE: RGB = (104, 60, 24)


def detail(s: Stage, name: str) -> list[tuple[float, float, float, float]]:
    """Draw a clue over the stage; return the boxes (panel pixels) that lettering should rather leave free."""
    {"ticket": _ticket, "wrist": _wrist, "bell_rope": _bell_rope, "milk": _milk, "ventilator": _ventilator}[name](s)
    x, y = s.f.at((0.0, 0.6 if name != "bell_rope" else 0.45))
    r = 0.24 * s.unit
    return [(x - r, y - r, x + r, y + r)]


def _backdrop(s: Stage, color: RGB) -> None:
    e = 3.0
    s.box(-e, -1, e, 2, s.p.half(color), ink=False)
    s.glow(0.1, 0.55, 0.85, s.p.key, 0.5)
    s.hatch(box(-e, -0.2, e, 0.22), 10, 62, s.p.deep, 2.0)
    s.hatch([(-e, 0.0), (-0.55, 0.0), (-0.3, 1.1), (-e, 1.1)], 10, 30, s.p.deep, 2.0)


def _sleeve(s: Stage, color: RGB, y: float) -> None:
    s.fill([(-3.0, y - 0.06), (-0.30, y - 0.13), (-0.26, y + 0.16), (-3.0, y + 0.40)], s.p.lit(color))
    s.fill([(-3.0, y + 0.18), (-0.28, y + 0.05), (-0.26, y + 0.16), (-3.0, y + 0.40)], s.p.shade(color), ink=False)
    for i in range(4):
        x = -0.5 - 0.16 * i
        s.line([(x, y - 0.08 - 0.01 * i), (x + 0.06, y + 0.06), (x + 0.02, y + 0.14)], 3, 8)


def _hand(s: Stage, y: float, color: RGB, *, glove: bool) -> None:
    """Draw an open hand, palm up, fingers to the right."""
    lit, low = s.p.lit(color), s.p.shade(color)
    s.fill(
        [
            (-0.32, y - 0.10), (-0.1, y - 0.135), (0.02, y - 0.14), (0.1, y - 0.12), (0.1, y + 0.16), (-0.05, y + 0.2),
            (-0.2, y + 0.16), (-0.32, y + 0.12),
        ],
        lit,
        curved=True,
    )
    for i, (fy, length, width) in enumerate(
        ((-0.105, 0.34, 0.062), (-0.035, 0.40, 0.066), (0.04, 0.38, 0.064), (0.112, 0.30, 0.056))
    ):
        bend = 0.02 * (i - 1.2)
        path: list[Point] = [
            (0.04, y + fy), (0.04 + length * 0.55, y + fy + bend), (0.04 + length, y + fy + bend * 2.2 - 0.015),
        ]
        s.c.stroke(s.f.all(path), s.p.ink, (width + 0.012) * s.unit, (width * 0.72 + 0.012) * s.unit)
        x, yy = s.f.at(path[-1])
        s.c.dot(x, yy, (width * 0.36 + 0.006) * s.unit, s.p.ink)
        s.c.stroke(s.f.all(path), lit, width * s.unit, width * 0.72 * s.unit)
        s.c.dot(x, yy, width * 0.36 * s.unit, lit)
        s.line([(path[1][0] - 0.01, path[1][1] - 0.018), (path[1][0] - 0.004, path[1][1] + 0.02)], 4, 1, low)
    thumb: list[Point] = [(-0.12, y - 0.10), (0.02, y - 0.22), (0.16, y - 0.27)]
    s.c.stroke(s.f.all(thumb), s.p.ink, 0.115 * s.unit, 0.068 * s.unit)
    s.c.stroke(s.f.all(thumb), lit, 0.10 * s.unit, 0.055 * s.unit)
    x, yy = s.f.at(thumb[-1])
    s.c.dot(x, yy, 0.03 * s.unit, lit)
    s.fill([(-0.2, y - 0.08), (-0.08, y - 0.105), (-0.02, y - 0.06), (-0.12, y + 0.0)], lit, ink=False, curved=True)
    s.line([(-0.06, y - 0.08), (-0.03, y + 0.0), (-0.08, y + 0.1)], 4, 2, low)
    s.line([(0.05, y - 0.07), (0.0, y + 0.02), (-0.02, y + 0.14)], 4, 2, low)
    if glove:
        for i in range(3):
            s.line([(-0.22, y - 0.02 + 0.04 * i), (-0.12, y - 0.01 + 0.035 * i)], 4, 2, low)


def _ticket(s: Stage) -> None:
    _backdrop(s, (90, 96, 92))
    _sleeve(s, (40, 40, 48), 0.64)
    _hand(s, 0.66, (70, 64, 72), glove=True)
    f = s.f.inner((0.02, 0.645), angle=-12)
    corners = [
        (-0.13, -0.075), (0.10, -0.075), (0.085, -0.045), (0.105, -0.02), (0.085, 0.01), (0.105, 0.04), (0.09, 0.075),
        (-0.13, 0.075),
    ]
    s.c.shape(f.all([(x + 0.008, y + 0.012) for x, y in corners]), s.p.ink, curved=False)
    s.c.shape(f.all(corners), s.p.lit((240, 214, 150)), ink=s.p.ink, width=s.pen, curved=False)
    for i in range(4):
        s.c.stroke(
            f.all([(-0.1, -0.045 + 0.03 * i), (0.05 - 0.03 * (i % 2), -0.045 + 0.03 * i)]),
            s.p.shade((120, 70, 40)),
            0.008 * s.unit,
            curved=False,
        )
    s.c.dot(*f.at((0.03, 0.03)), 0.022 * s.unit, s.p.accent)


def _wrist(s: Stage) -> None:
    _backdrop(s, (110, 90, 110))
    s.f = s.f.inner((0.17, 0.13), scale=0.82)
    y = 0.68
    s.fill(
        [
            (-3.0, y - 0.02), (-0.55, y - 0.13), (-0.3, y - 0.105), (-0.25, y - 0.10), (-0.25, y + 0.13),
            (-0.5, y + 0.16), (-3.0, y + 0.34),
        ],
        s.p.lit((240, 212, 188)),
    )
    s.fill(
        [(-3.0, y + 0.2), (-0.5, y + 0.08), (-0.25, y + 0.06), (-0.25, y + 0.13), (-0.5, y + 0.16), (-3.0, y + 0.34)],
        s.p.shade((240, 212, 188)),
        ink=False,
    )
    _hand(s, y, (240, 212, 188), glove=False)
    bruise = s.p.half((120, 46, 92))
    for bx, by, r in (
        (-0.62, -0.07, 0.034), (-0.53, -0.085, 0.032), (-0.44, -0.085, 0.031), (-0.36, -0.075, 0.028),
        (-0.5, 0.075, 0.042),
    ):
        s.dot(bx, y + by + 0.025, r, bruise, r * 0.78)
        s.dot(bx + 0.004, y + by + 0.027, r * 0.55, s.p.half((88, 30, 76)), r * 0.4)
    lace = s.p.shade((46, 40, 52))
    s.fill([(-3.0, y - 0.2), (-0.86, y - 0.20), (-0.80, y + 0.0), (-0.86, y + 0.24), (-3.0, y + 0.40)], lace)
    for i in range(8):
        s.dot(-0.81 + 0.012 * math.sin(i * 2.1), y - 0.19 + 0.058 * i, 0.034, lace)
        s.dot(-0.80 + 0.012 * math.sin(i * 2.1), y - 0.19 + 0.058 * i, 0.013, s.p.half((200, 190, 210)))
    f = s.f.inner((-0.66, y - 0.36), scale=0.62, angle=-22)
    hand = Hand(s.c, Frame(f.x, f.y, f.unit, 1, -22), (240, 212, 188), s.p)
    s.c.stroke([f.at((-0.5, -1.6)), f.at((0.0, 0.0))], s.p.ink, 0.36 * f.unit, 0.30 * f.unit, curved=False)
    s.c.stroke(
        [f.at((-0.5, -1.6)), f.at((0.0, 0.0))], s.p.half((66, 68, 78)), 0.33 * f.unit, 0.27 * f.unit, curved=False
    )
    hand.draw("relaxed")


def _bell_rope(s: Stage) -> None:
    p = s.p
    oak = (118, 86, 58)
    s.box(-3, -1, 3, 2, p.half(oak), ink=False)
    for i in range(-6, 7):
        s.line([(0.2 * i, -0.2), (0.2 * i, 1.2)], 5, color=p.shade(oak), curved=False)
        for k in range(3):
            s.line(
                [
                    (0.2 * i + 0.06 + 0.04 * k, 0.1 + 0.2 * k), (0.2 * i + 0.07 + 0.04 * k, 0.5),
                    (0.2 * i + 0.05 + 0.04 * k, 0.9),
                ],
                1,
                3,
                p.shade(oak),
            )
    s.shaft([(-0.9, -0.2), (-0.2, -0.2), (0.9, 1.2), (0.0, 1.2)], p.key, 0.4, 0.02)
    _vent(s, -0.02, 0.27, 0.34)
    s.line(arc(0.16, 0.43, 0.03, 0.03, 180, 400, 10), 12, 10, p.lit((190, 190, 196)))
    _rope(s, 0.16, 0.46, 0.80)
    for points in ([(0.4, -0.2), (3.0, -0.2), (3.0, 1.2), (0.62, 1.2)],):
        s.hatch(points, 10, 60)


def _vent(s: Stage, x: float, y: float, w: float) -> None:
    p = s.p
    h = w * 0.42
    s.box(x - w / 2 - 0.025, y - h / 2 - 0.025, x + w / 2 + 0.025, y + h / 2 + 0.025, p.lit((150, 118, 76)))
    s.box(x - w / 2, y - h / 2, x + w / 2, y + h / 2, p.ink)
    for i in range(5):
        xx = x - w / 2 + w * (i + 0.5) / 5
        s.box(xx - 0.009, y - h / 2, xx + 0.009, y + h / 2, p.half((150, 120, 80)))


def _rope(s: Stage, x: float, y0: float, y1: float) -> None:
    p = s.p
    red = (172, 58, 50)
    path: list[Point] = [(x, y0), (x - 0.006, (y0 + y1) / 2), (x + 0.004, y1)]
    s.line(path, 40, color=p.ink)
    s.line(path, 31, color=p.half(red))
    n = int((y1 - y0) / 0.026)
    for i in range(n):
        y = y0 + (y1 - y0) * i / n
        s.line([(x - 0.015, y + 0.012), (x + 0.014, y - 0.006)], 6, 4, p.shade(red))
    s.fill(
        [
            (x - 0.03, y1), (x + 0.034, y1), (x + 0.06, y1 + 0.17), (x + 0.03, y1 + 0.155), (x + 0.004, y1 + 0.18),
            (x - 0.03, y1 + 0.155), (x - 0.055, y1 + 0.17),
        ],
        p.lit(red),
    )
    for k in range(5):
        s.line([(x - 0.02 + 0.011 * k, y1 + 0.04), (x - 0.04 + 0.021 * k, y1 + 0.16)], 4, 3, p.shade(red))
    s.box(x - 0.035, y1 - 0.01, x + 0.04, y1 + 0.028, p.lit((210, 170, 80)))


def _milk(s: Stage) -> None:
    p = s.p
    _backdrop(s, (110, 104, 84))
    s.fill([(-3, 0.70), (3, 0.70), (3, 0.84), (-3, 0.84)], p.lit((104, 112, 118)))
    s.fill([(-3, 0.84), (3, 0.84), (3, 2), (-3, 2)], p.shade((84, 92, 98)))
    for i in range(-6, 7):
        s.dot(0.24 * i, 0.90, 0.018, p.half((140, 146, 150)))
    s.c.shape(s.f.all(arc(0.03, 0.775, 0.33, 0.05, 0, 360, 40)), p.ink)
    s.fill(
        [(-0.30, 0.64), (0.30, 0.64), (0.24, 0.72), (0.12, 0.765), (-0.12, 0.765), (-0.24, 0.72)],
        p.half((236, 236, 240)),
        curved=True,
    )
    s.fill(
        [(0.0, 0.66), (0.29, 0.65), (0.24, 0.72), (0.12, 0.765), (0.02, 0.765)],
        p.lit((244, 244, 246)),
        ink=False,
        curved=True,
    )
    s.c.shape(s.f.all(arc(0.0, 0.64, 0.31, 0.062, 0, 360, 40)), p.lit((240, 240, 244)), ink=p.ink, width=s.pen)
    s.c.shape(
        s.f.all(arc(0.0, 0.647, 0.262, 0.046, 0, 360, 40)),
        (255, 253, 244),
        ink=p.shade((200, 200, 210)),
        width=s.pen * 0.7,
    )
    s.c.stroke(s.f.all(arc(0.0, 0.645, 0.2, 0.03, 200, 320, 16)), p.half((214, 214, 222)), 0.006 * s.unit)
    s.line([(-0.26, 0.69), (-0.1, 0.725), (0.1, 0.73), (0.26, 0.69)], 6, 6, (72, 96, 150))


def _ventilator(s: Stage) -> None:
    p = s.p
    oak = (104, 80, 60)
    s.box(-3, -1, 3, 2, p.shade(oak), ink=False)
    for i in range(-6, 7):
        s.line([(0.22 * i, -0.2), (0.22 * i, 1.2)], 5, color=p.ink, curved=False)
    x, y, w = 0.0, 0.42, 0.36
    s.glow(x, y, 0.6, p.key, 0.95)
    _vent(s, x, y, w)
    h = w * 0.42
    for i in range(6):
        x0 = x - w / 2 + w * (i + (0.0 if i == 0 else 0.03)) / 5 - 0.02
        if i < 5:
            s.box(x0 + 0.033, y - h / 2, x0 + 0.075, y + h / 2, (255, 226, 130), ink=False)
    s.later_shaft(
        [(x - w / 2, y - h / 2), (x + w / 2, y - h / 2), (x + 0.75, 1.3), (x - 0.55, 1.3)], p.key, 0.28, 0.012
    )
    _rope(s, 0.1, 0.60, 1.3)
    snake(
        s.c,
        p,
        s.f.all([(-0.04, 0.41), (0.06, 0.47), (0.15, 0.54), (0.05, 0.60), (0.13, 0.67), (0.03, 0.72), (-0.07, 0.70)]),
        0.056 * s.unit,
    )


def snake(canvas: Canvas, p: Palette, path: list[Point], thick: float, *, open_: bool = False) -> None:
    """Draw the swamp adder along a path: yellow, with brownish speckles, a squat diamond-shaped head at the end."""
    body = smooth(path, closed=False, steps=12)
    canvas.draw.polygon(_scaled(brush(body, thick * 0.45 + 4, thick + 4, belly=thick * 0.3)), fill=p.ink)
    canvas.draw.polygon(_scaled(brush(body, thick * 0.45, thick, belly=thick * 0.3)), fill=p.lit(YELLOW))
    low = [(x, y + thick * 0.22) for x, y in body]
    canvas.draw.polygon(_scaled(brush(low, thick * 0.1, thick * 0.4, belly=thick * 0.1)), fill=p.half((176, 120, 40)))
    step = max(1, round(1.1 * thick / (math.dist(body[0], body[1]) or 1.0)))
    for i in range(2, len(body) - 2, min(step, 2)):
        x, y = body[i]
        canvas.dot(
            x + (thick * 0.13 if i % 4 else -thick * 0.13), y - thick * 0.1, thick * 0.15, p.half(SPECKLE), thick * 0.11
        )
    x, y = body[-1]
    px, py = body[-5]
    angle = math.degrees(math.atan2(y - py, x - px))
    f = Frame(x, y, thick, 1, angle)
    jaw = 0.35 if open_ else 0.0
    canvas.shape(
        f.all(
            [
                (-0.3, -0.5), (0.4, -0.85), (1.1, -0.55 - jaw), (1.75, -0.12 - jaw * 1.8), (1.75, 0.12 + jaw * 1.8),
                (1.1, 0.55 + jaw), (0.4, 0.85), (-0.3, 0.5),
            ]
        ),
        p.lit(YELLOW),
        ink=p.ink,
        width=2.4,
    )
    if open_:
        canvas.shape(f.all([(0.8, 0.0), (1.75, -0.5), (1.6, 0.0), (1.75, 0.5)]), p.accent, curved=False)
        for t in (-0.3, 0.3):
            canvas.shape(f.all([(1.5, t), (1.85, t * 0.4), (1.5, t * 0.55)]), (255, 255, 250), curved=False)
    for t in (-0.36, 0.36):
        canvas.dot(*f.at((0.85, t)), 0.2 * thick, p.ink)
        canvas.dot(*f.at((0.88, t)), 0.09 * thick, (255, 90, 50))
    for a, b in ((0.3, 0.0), (0.35, -0.35), (0.35, 0.35)):
        canvas.dot(*f.at((a, b)), 0.13 * thick, p.half(SPECKLE))
    canvas.stroke(f.all([(1.7, 0.0), (2.3, 0.05)]), p.accent, 0.12 * thick, 0.1 * thick)
    canvas.stroke(f.all([(2.3, 0.05), (2.7, 0.3)]), p.accent, 0.09 * thick, 0.02 * thick)
    canvas.stroke(f.all([(2.3, 0.05), (2.7, -0.2)]), p.accent, 0.09 * thick, 0.02 * thick)


def _scaled(points: list[Point]) -> list[Point]:
    return [(x * SCALE, y * SCALE) for x, y in points]


def crown(canvas: Canvas, p: Palette, head: Frame) -> None:
    """Lay the speckled band round somebody's brow, its head rearing up."""
    u = head.unit
    snake(
        canvas,
        p,
        head.all(
            [
                (-0.43, -0.02), (-0.44, -0.18), (-0.2, -0.18), (0.1, -0.2), (0.32, -0.24), (0.36, -0.36), (0.1, -0.42),
                (-0.2, -0.38), (-0.36, -0.44), (-0.24, -0.62), (0.0, -0.60), (0.14, -0.72), (0.26, -0.76),
            ]
        ),
        0.105 * u,
        open_=True,
    )


def on_rope(s: Stage) -> None:
    """Wind the snake down the bell-rope of the bedroom."""
    x = 0.62
    path = [
        (x, 0.15), (x + 0.012, 0.22), (x - 0.025, 0.27), (x + 0.03, 0.32), (x - 0.025, 0.37), (x + 0.01, 0.41),
        (x - 0.06, 0.43),
    ]
    snake(s.c, s.p, s.f.all(path), 0.026 * s.unit, open_=True)
