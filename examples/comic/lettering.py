"""Lettering: balloons with tails, captions and sounds, placed where they hide nobody's face."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .art.canvas import Canvas
from .art.geometry import Point
from .art.palette import RGB, Palette
from .art.type import width, wrap, write
from .script import Line

Box = tuple[float, float, float, float]
PAPER: RGB = (252, 249, 238)
CAPTION: RGB = (246, 226, 172)
INK: RGB = (18, 16, 20)
SIZE = 23.0
MARGIN = 16.0


@dataclass(frozen=True)
class Block:
    """A piece of lettering that has been broken into lines and measured."""

    lines: list[str]
    size: float
    bold: float
    half_width: float
    half_height: float
    text_height: float

    @property
    def leading(self) -> float:
        """Return the distance between two lines."""
        return self.size * 1.16


def _gap(a: Block, p: Point, b: Block, q: Point) -> float:
    dx = max(0.0, abs(p[0] - q[0]) - a.half_width - b.half_width)
    dy = max(0.0, abs(p[1] - q[1]) - a.half_height - b.half_height)
    return math.hypot(dx, dy)


def overlap(a: Box, b: Box) -> float:
    """Return the common area of two boxes."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def measure(
    text: str, size: float, limit: float, *, bold: float = 0.35, round_: bool = True, ratio: float = 1.75
) -> Block:
    """Break a text so that its balloon is as compact as may be within `limit`."""
    best: Block | None = None
    best_cost = math.inf
    for k in range(8):
        wide = limit * (0.42 + 0.58 * k / 7)
        lines = wrap(text, size, wide, bold)
        widths = [width(line, size, bold) for line in lines]
        leading = size * 1.16
        tall = leading * len(lines)
        if round_:
            half_h = tall / 2 * 1.16 + size * 0.52
            half_w = size
            for i, w in enumerate(widths):
                y = abs((i + 0.5) * leading - tall / 2) + leading * 0.34
                room = (1 - min(0.97, y / half_h) ** 2.5) ** (1 / 2.5)
                half_w = max(half_w, (w / 2 + size * 0.42) / room)
        else:
            half_h, half_w = tall / 2 + size * 0.5, max(widths) / 2 + size * 0.6
        if half_w * 2 > limit * 1.12 and k > 0:
            continue
        cost = half_w * half_h * (1 + 0.22 * abs(math.log(half_w / half_h / (ratio if round_ else 3.4))))
        if cost < best_cost:
            best, best_cost = Block(lines, size, bold, half_w, half_h, tall), cost
    if best is None:
        raise ValueError(f"no room for {text!r}")
    return best


