"""Inside Stoke Moran: the middle bedroom, the Doctor's chamber, the corridor."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

from .geometry import arc, box
from .interiors import FLOOR, room
from .stage import Stage


def bedroom(s: Stage) -> None:
    """Draw the middle bedroom at Stoke Moran: panelling, shutters, the clamped bed, bell-rope and ventilator."""
    p = s.p
    oak, boards = (118, 86, 58), (96, 70, 50)
    room(s, oak, boards)
    for i in range(-8, 9):
        x = i * 0.19
        s.box(x + 0.02, 0.36, x + 0.17, FLOOR - 0.06, p.half((102, 74, 50)))
        s.line([(x, 0.08), (x, FLOOR)], 2.5, color=p.shade(oak), curved=False)
    s.line([(-s.edge, 0.33), (s.edge, 0.33)], 6, color=p.shade(oak), curved=False)
    s.box(-s.edge, -0.3, s.edge, 0.05, p.shade((80, 58, 42)))
    for x in (-0.9, -0.2, 0.5, 1.2):
        s.fill([(x - 0.04, 0.05), (x + 0.04, 0.05), (x + 0.07, -0.2), (x - 0.07, -0.2)], p.ink)
    # window with shutters, on the left
    moon = s.night
    s.box(-0.98, 0.16, -0.56, 0.58, p.shade((88, 62, 44)))
    s.box(-0.94, 0.19, -0.60, 0.55, p.mid if moon else p.key, ink=False)
    if moon:
        s.dot(-0.70, 0.27, 0.035, p.light)
    for x0, x1 in ((-1.16, -0.97), (-0.57, -0.38)):
        s.box(x0, 0.15, x1, 0.58, p.half((90, 66, 46)))
        for k in range(7):
            s.line(
                [(x0 + 0.02, 0.19 + 0.053 * k), (x1 - 0.02, 0.19 + 0.053 * k)],
                3,
                color=p.shade((80, 60, 44)),
                curved=False,
            )
    s.line([(-0.77, 0.19), (-0.77, 0.55)], 6, curved=False)
    s.line([(-0.94, 0.37), (-0.60, 0.37)], 5, curved=False)
    # ventilator and bell-rope over the bed
    s.box(0.56, 0.12, 0.68, 0.19, p.ink)
    for k in range(4):
        s.line([(0.575 + 0.027 * k, 0.125), (0.575 + 0.027 * k, 0.185)], 3, color=p.half((150, 130, 90)), curved=False)
    s.line([(0.62, 0.2), (0.615, 0.36), (0.625, 0.50), (0.62, 0.6)], 8, 9, p.half((168, 60, 50)))
    for k in range(14):
        y = 0.21 + 0.028 * k
        s.line([(0.614, y), (0.627, y + 0.012)], 2.4, color=p.shade((120, 40, 36)), curved=False)
    s.fill(
        [(0.62, 0.585), (0.64, 0.61), (0.645, 0.665), (0.595, 0.665), (0.60, 0.61)], p.lit((196, 80, 60)), curved=True
    )
    # bed
    s.box(0.98, 0.42, 1.02, 0.88, p.shade((100, 66, 40)))
    s.box(0.24, 0.58, 0.28, 0.90, p.shade((100, 66, 40)))
    s.fill([(0.26, 0.70), (0.62, 0.645), (1.0, 0.64), (1.0, 0.80), (0.26, 0.82)], p.lit((232, 228, 214)), curved=False)
    s.fill(
        [(0.62, 0.63), (0.68, 0.60), (0.92, 0.595), (0.98, 0.63), (0.96, 0.675), (0.66, 0.68)],
        p.lit((244, 240, 228)),
        curved=True,
    )
    s.fill([(0.26, 0.76), (1.0, 0.74), (1.0, 0.83), (0.26, 0.85)], p.shade((232, 228, 214)), ink=False)
    for k in range(4):
        s.line([(0.32 + 0.1 * k, 0.71), (0.36 + 0.1 * k, 0.78)], 2, 4, p.shade((210, 206, 196)))
    for x in (0.25, 0.99):
        s.box(x - 0.035, 0.885, x + 0.035, 0.91, p.half((120, 124, 130)))
    # table with a candle
    s.fill([(-0.22, 0.62), (0.06, 0.62), (0.08, 0.65), (-0.24, 0.65)], p.half((120, 84, 54)))
    for x in (-0.2, 0.04):
        s.line([(x, 0.65), (x, 0.86)], 10, 8, p.shade((110, 76, 50)), curved=False)
    if s.prop != "dark":
        s.box(-0.095, 0.54, -0.065, 0.62, p.lit((240, 230, 200)))
        s.fill(
            [(-0.08, 0.485), (-0.08, 0.485), (-0.066, 0.52), (-0.08, 0.54), (-0.094, 0.52)],
            (255, 238, 170),
            ink=False,
            curved=True,
        )
        s.glow(-0.08, 0.52, 0.62, p.key, 0.55)
        s.later_glow(-0.08, 0.52, 0.3, p.key, 0.45)
    if s.night:
        s.later_shaft([(-0.92, 0.2), (-0.62, 0.2), (0.1, 1.05), (-0.6, 1.05)], p.light, 0.16, 0.02)
    s.hatch([(-s.edge, 0.05), (-1.16, 0.05), (-1.05, 1.0), (-s.edge, 1.0)], 9, 65)
    s.hatch([(1.04, 0.05), (s.edge, 0.05), (s.edge, 1.0), (1.2, 1.0)], 9, 115)


def doctor_room(s: Stage) -> None:
    """Draw the Doctor's chamber: iron safe, camp-bed, shelf, and the beam of a dark-lantern."""
    p = s.p
    wall, boards = (120, 108, 84), (92, 70, 50)
    room(s, wall, boards)
    s.box(-s.edge, -0.3, s.edge, 0.04, p.shade((80, 58, 42)))
    s.hatch(box(-s.edge, 0.04, s.edge, 0.3), 12, 80, p.shade(wall), 1.4)
    # ventilator high on the left
    s.box(-0.72, 0.12, -0.56, 0.2, p.ink)
    for k in range(5):
        s.line([(-0.70 + 0.03 * k, 0.125), (-0.70 + 0.03 * k, 0.195)], 3, color=p.half((150, 130, 90)), curved=False)
    # shelf with books and jars
    s.box(-0.40, 0.30, 0.1, 0.325, p.shade((110, 78, 50)))
    x = -0.38
    while x < 0.05:
        w, tall = s.rng.uniform(0.018, 0.036), s.rng.uniform(0.08, 0.13)
        s.box(
            x,
            0.30 - tall,
            x + w,
            0.30,
            p.half(s.rng.choice([(110, 50, 44), (70, 84, 70), (130, 100, 60), (70, 66, 96)])),
        )
        x += w + 0.002
    # camp-bed left
    s.fill([(-1.2, 0.66), (-0.5, 0.66), (-0.46, 0.74), (-1.2, 0.76)], p.half((132, 120, 92)))
    for x in (-1.1, -0.85, -0.6):
        s.line([(x, 0.74), (x + 0.09, 0.9)], 8, color=p.shade((90, 66, 44)), curved=False)
        s.line([(x + 0.09, 0.74), (x, 0.9)], 8, color=p.shade((90, 66, 44)), curved=False)
    # safe on the right
    s.box(0.56, 0.40, 1.0, 0.86, p.half((74, 82, 88)))
    s.box(0.60, 0.44, 0.96, 0.82, p.shade((84, 92, 98)))
    s.fill([(0.60, 0.44), (0.50, 0.42), (0.50, 0.86), (0.60, 0.82)], p.lit((92, 102, 108)))
    s.dot(0.78, 0.62, 0.045, p.lit((130, 138, 142)))
    s.dot(0.78, 0.62, 0.024, p.shade((90, 96, 100)))
    for a in range(0, 360, 60):
        q = arc(0.78, 0.62, 0.075, 0.075, a, a, 1)[0]
        s.line([(0.78, 0.62), q], 5, color=p.lit((150, 156, 160)), curved=False)
    for cx, cy in ((0.62, 0.46), (0.94, 0.46), (0.62, 0.80), (0.94, 0.80)):
        s.dot(cx, cy, 0.009, p.ink)
    s.fill([(0.70, 0.385), (0.86, 0.385), (0.84, 0.405), (0.72, 0.405)], p.lit((236, 232, 222)))
    # table and lantern
    s.fill([(0.14, 0.60), (0.42, 0.60), (0.44, 0.63), (0.12, 0.63)], p.half((120, 84, 54)))
    s.line([(0.28, 0.63), (0.28, 0.84)], 18, 12, p.shade((110, 76, 50)), curved=False)
    s.line([(0.28, 0.82), (0.18, 0.88)], 9, 5, p.shade((110, 76, 50)))
    s.line([(0.28, 0.82), (0.38, 0.88)], 9, 5, p.shade((110, 76, 50)))
    s.box(0.24, 0.50, 0.32, 0.60, p.ink)
    s.box(0.285, 0.52, 0.325, 0.575, (255, 234, 160))
    if s.night:
        s.shaft([(0.31, 0.53), (1.05, 0.32), (1.15, 0.9), (0.31, 0.57)], p.key, 0.6, 0.012)
        s.later_shaft([(0.31, 0.535), (1.1, 0.40), (1.15, 0.82), (0.31, 0.565)], p.key, 0.2, 0.02)
        s.later_glow(0.3, 0.55, 0.32, p.key, 0.55)
    else:
        s.later_shaft([(-0.9, -0.1), (-0.5, -0.1), (0.75, 1.05), (0.1, 1.05)], p.key, 0.2, 0.02)
    s.hatch([(-s.edge, 0.0), (-1.0, 0.0), (-0.9, 1.0), (-s.edge, 1.0)], 9, 65)


