"""Clothes over a figure's skeleton (see figure.py for the coordinates)."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

from typing import TYPE_CHECKING

from .geometry import Point

if TYPE_CHECKING:
    from .figure import Figure

HEMS = {"jacket": 3.55, "frock": 4.75, "ulster": 5.7, "gown": 6.2, "dress": 6.95, "nightdress": 6.8}
"""How far below the middle of the head each kind of garment ends, in heads."""

def draw_coat(g: Figure) -> None:
    """Draw coat, waistcoat, shirt and neckwear of a man."""
    b, f = g.b, g.f
    lit, low = g.paint(g.look.coat)
    hem = HEMS[g.look.coat_style]
    if g.sitting:
        hem = 3.35
    flare = 0.16 * max(0.0, hem - 3.0)
    swing = 0.5 * (g.pose.legs in {"stride", "wide"})
    far_arm_top: Point = (0.62 * b, 1.04)
    body: list[Point] = [
        (-0.2, 0.68), (-0.42 * b, 0.76), (-0.74 * b, 0.93), (-0.82 * b, 1.22), (-0.66 * b, 1.7), (-0.52 * b, 2.45),
        (-0.60 * b, 3.05), ((-0.66 - flare) * b - swing * 0.3, hem), ((-0.66 - flare) * b - swing * 0.3, hem),
        (0.0, hem + 0.06), ((0.56 + flare * 0.8) * b + swing * 0.3, hem - 0.03),
        ((0.56 + flare * 0.8) * b + swing * 0.3, hem - 0.03), (0.54 * b, 3.05), (0.50 * b, 2.45), (0.64 * b, 1.7),
        (0.68 * b, 1.3),
        far_arm_top,
        (0.42 * b, 0.82), (0.2, 0.68),
    ]
    g.fill(body, lit)
    if g.lit_front:
        zone = [
            (-3, 0.4), (-0.32 * b, 0.6), (-0.38 * b, 1.2), (-0.2 * b, 1.9), (-0.26 * b, 2.6), (-0.16 * b, 3.4),
            (-0.3 * b, 7.5), (-3, 7.5),
        ]
    else:
        zone = [
            (3, 0.4), (0.26, 0.6), (0.30 * b, 1.3), (0.18, 1.7), (0.14 * b, 2.6), (0.22 * b, 3.4), (0.16 * b, 7.5),
            (3, 7.5),
        ]
    g.c.within(f.all(body), f.all([(float(x), float(y)) for x, y in zone]), low)
    gown = g.look.coat_style == "gown"
    vee = 2.5 if gown else 1.72
    shirt, shirt_low = g.paint(g.look.shirt)
    cx = 0.13
    g.fill(
        [(-0.17, 0.66), (0.2, 0.66), (0.3, 0.95), (cx, vee), (-0.2, 0.98)],
        shirt,
        curved=False,
    )
    g.c.within(
        f.all([(-0.17, 0.66), (0.2, 0.66), (0.3, 0.95), (cx, vee), (-0.2, 0.98)]),
        f.all([(-0.3, 0.5), (0.3, 0.6), (0.1, 0.86), (-0.02, 1.5), (-0.4, 1.2)]),
        shirt_low,
        curved=False,
    )
    if not gown:
        waist, waist_low = g.paint(g.look.neckwear)
        g.fill(
            [(-0.08, 1.26), (cx, 1.42), (0.24, 1.22), (0.2, 1.5), (cx, vee + 0.02), (0.02, 1.52)],
            waist_low,
            curved=False,
        )
        g.fill(
            [(0.0, 0.74), (0.075, 0.78), (0.15, 0.74), (0.175, 0.92), (0.08, 0.88), (-0.02, 0.94)],
            waist,
            curved=False,
        )
        g.fill([(0.04, 0.88), (0.115, 0.88), (0.155, 1.3), (0.09, 1.36), (0.03, 1.28)], waist, curved=False)
    coll_lit, coll_low = (lit, low)
    for s, paint in ((-1, coll_low if g.lit_front else coll_lit), (1, coll_lit if g.lit_front else coll_low)):
        if s < 0:
            lapel = [
                (-0.2, 0.64), (-0.36 * b, 0.78), (-0.40, 1.12), (-0.27, 1.16), (-0.31, 1.26),
                (cx - 0.02, vee + 0.05), (-0.06, 1.15),
            ]
        else:
            lapel = [
                (0.2, 0.66), (0.36 * b, 0.82), (0.42, 1.12), (0.33, 1.16), (0.36, 1.24), (cx + 0.02, vee + 0.05),
                (0.26, 1.1),
            ]
        g.fill(lapel, paint, curved=False)
    g.line([(cx, vee), (0.12, 2.5), (0.13 + 0.2 * swing, hem)], 0.03, 0.02)
    if gown:
        g.line([(-0.55 * b, 2.6), (0.1, 2.72), (0.53 * b, 2.6)], 0.16, 0.16, low)
        g.line([(0.1, 2.7), (0.18, 3.2), (0.14, 3.7)], 0.08, 0.1, low)
    else:
        for i in range(2):
            x, y = f.at((0.03, vee + 0.25 + 0.38 * i))
            g.c.dot(x, y, 0.04 * g.u, g.p.ink)
        g.line([(-0.5 * b, 2.95), (-0.16 * b, 3.02)], 0.025, 0.012)
    for x0, x1 in ((-0.42, -0.58), (0.36, 0.46)):
        if hem > 4:
            g.line([(x0 * b, 3.2), ((x0 + x1) / 2 * b, 4.0), (x1 * b, hem - 0.1)], 0.012, 0.03)


def draw_skirt(g: Figure) -> None:
    """Draw the skirt of a dress or the lower part of a night-dress."""
    lit, low = g.paint(g.look.coat)
    base = g.base
    night = g.look.coat_style == "nightdress"
    hem = HEMS[g.look.coat_style] - 3.0
    if g.sitting:
        skirt: list[Point] = [
            (-0.5, -0.6), (-0.62, 0.2), (-0.5, 0.55), (0.3, 0.6), (0.75, 0.9), (0.7, 2.0), (0.62, 2.15),
            (1.2, 2.2), (1.95, 2.12), (1.85, 1.2), (1.72, 0.2), (1.4, -0.18), (0.6, -0.3), (0.36, -0.65),
        ]
    elif night:
        skirt = [
            (-0.42, -0.8), (-0.62, 0.4), (-0.85, 2.0), (-1.05, hem), (-1.05, hem), (-0.3, hem + 0.1), (0.3, hem),
            (0.95, hem + 0.08), (0.95, hem + 0.08), (0.72, 2.0), (0.5, 0.4), (0.36, -0.8),
        ]
    else:
        skirt = [
            (-0.36, -0.75), (-0.85, -0.25), (-1.02, 0.35), (-1.0, 1.2), (-1.3, hem), (-1.3, hem),
            (-0.3, hem + 0.1), (0.4, hem + 0.02), (1.12, hem + 0.06), (1.12, hem + 0.06), (0.85, 1.8), (0.55, 0.3),
            (0.34, -0.7),
        ]
    g.fill(skirt, lit, frame=base)
    cut = -0.1 if g.lit_front else 0.2
    zone = (
        [(-4.0, -1.5), (cut, -1.2), (cut - 0.1, 0.5), (cut + 0.15, 2.0), (cut - 0.1, 5.0), (-4.0, 5.0)]
        if g.lit_front
        else [(4.0, -1.5), (cut, -1.2), (cut + 0.1, 0.5), (cut - 0.1, 2.0), (cut + 0.2, 5.0), (4.0, 5.0)]
    )
    g.c.within(base.all(skirt), base.all([(float(x), float(y)) for x, y in zone]), low)
    if g.sitting:
        for i in range(3):
            g.line([(0.9 + 0.25 * i, 0.0), (1.2 + 0.18 * i, 0.7), (1.1 + 0.25 * i, 2.0)], 0.01, 0.03, frame=base)
    else:
        for i in range(6):
            x = -0.75 + 0.3 * i
            g.line(
                [(x * 0.36, -0.3 + 0.12 * (i % 2)), (x * 0.8, 1.4), (x * 1.25, hem - 0.05)],
                0.008,
                0.035,
                frame=base,
            )
        if not night:
            g.line([(-1.22, hem - 0.35), (-0.1, hem - 0.22), (1.05, hem - 0.3)], 0.03, 0.03, frame=base)


def draw_bodice(g: Figure) -> None:
    """Draw the upper part of a dress or night-dress."""
    b = g.b
    lit, low = g.paint(g.look.coat)
    night = g.look.coat_style == "nightdress"
    w = 0.50 if night else 0.38
    body: list[Point] = [
        (-0.17, 0.66), (-0.4 * b, 0.76), (-0.72 * b, 0.92), (-0.78 * b, 1.2), (-0.62 * b, 1.7), (-w, 2.35),
        (-w - 0.05, 2.6), (0.0, 2.78), (w, 2.6), (w - 0.02, 2.35), (0.62 * b, 1.75), (0.68 * b, 1.5),
        (0.62 * b, 1.1), (0.44 * b, 0.8), (0.17, 0.66),
    ]
    g.fill(body, lit)
    zone: list[Point] = (
        [(-3, 0.3), (-0.16, 0.6), (-0.22, 1.2), (-0.02, 1.75), (-0.12, 3.0), (-3, 3.0)]
        if g.lit_front
        else [(3, 0.3), (0.2, 0.6), (0.28, 1.2), (0.08, 1.6), (0.1, 3.0), (3, 3.0)]
    )
    g.c.within(g.f.all(body), g.f.all(zone), low)
    white, grey = g.paint(g.look.shirt)
    if night:
        g.fill(
            [
                (-0.26, 0.66), (-0.3, 0.84), (-0.1, 0.98), (0.1, 1.02), (0.3, 0.86), (0.24, 0.66), (0.1, 0.78),
                (-0.1, 0.78),
            ],
            white,
        )
        g.line([(0.09, 1.0), (0.1, 1.5), (0.07, 2.4)], 0.016, 0.006)
        for i in range(3):
            g.line([(-0.3 + 0.22 * i, 1.5), (-0.26 + 0.2 * i, 2.5)], 0.0, 0.02)
        return
    g.fill(
        [(-0.2, 0.56), (0.18, 0.62), (0.22, 0.76), (0.1, 0.86), (-0.12, 0.82), (-0.24, 0.72)],
        white,
    )
    g.c.within(
        g.f.all([(-0.2, 0.56), (0.18, 0.62), (0.22, 0.76), (0.1, 0.86), (-0.12, 0.82), (-0.24, 0.72)]),
        g.f.all([(-0.5, 0.4), (0.0, 0.5), (-0.02, 0.9), (-0.5, 0.9)]),
        grey,
    )
    x, y = g.f.at((0.1, 0.84))
    g.c.dot(x, y, 0.07 * g.u, g.p.ink)
    g.c.dot(x, y, 0.05 * g.u, g.p.lit(g.look.neckwear))
    g.line([(0.1, 0.9), (0.16, 1.6), (0.06, 2.7)], 0.014, 0.01)
    for i in range(6):
        bx, by = g.f.at((0.135 + 0.02 * (i < 4) - 0.012 * i, 1.05 + 0.26 * i))
        g.c.dot(bx, by, 0.026 * g.u, g.p.half(g.look.shirt))


def draw_back(g: Figure) -> None:
    """Draw shoulders and back of somebody seen from behind."""
    lit, low = g.paint(g.look.coat)
    b = g.b
    body: list[Point] = [
        (-0.22, 0.42), (-0.3, 0.62), (-0.86 * b, 0.86), (-1.08 * b, 1.3), (-1.12 * b, 2.4), (-1.0 * b, 3.6),
        (-1.0 * b, 3.6), (1.0 * b, 3.6), (1.0 * b, 3.6), (1.12 * b, 2.4), (1.08 * b, 1.3), (0.86 * b, 0.86),
        (0.3, 0.62), (0.22, 0.42),
    ]
    neck: list[Point] = [(-0.2, 0.1), (0.2, 0.1), (0.24, 0.7), (-0.24, 0.7)]
    g.fill(neck, g.p.shade(g.look.skin), curved=False)
    g.fill(body, low)
    s = 1 if g.lit_front else -1
    g.c.within(
        g.f.all(body),
        g.f.all(
            [
                (s * 0.62 * b, 0.3), (s * 2.0, 0.5), (s * 2.0, 4.0), (s * 0.9 * b, 4.0), (s * 0.86 * b, 2.0),
                (s * 0.8 * b, 1.3),
            ]
        ),
        lit,
    )
    g.line([(0.0, 0.8), (0.02, 2.2), (0.0, 3.5)], 0.012, 0.02)
    g.line([(-0.62 * b, 1.3), (-0.66 * b, 2.2), (-0.6 * b, 3.2)], 0.03, 0.01)
    g.line([(0.62 * b, 1.3), (0.66 * b, 2.2), (0.6 * b, 3.2)], 0.03, 0.01)
    collar = g.p.half(g.look.shirt)
    if not g.look.woman:
        g.fill([(-0.26, 0.44), (0.26, 0.44), (0.3, 0.6), (-0.3, 0.6)], collar, curved=False)
    else:
        g.fill([(-0.22, 0.40), (0.22, 0.40), (0.25, 0.56), (-0.25, 0.56)], collar)
    g.fill([(-0.3, 0.54), (0.3, 0.54), (0.42, 0.76), (0.0, 0.82), (-0.42, 0.76)], low)