class Letterer:
    """Letters one panel."""

    def __init__(
        self,
        canvas: Canvas,
        palette: Palette,
        seed: str,
        faces: dict[str, Box],
        mouths: dict[str, Point],
        keep: Sequence[Box] = (),
    ) -> None:
        self.c, self.p, self.rng = canvas, palette, random.Random(seed)
        self.faces, self.mouths = faces, mouths
        self.keep = list(keep)
        self.placed: list[Box] = []
        self.voices: list[str] = []

    @property
    def boxes(self) -> list[Box]:
        """Return where lettering was put, for the tests."""
        return self.placed

    def caption(self, text: str) -> None:
        """Put a caption into the top left corner, or the bottom one when there is a face at the top."""
        w, h = self.c.width, self.c.height
        block = measure(text, SIZE - 2, min(w - 2 * MARGIN - 20, max(300.0, w * 0.60)), bold=0.0, round_=False)
        spots = [
            (MARGIN, MARGIN),
            (w - MARGIN - 2 * block.half_width, MARGIN),
            (MARGIN, h - MARGIN - 2 * block.half_height),
            (w - MARGIN - 2 * block.half_width, h - MARGIN - 2 * block.half_height),
        ]
        best = min(
            range(4),
            key=lambda i: (
                self._hidden((*spots[i], spots[i][0] + 2 * block.half_width, spots[i][1] + 2 * block.half_height)) * 50
                + i * 3000,
                i,
            ),
        )
        x, y = spots[best]
        box = (x, y, x + 2 * block.half_width, y + 2 * block.half_height)
        self.c.rect(box[0] + 4, box[1] + 5, box[2] + 4, box[3] + 5, INK)
        self.c.rect(*box, INK)
        self.c.rect(box[0] + 2.5, box[1] + 2.5, box[2] - 2.5, box[3] - 2.5, CAPTION)
        for i, line in enumerate(block.lines):
            write(
                self.c,
                line,
                (x + block.size * 0.6, y + block.size * 0.5 + (i + 0.5) * block.leading),
                block.size,
                INK,
                anchor="lm",
            )
        self.placed.append(box)

    def speak(self, lines: list[Line]) -> None:
        """Place all balloons, in reading order, and draw them with their tails."""
        todo: list[tuple[Line, Block, Point]] = []
        for line in lines:
            block, center = self._fit(line, len(lines), todo)
            self.placed.append(
                (
                    center[0] - block.half_width,
                    center[1] - block.half_height,
                    center[0] + block.half_width,
                    center[1] + block.half_height,
                )
            )
            todo.append((line, block, center))
        joined: set[int] = set()
        for i in range(1, len(todo)):
            (one, a, p), (two, b, q) = todo[i - 1], todo[i]
            if one.speaker == two.speaker and _gap(a, p, b, q) < 90:
                self._join(p, q)
                joined.add(i)
        for i, (line, block, center) in enumerate(todo):
            self._balloon(line, block, center, tail=i not in joined)

    def sound(self, text: str, *, low: bool = False) -> None:
        """Draw a sound in large letters that grow across the picture."""
        w, h = self.c.width, self.c.height
        size = min(w / (len(text) * 0.56), h * 0.24) * (0.72 if low else 1.0)
        total = sum(width(ch, size * (0.7 + 0.6 * i / len(text))) for i, ch in enumerate(text.upper()))
        x = (w - total) / 2
        for i, ch in enumerate(text.upper()):
            s = size * (0.7 + 0.6 * i / len(text))
            y = h * (0.9 if low else 0.64) - i * s * 0.035 + self.rng.uniform(-0.08, 0.08) * s
            write(self.c, ch, (x + 3, y + 4), s, INK, anchor="lm", bold=s * 0.075)
            write(self.c, ch, (x, y), s, self.p.accent, anchor="lm", bold=s * 0.05, edge=INK)
            write(self.c, ch, (x, y), s, self.p.key, anchor="lm", bold=s * 0.012, edge=self.p.accent)
            x += width(ch, s) * 1.02

    # --- choosing a place

    def _fit(self, line: Line, count: int, done: list[tuple[Line, Block, Point]]) -> tuple[Block, Point]:
        """Try a compact and a flat balloon, and take the one with the better place."""
        found: list[tuple[float, Block, Point]] = []
        for ratio in (1.75, 3.4):
            block = self._block(line, count, ratio)
            cost, center = self._place(block, line, done)
            found.append((cost * (1.0 if ratio < 2 else 1.1), block, center))
        _, block, center = min(found, key=lambda f: f[0])
        return block, center

    def _block(self, line: Line, count: int, ratio: float) -> Block:
        w, h = self.c.width, self.c.height
        text = line.text.upper()
        limit = min(w - 2 * MARGIN, max(w * (0.62 if count == 1 else 0.48), 250.0), 520.0)
        size = SIZE + (3 if line.manner == "shouts" else -2 if line.manner == "whispers" else 0)
        while True:
            block = measure(text, size, limit, bold=0.7 if line.manner == "shouts" else 0.35, ratio=ratio)
            if line.manner == "shouts":
                block = replace(block, half_width=block.half_width * 1.14, half_height=block.half_height * 1.14)
            fits = 2 * block.half_width <= w - MARGIN and 2 * block.half_height <= h * 0.52
            if fits or size <= 15:
                return block
            size -= 1

    def _hidden(self, box: Box) -> float:
        cost = 0.0
        for face in self.faces.values():
            cost += overlap(box, face)
        for other in self.placed:
            cost += 4 * overlap((box[0] - 10, box[1] - 8, box[2] + 10, box[3] + 8), other)
        for kept in self.keep:
            cost += overlap(box, kept)
        return cost

    def _place(self, block: Block, line: Line, done: list[tuple[Line, Block, Point]]) -> tuple[float, Point]:
        w, h = self.c.width, self.c.height
        hw, hh = block.half_width, block.half_height
        mouth = self.mouths.get(line.speaker) or self._outside(line.speaker)
        before = [center for _, _, center in done]
        last = done[-1][2] if done and done[-1][0].speaker == line.speaker else None
        best, best_cost = (w / 2, hh + MARGIN), math.inf
        x0, x1 = hw + MARGIN * 0.6, max(hw + MARGIN * 0.6, w - hw - MARGIN * 0.6)
        y0, y1 = hh + MARGIN * 0.6, max(hh + MARGIN * 0.6, h - hh - MARGIN * 0.6)
        for i in range(25):
            for j in range(17):
                x, y = x0 + (x1 - x0) * i / 24, y0 + (y1 - y0) * j / 16
                cost = self._hidden((x - hw, y - hh, x + hw, y + hh)) * 60
                if last:
                    cost += 60 * math.hypot(x - last[0], y - last[1])
                cost += 26 * math.hypot((x - mouth[0]) * 0.9, y - mouth[1]) + 40 * y
                for bx, by in before:
                    if y < by - 4 or (y < by + hh * 0.7 and x < bx):
                        cost += 60000 + 200 * max(0.0, by - y)
                for name, other in self.mouths.items():
                    if name != line.speaker and math.hypot(x - other[0], y - other[1]) < math.hypot(
                        x - mouth[0], y - mouth[1]
                    ):
                        cost += 9000
                if cost < best_cost:
                    best, best_cost = (x, y), cost
        return best_cost, best

    def _outside(self, speaker: str) -> Point:
        """Return where a voice from outside comes from: the first from the left, the next from the right."""
        if speaker not in self.voices:
            self.voices.append(speaker)
        left = self.voices.index(speaker) % 2 == 0
        if self.mouths and sum(x for x, _ in self.mouths.values()) / len(self.mouths) < self.c.width / 2:
            left = not left
        return (-40.0, self.c.height * 0.6) if left else (self.c.width + 40.0, self.c.height * 0.66)

    # --- drawing

    def _outline(self, block: Block, center: Point, manner: str) -> list[Point]:
        points: list[Point] = []
        n = 44 if manner == "shouts" else 72
        for i in range(n):
            a = 2 * math.pi * i / n
            ca, sa = math.cos(a), math.sin(a)
            x = math.copysign(abs(ca) ** (2 / 2.5), ca) * block.half_width
            y = math.copysign(abs(sa) ** (2 / 2.5), sa) * block.half_height
            if manner == "shouts":
                k = 0.88 if i % 2 else self.rng.uniform(0.95, 1.0)
                x, y = x * k, y * k
            points.append((center[0] + x, center[1] + y))
        return points

    def _tail(self, line: Line, block: Block, center: Point) -> list[Point]:
        speaker = line.speaker
        mouth = self.mouths.get(speaker)
        if mouth is None:
            x, y = center
            mouth = (
                (-30.0, y + block.half_height + 60)
                if x < self.c.width / 2
                else (self.c.width + 30.0, y + block.half_height + 60)
            )
            tip = mouth
        else:
            face = self.faces[speaker]
            dx, dy = center[0] - mouth[0], center[1] - mouth[1]
            d = math.hypot(dx, dy) or 1.0
            tip = self._edge_of_face(face, mouth, (dx / d, dy / d), d)
        dx, dy = tip[0] - center[0], tip[1] - center[1]
        d = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / d, dx / d
        base = min(15.0, block.half_width * 0.3)
        inside = min(0.12, 0.5 * block.half_height / max(abs(dy), 1.0), 0.5 * block.half_width / max(abs(dx), 1.0))
        root = (center[0] + dx * inside, center[1] + dy * inside)  # else a long tail hangs below a flat balloon
        bend = (center[0] + dx * 0.6 + nx * d * 0.05, center[1] + dy * 0.6 + ny * d * 0.05)
        return [
            (root[0] + nx * base, root[1] + ny * base),
            (bend[0] + nx * base * 0.55, bend[1] + ny * base * 0.55),
            tip,
            (bend[0] - nx * base * 0.42, bend[1] - ny * base * 0.42),
            (root[0] - nx * base, root[1] - ny * base),
        ]

    @staticmethod
    def _edge_of_face(face: Box, mouth: Point, toward: Point, limit: float) -> Point:
        """Go from the mouth towards the balloon until the face is left behind."""
        cx, cy = (face[0] + face[2]) / 2, face[3] - (face[2] - face[0]) * 0.62
        rx, ry = (face[2] - face[0]) * 0.50, (face[2] - face[0]) * 0.66
        x, y = mouth
        walked = 0.0
        while ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1.0 and walked < limit - 10:
            x, y, walked = x + toward[0] * 3, y + toward[1] * 3, walked + 3
        return (x, y)

    def _balloon(self, line: Line, block: Block, center: Point, *, tail: bool) -> None:
        shape = self._outline(block, center, line.manner)
        arrow = self._tail(line, block, center) if tail else []
        fill: RGB = (226, 230, 234) if line.manner == "whispers" else PAPER
        pen = 3.2 if line.manner == "shouts" else 2.4
        for points in (shape, arrow):
            if points:
                self.c.shape(points, INK, ink=INK, width=pen * 1.6, curved=False)
        if line.manner == "whispers":
            for i in range(0, len(shape), 4):
                seg = [shape[i], shape[(i + 1) % len(shape)], shape[(i + 2) % len(shape)]]
                self.c.stroke(seg, fill, pen * 1.8, curved=False)
        for points in (shape, arrow):
            if points:
                self.c.shape(points, fill, curved=False)
        top = center[1] - block.text_height / 2
        for i, text in enumerate(block.lines):
            write(
                self.c,
                text,
                (center[0], top + (i + 0.5) * block.leading),
                block.size,
                INK,
                anchor="mm",
                bold=block.bold,
            )

    def _join(self, a: Point, b: Point) -> None:
        self.c.stroke([a, b], INK, 26, curved=False)
        self.c.stroke([a, b], PAPER, 20, curved=False)