def corridor(s: Stage) -> None:
    """Draw the corridor on the night of the storm: doors in perspective, a lamp, lightning in a narrow window."""
    p = s.p
    wall, boards = (118, 116, 110), (92, 68, 48)
    e = s.edge
    vx = 0.12
    s.box(-e, -0.3, e, 1.4, p.shade(wall), ink=False)
    s.fill([(-e, -0.45), (vx - 0.16, 0.26), (vx - 0.16, 0.62), (-e, 1.45)], p.half(wall), ink=False)
    s.fill([(e, -0.45), (vx + 0.16, 0.26), (vx + 0.16, 0.62), (e, 1.45)], p.shade(wall), ink=False)
    s.fill([(-e, 1.45), (vx - 0.16, 0.62), (vx + 0.16, 0.62), (e, 1.45)], p.half(boards), ink=False)
    s.fill([(-e, -0.45), (vx - 0.16, 0.26), (vx + 0.16, 0.26), (e, -0.45)], p.shade((90, 80, 70)), ink=False)
    for i in range(-6, 7):
        s.line([(vx + i * 0.026, 0.62), (vx + i * 0.3, 1.4)], 1.5, 4, p.shade(boards), curved=False)
    s.box(vx - 0.16, 0.26, vx + 0.16, 0.62, p.shade((92, 96, 100)))
    s.box(vx - 0.055, 0.32, vx + 0.055, 0.50, p.light if s.prop != "dark" else p.mid)
    s.line([(vx + 0.02, 0.32), (vx - 0.015, 0.40), (vx + 0.015, 0.41), (vx - 0.02, 0.5)], 5, 3, p.key, curved=False)
    s.line([(vx, 0.32), (vx, 0.50)], 4, curved=False)

    def wall_at(side: int, t: float) -> tuple[float, float, float]:
        x = vx + side * (0.16 + t * (e - 0.16))
        return x, 0.26 - t * 0.71, 0.62 + t * 0.83

    for side, t0, t1, ajar in (
        (-1, 0.14, 0.30, False), (-1, 0.44, 0.78, True), (1, 0.14, 0.30, False), (1, 0.46, 0.8, False),
    ):
        xa, ta, ba = wall_at(side, t0)
        xb, tb, bb = wall_at(side, t1)
        ya, yb = ta + (ba - ta) * 0.24, tb + (bb - tb) * 0.24
        s.fill([(xa, ya), (xb, yb), (xb, bb), (xa, ba)], p.ink if ajar else p.shade((104, 72, 48)))
        if ajar:
            s.fill(
                [(xa, ya), (xa + side * 0.06, ya + 0.03), (xa + side * 0.06, ba + 0.05), (xa, ba)],
                p.half((120, 84, 54)),
            )
        else:
            s.line(
                [
                    (xa + (xb - xa) * 0.2, ya + (yb - ya) * 0.2 + 0.05),
                    (xa + (xb - xa) * 0.8, ya + (yb - ya) * 0.8 + 0.06),
                ],
                3,
                curved=False,
            )
            s.dot(xa + (xb - xa) * 0.2, (ya + ba) / 2 + 0.02, 0.009, p.lit((200, 170, 90)))
    s.line([(-0.3, -0.3), (-0.3, 0.12)], 3)
    s.fill([(-0.34, 0.16), (-0.26, 0.16), (-0.28, 0.11), (-0.32, 0.11)], p.ink)
    s.dot(-0.3, 0.185, 0.03, (255, 238, 176))
    s.glow(-0.3, 0.18, 0.85, p.key, 0.6)
    s.later_glow(-0.3, 0.18, 0.5, p.key, 0.35)
    s.hatch([(0.45, -0.4), (e, -0.45), (e, 1.3), (0.5, 0.85)], 9, 65)
