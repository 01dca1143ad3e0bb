"""Rooms: the sitting-room in Baker Street, the inn, the railway carriage; and what all rooms have."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

from .stage import Stage

FLOOR = 0.74


def room(s: Stage, wall: tuple[int, int, int], boards: tuple[int, int, int]) -> None:
    """Draw wall, skirting-board and floor."""
    e = s.edge
    s.box(-e, -0.3, e, FLOOR, s.p.half(wall), ink=False)
    s.box(-e, FLOOR, e, 1.4, s.p.half(boards), ink=False)
    for i in range(-9, 10):
        s.line([(i * 0.16, FLOOR), (i * 0.34, 1.2)], 1.2, 3.0, s.p.shade(boards), curved=False)
    for y in (0.80, 0.89):
        s.line([(-e, y), (e, y)], 1.6, color=s.p.shade(boards), curved=False)
    s.box(-e, FLOOR - 0.035, e, FLOOR, s.p.shade(boards))


def _window(s: Stage, x: float, y: float, w: float, h: float, *, bright: bool) -> None:
    sky = s.p.key if bright else s.p.mid
    s.box(x - 0.025, y - 0.025, x + w + 0.025, y + h + 0.03, s.p.shade((120, 90, 60)))
    s.box(x, y, x + w, y + h, sky, ink=False)
    if bright:
        roofs = [
            (x, y + h), (x, y + h * 0.62), (x + w * 0.2, y + h * 0.5), (x + w * 0.38, y + h * 0.66),
            (x + w * 0.5, y + h * 0.66), (x + w * 0.5, y + h * 0.45), (x + w * 0.58, y + h * 0.45),
            (x + w * 0.58, y + h * 0.66), (x + w * 0.8, y + h * 0.54), (x + w, y + h * 0.68), (x + w, y + h),
        ]
        s.fill(roofs, s.p.light, ink=False)
    else:
        s.dot(x + w * 0.66, y + h * 0.3, h * 0.1, s.p.key)
    for i in (1, 2):
        s.line([(x + w * i / 3, y), (x + w * i / 3, y + h)], 5, curved=False)
    s.line([(x, y + h * 0.5), (x + w, y + h * 0.5)], 7, curved=False)


def sitting_room(s: Stage) -> None:
    """Draw 221B Baker Street: fire, mantelpiece, window on the street, books, the chemical corner."""
    p = s.p
    wall, boards = (126, 84, 70), (120, 84, 56)
    room(s, wall, boards)
    for i in range(-11, 12):
        x = i * 0.12
        s.line([(x, -0.3), (x, FLOOR - 0.04)], 1.2, color=p.shade(wall), curved=False)
        for j in range(6):
            s.dot(x + 0.06, 0.03 + 0.12 * j + 0.06 * (i % 2), 0.008, p.shade(wall), 0.014)
    s.box(-s.edge, 0.0, s.edge, 0.018, p.shade((180, 150, 110)))
    # window and curtains on the left
    _window(s, -1.06, 0.14, 0.34, 0.44, bright=not s.night)
    for x0, d in ((-1.12, 1), (-0.66, -1)):
        s.fill(
            [
                (x0 - 0.05 * d, 0.08), (x0 + 0.11 * d, 0.08), (x0 + 0.085 * d, 0.35), (x0 + 0.03 * d, 0.52),
                (x0 + 0.05 * d, 0.70), (x0 - 0.07 * d, 0.70),
            ],
            p.half((110, 34, 40)),
            curved=True,
        )
        for k in range(3):
            s.line(
                [
                    (x0 + (0.01 + 0.03 * k) * d, 0.1), (x0 + (0.0 + 0.02 * k) * d, 0.45),
                    (x0 + (-0.03 + 0.02 * k) * d, 0.69),
                ],
                2,
                4,
                p.shade((110, 34, 40)),
            )
    # fireplace in the middle
    s.box(-0.34, 0.36, 0.34, FLOOR, p.half((96, 62, 44)))
    s.box(-0.40, 0.335, 0.40, 0.37, p.half((136, 92, 62)))
    s.fill([(-0.2, FLOOR), (-0.2, 0.47), (-0.1, 0.43), (0.1, 0.43), (0.2, 0.47), (0.2, FLOOR)], p.ink)
    for k, flame in ((1.0, p.accent), (0.68, (240, 150, 60)), (0.38, (255, 228, 150))):
        tongues: list[tuple[float, float]] = [(-0.15 * k, FLOOR - 0.01)]
        for dx, hgt in (
            (-0.12, 0.09), (-0.085, 0.05), (-0.05, 0.16), (-0.02, 0.08), (0.015, 0.21), (0.045, 0.09), (0.08, 0.15),
            (0.1, 0.05), (0.13, 0.08),
        ):
            tip = (dx * k, FLOOR - 0.02 - hgt * k)
            tongues += [tip, tip] if hgt > 0.07 else [tip]
        s.fill([*tongues, (0.15 * k, FLOOR - 0.01)], flame, ink=False, curved=True)
    for x0, x1 in ((-0.15, 0.06), (-0.05, 0.16)):
        s.line([(x0, FLOOR - 0.012), (x1, FLOOR - 0.035)], 22, 18, p.shade((80, 50, 34)), curved=False)
    for i in range(7):
        s.line([(-0.17 + 0.057 * i, FLOOR - 0.08), (-0.17 + 0.057 * i, FLOOR)], 4, curved=False)
    s.later_glow(0.0, FLOOR - 0.1, 0.5, p.accent, 0.35)
    # mantel: clock, jars, picture above
    s.fill([(-0.07, 0.335), (-0.07, 0.26), (0.0, 0.215), (0.07, 0.26), (0.07, 0.335)], p.shade((150, 110, 60)))
    s.dot(0.0, 0.285, 0.034, p.lit((236, 226, 200)))
    s.line([(0.0, 0.285), (0.0, 0.262)], 3)
    s.line([(0.0, 0.285), (-0.016, 0.295)], 3)
    for x, hgt in ((-0.3, 0.07), (-0.24, 0.05), (0.22, 0.06), (0.3, 0.08)):
        s.box(x - 0.02, 0.335 - hgt, x + 0.02, 0.335, p.half((90, 110, 100)))
    s.box(-0.2, 0.03, 0.2, 0.19, p.half((150, 112, 60)))
    s.box(-0.175, 0.05, 0.175, 0.17, p.half((90, 104, 92)))
    s.fill(
        [(-0.175, 0.17), (-0.06, 0.09), (0.02, 0.14), (0.09, 0.08), (0.175, 0.15), (0.175, 0.17)],
        p.shade((70, 80, 70)),
        ink=False,
    )
    # bookshelf on the right
    s.box(0.52, 0.12, 1.0, FLOOR, p.shade((104, 70, 44)))
    for row in range(4):
        y = 0.155 + row * 0.145
        s.box(0.54, y, 0.98, y + 0.115, p.ink, ink=False)
        x = 0.545
        while x < 0.95:
            w = s.rng.uniform(0.016, 0.034)
            tall = s.rng.uniform(0.07, 0.11)
            paint = s.rng.choice([(124, 44, 40), (60, 80, 66), (140, 104, 56), (62, 70, 104), (96, 66, 48)])
            s.box(x, y + 0.115 - tall, x + w, y + 0.115, p.half(paint))
            x += w + 0.002
    # door further right, carpet
    s.box(1.1, 0.16, 1.42, FLOOR, p.half((110, 76, 48)))
    for y0, y1 in ((0.21, 0.42), (0.47, 0.69)):
        s.box(1.14, y0, 1.25, y1, p.shade((110, 76, 48)))
        s.box(1.28, y0, 1.39, y1, p.shade((110, 76, 48)))
    s.fill([(-0.75, 0.79), (0.75, 0.79), (1.05, 1.1), (-1.05, 1.1)], p.half((128, 44, 44)))
    s.fill([(-0.66, 0.81), (0.66, 0.81), (0.92, 1.08), (-0.92, 1.08)], p.half((150, 92, 60)), ink=False)
    s.fill([(-0.62, 0.82), (0.62, 0.82), (0.88, 1.08), (-0.88, 1.08)], p.half((116, 40, 44)), ink=False)
    if not s.night:
        s.later_shaft([(-1.04, 0.16), (-0.74, 0.14), (0.55, 1.05), (-0.35, 1.1)], p.key, 0.15, 0.02)
    s.hatch([(0.55, 0.0), (s.edge, 0.0), (s.edge, 1.0), (1.0, 1.0)], 11, 70)


def inn(s: Stage) -> None:
    """Draw the upper room of the Crown Inn by night; far off, the manor and its one light."""
    p = s.p
    e = s.edge
    s.box(-e, -0.3, e, 1.4, p.shade((84, 70, 60)), ink=False)
    s.box(-0.62, 0.08, 0.62, 0.66, p.ink)
    s.box(-0.58, 0.11, 0.58, 0.63, p.mid, ink=False)
    s.fill(
        [
            (-0.58, 0.63), (-0.58, 0.50), (-0.4, 0.45), (-0.2, 0.50), (0.1, 0.44), (0.34, 0.49), (0.58, 0.43),
            (0.58, 0.63),
        ],
        p.deep,
        ink=False,
        curved=False,
    )
    s.dot(-0.38, 0.2, 0.045, p.light)
    s.dot(-0.365, 0.19, 0.04, p.mid)
    s.fill(
        [
            (0.08, 0.46), (0.08, 0.385), (0.13, 0.345), (0.17, 0.345), (0.17, 0.31), (0.2, 0.31), (0.2, 0.345),
            (0.29, 0.345), (0.29, 0.32), (0.32, 0.32), (0.32, 0.36), (0.36, 0.39), (0.36, 0.47),
        ],
        p.ink,
        ink=False,
    )
    if s.prop != "dark":
        s.dot(0.235, 0.415, 0.011, (255, 236, 150))
        s.glow(0.235, 0.415, 0.2, p.key, 0.95)
        s.later_glow(0.235, 0.415, 0.12, p.key, 0.6)
    for i in range(26):
        x = -0.58 + 1.16 * i / 25
        s.dot(x, 0.50 + s.rng.uniform(-0.02, 0.03), s.rng.uniform(0.018, 0.045), p.deep)
    for x in (-0.29, 0.0, 0.29):
        s.line([(x, 0.11), (x, 0.63)], 9, curved=False)
    s.line([(-0.58, 0.37), (0.58, 0.37)], 9, curved=False)
    s.box(-0.68, 0.65, 0.68, 0.69, p.half((92, 66, 46)))
    for x0, d in ((-0.70, 1), (0.70, -1)):
        s.fill(
            [
                (x0 - 0.14 * d, 0.02), (x0 + 0.15 * d, 0.02), (x0 + 0.10 * d, 0.35), (x0 + 0.03 * d, 0.55),
                (x0 + 0.07 * d, 0.86), (x0 - 0.16 * d, 0.86),
            ],
            p.shade((96, 40, 44)),
            curved=True,
        )
        for k in range(3):
            s.line(
                [
                    (x0 + (-0.04 + 0.05 * k) * d, 0.04), (x0 + (-0.05 + 0.03 * k) * d, 0.5),
                    (x0 + (-0.1 + 0.05 * k) * d, 0.85),
                ],
                3,
                5,
            )
    s.box(-e, 0.86, e, 1.4, p.shade((70, 52, 40)), ink=False)
    s.later_shaft([(-0.56, 0.12), (0.56, 0.12), (0.85, 1.1), (-0.85, 1.1)], p.light, 0.14, 0.03)


def train(s: Stage) -> None:
    """Draw a first-class compartment with the country running past."""
    p = s.p
    e = s.edge
    wood, cloth = (124, 82, 52), (62, 84, 112)
    s.box(-e, -0.3, e, 1.4, p.half(wood), ink=False)
    for i in range(-10, 11):
        s.line([(i * 0.13, -0.3), (i * 0.13, 0.8)], 2, color=p.shade(wood), curved=False)
    s.box(-0.48, 0.10, 0.48, 0.60, p.shade((90, 60, 40)))
    s.box(-0.44, 0.13, 0.44, 0.57, p.key, ink=False)
    s.dot(0.2, 0.26, 0.05, p.lit((255, 246, 214)))
    s.fill(
        [(-0.44, 0.57), (-0.44, 0.40), (-0.2, 0.34), (0.05, 0.40), (0.3, 0.36), (0.44, 0.39), (0.44, 0.57)],
        p.light,
        ink=False,
        curved=False,
    )
    s.fill([(-0.44, 0.57), (-0.44, 0.48), (-0.1, 0.45), (0.2, 0.5), (0.44, 0.46), (0.44, 0.57)], p.mid, ink=False)
    for i in range(6):
        x = -0.40 + 0.16 * i
        s.line([(x, 0.5), (x + 0.01, 0.42)], 3)
        s.dot(x, 0.42, 0.024, p.half((90, 110, 80)), 0.034)
    s.line([(0.0, 0.13), (0.0, 0.57)], 8, curved=False)
    s.fill([(-0.02, 0.13), (0.02, 0.13), (0.03, 0.35), (-0.03, 0.35)], p.half((80, 56, 40)))
    for d in (-1, 1):
        s.line([(d * 0.55, 0.14), (d * e, 0.10)], 7, color=p.lit((190, 160, 90)), curved=False)
        for k in range(9):
            s.line([(d * (0.58 + 0.09 * k), 0.135), (d * (0.6 + 0.09 * k), 0.2)], 1.6, color=p.half((190, 160, 90)))
        s.fill([(d * 0.56, 0.07), (d * 0.80, 0.06), (d * 0.81, 0.13), (d * 0.56, 0.135)], p.half((118, 76, 50)))
        s.fill([(d * 0.60, 0.30), (d * e, 0.26), (d * e, 0.98), (d * 0.62, 0.86)], p.half(cloth))
        for r in range(4):
            for k in range(5):
                s.dot(d * (0.68 + 0.13 * k + 0.06 * (r % 2)), 0.36 + 0.11 * r, 0.007, p.shade(cloth))
        s.fill([(d * 0.50, 0.80), (d * e, 0.83), (d * e, 1.2), (d * 0.46, 1.0)], p.shade(cloth))
    s.box(-e, 1.0, e, 1.4, p.shade((60, 44, 36)), ink=False)
    s.later_shaft([(-0.42, 0.14), (0.42, 0.14), (0.9, 1.1), (-0.1, 1.1)], p.key, 0.1, 0.03)
