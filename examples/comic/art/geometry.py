"""Points, curves and local coordinate frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 8) -> list[Point]:
    """Return a Catmull-Rom curve through `points`; a point given twice stays a sharp corner."""
    n = len(points)
    if n < 3:
        return list(points)
    out: list[Point] = []
    last = n if closed else n - 1
    for i in range(last):
        if closed:
            p0, p1, p2, p3 = (points[(i + k) % n] for k in (-1, 0, 1, 2))
        else:
            p0, p1, p2, p3 = (points[min(max(i + k, 0), n - 1)] for k in (-1, 0, 1, 2))
        if p1 == p2:
            continue
        for s in range(steps):
            t = s / steps
            out.append((_spline(p0[0], p1[0], p2[0], p3[0], t), _spline(p0[1], p1[1], p2[1], p3[1], t)))
    if not closed:
        out.append(points[-1])
    return out


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)


def brush(points: Sequence[Point], w0: float, w1: float, *, belly: float = 0.0) -> list[Point]:
    """Return the outline of a brush stroke along `points`, from width `w0` to `w1`, fuller in the middle by `belly`."""
    left: list[Point] = []
    right: list[Point] = []
    n = len(points)
    for i, (x, y) in enumerate(points):
        ax, ay = points[max(i - 1, 0)]
        bx, by = points[min(i + 1, n - 1)]
        dx, dy = bx - ax, by - ay
        length = math.hypot(dx, dy) or 1.0
        t = i / max(n - 1, 1)
        half = (w0 + (w1 - w0) * t + belly * math.sin(math.pi * t)) / 2
        nx, ny = -dy / length * half, dx / length * half
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return left + right[::-1]


def arc(cx: float, cy: float, rx: float, ry: float, a0: float, a1: float, n: int = 24) -> list[Point]:
    """Return points on an ellipse from angle `a0` to `a1` in degrees (0 is right, 90 is down)."""
    return [
        (
            cx + rx * math.cos(math.radians(a0 + (a1 - a0) * i / n)),
            cy + ry * math.sin(math.radians(a0 + (a1 - a0) * i / n)),
        )
        for i in range(n + 1)
    ]


def box(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """Return the four corners of a rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def lerp(a: Point, b: Point, t: float) -> Point:
    """Return the point a part `t` of the way from `a` to `b`."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t)


def polar(origin: Point, length: float, degrees: float) -> Point:
    """Return the point `length` away; 0 degrees hangs straight down, 90 points forward (right)."""
    a = math.radians(degrees)
    return (origin[0] + length * math.sin(a), origin[1] + length * math.cos(a))


def bounds(points: Iterable[Point]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the points."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Frame:
    """A local coordinate system: where it is, how large, whether mirrored, how turned (degrees)."""

    x: float
    y: float
    unit: float
    flip: int = 1
    angle: float = 0.0

    def at(self, point: Point) -> Point:
        """Map one local point to the panel."""
        a = math.radians(self.angle)
        px, py = point
        rx = px * math.cos(a) - py * math.sin(a)
        ry = px * math.sin(a) + py * math.cos(a)
        return (self.x + self.flip * rx * self.unit, self.y + ry * self.unit)

    def all(self, points: Iterable[Point]) -> list[Point]:
        """Map many local points to the panel."""
        return [self.at(p) for p in points]

    def inner(self, origin: Point, *, scale: float = 1.0, angle: float = 0.0) -> Frame:
        """Return a frame whose origin is a local point of this one."""
        x, y = self.at(origin)
        return Frame(x, y, self.unit * scale, self.flip, self.angle + angle)
