"""Whole figures: skeleton from a pose, clothes over it, head on top.

Local coordinates are head heights; the origin is the middle of the head, the figure looks to the right.
"""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

from dataclasses import dataclass

from .canvas import Canvas
from .clothes import draw_back, draw_bodice, draw_coat, draw_skirt
from .geometry import Frame, Point, bounds, box, lerp, polar
from .hands import Hand
from .head import Head
from .look import Look, Mood
from .palette import RGB, Palette
from .poses import Pose

HAT_HEIGHT = {"top_hat": 1.02, "bonnet": 0.85}
NECK = -0.15
"""How much the body is drawn up towards the head."""
FEET = 6.9
"""How far below the middle of the head a standing figure's soles are, in heads."""
SEAT = 4.85
"""The same for somebody who sits."""


@dataclass(frozen=True)
class Placed:
    """Where a figure ended up, for the letterer: its face and its mouth, in panel pixels."""

    name: str
    mouth: Point
    face: tuple[float, float, float, float]
    head: Frame


class Figure:
    """Draws one person."""

    def __init__(
        self,
        canvas: Canvas,
        frame: Frame,
        look: Look,
        mood: Mood,
        pose: Pose,
        light: Palette,
        side: int,
        *,
        view: str = "three_quarter",
        hat: bool = False,
    ) -> None:
        self.c, self.look, self.mood, self.pose, self.p = canvas, look, mood, pose, light
        self.side, self.view, self.hat = side, view, hat
        self.frame = frame
        self.f = frame.inner((0.0, 0.0), angle=pose.lean).inner((0.0, NECK))
        self.u = frame.unit
        self.pen = max(0.8, self.u * 0.018)
        self.lit_front = side * frame.flip > 0
        self.b = look.build * (0.82 if look.woman else 1.0)
        self.hip = self.f.at((-0.03, 3.0))
        self.base = Frame(*self.hip, self.u, frame.flip)
        self.sitting = pose.legs == "sit"

    # --- painting helpers

    def paint(self, color: RGB) -> tuple[RGB, RGB]:
        """Return a paint in light and in shadow."""
        return self.p.lit(color), self.p.shade(color)

    def fill(
        self, points: list[Point], color: RGB, *, frame: Frame | None = None, ink: bool = True, curved: bool = True
    ) -> None:
        """Fill a shape in local coordinates."""
        f = frame or self.f
        self.c.shape(
            f.all(points),
            color,
            ink=self.p.ink if ink else None,
            width=self.pen,
            curved=curved,
            weight=(0.3 * f.flip, 0.5) if ink else (0, 0),
        )

    def line(
        self,
        points: list[Point],
        w0: float,
        w1: float = 0.0,
        color: RGB | None = None,
        *,
        belly: float = 0.0,
        frame: Frame | None = None,
    ) -> None:
        """Draw a stroke in local coordinates."""
        f = frame or self.f
        self.c.stroke(f.all(points), color or self.p.ink, w0 * self.u, w1 * self.u, belly=belly * self.u)

    def limb(self, path: list[Point], widths: list[float], color: RGB, *, dark: bool = False) -> None:
        """Draw a sleeve or a trouser leg along panel points."""
        lit, low = self.paint(color)
        main = low if dark else lit
        for grow, paint in ((self.pen * 2.0, self.p.ink), (0.0, main)):
            for i in range(len(path) - 1):
                self.c.stroke(
                    [path[i], path[i + 1]],
                    paint,
                    widths[i] * self.u + grow,
                    widths[i + 1] * self.u + grow,
                    curved=False,
                )
            for i in range(len(path) - 1):
                self.c.dot(*path[i], (widths[i] * self.u + grow) / 2, paint)
        if not dark:
            off = self.side * -0.22
            for i in range(len(path) - 1):
                a = (path[i][0] + off * widths[i] * self.u, path[i][1] + (0.0 if i else 0.1) * self.u)
                self.c.dot(*a, widths[i] * self.u * 0.25, low)
                b = (path[i + 1][0] + off * widths[i + 1] * self.u, path[i + 1][1])
                self.c.stroke([a, b], low, widths[i] * self.u * 0.5, widths[i + 1] * self.u * 0.5, curved=False)
        if len(path) == 3:
            x, y = path[1]
            w = widths[1] * self.u
            self.c.stroke([(x - w * 0.3, y - w * 0.1), (x + w * 0.2, y + w * 0.12)], self.p.ink, 0.02 * self.u, 0.0)
            self.c.stroke([(x - w * 0.25, y + w * 0.2), (x + w * 0.1, y + w * 0.3)], self.p.ink, 0.016 * self.u, 0.0)

    # --- the figure

    def draw(self) -> Placed:
        """Draw the figure and tell where its face is."""
        head = self.f.inner((0.0, -NECK), angle=self.pose.tilt)
        if self.view == "back":
            draw_back(self)
        else:
            self._arm(near=False)
            if self.look.woman:
                draw_skirt(self)
            else:
                self._legs()
            self._neck()
            if self.look.woman:
                draw_bodice(self)
            else:
                draw_coat(self)
        Head(self.c, head, self.look, self.mood, self.p, self.side, self.view, hat=self.hat).draw()
        if self.view != "back":
            self._arm(near=True)
        top = HAT_HEIGHT.get(self.look.hat, 0.72) if self.hat else 0.55
        face = bounds(head.all(box(-0.42, -top, 0.42, 0.55)))
        return Placed(self.look.name, head.at((0.22, 0.28)), face, head)

    def _neck(self) -> None:
        lit, low = self.paint(self.look.skin)
        w = 0.17 if self.look.woman else 0.21
        neck: list[Point] = [(-w - 0.03, 0.2), (w - 0.02, 0.3), (w + 0.02, 0.75), (0.0, 0.95), (-w - 0.06, 0.75)]
        self.fill(neck, low if self.lit_front else lit, curved=False)
        self.c.within(
            self.f.all(neck),
            self.f.all([(-0.4, 0.2), (0.4, 0.3), (0.3, 0.52), (-0.05, 0.66), (-0.4, 0.6)]),
            low,
            curved=False,
        )

    def _arm(self, *, near: bool) -> None:
        pose, woman = self.pose, self.look.woman
        angles = pose.near if near else pose.far
        hand = pose.near_hand if near else pose.far_hand
        item = pose.item if near else pose.far_item
        shoulder = (-0.60 * self.b, 1.06) if near else (0.50 * self.b, 1.04)
        elbow = polar(shoulder, 1.22, angles[0])
        wrist = polar(elbow, 1.05, angles[1])
        widths = [0.40, 0.33, 0.22] if woman else [0.50, 0.40, 0.31]
        if self.look.coat_style in {"nightdress", "gown"}:
            widths = [0.46, 0.44, 0.46]
        widths = [w * (0.7 + 0.3 * self.look.build) for w in widths]
        frame = self.f.inner(wrist, angle=-angles[1])
        skin = Hand(self.c, frame, self.look.skin, self.p, dark=not near and not self.lit_front)
        other = None
        if item in {"poker", "paper"}:
            fs = (0.50 * self.b, 1.04)
            other = self.f.at(polar(polar(fs, 1.22, pose.far[0]), 1.12, pose.far[1]))
        if item and item not in {"poker", "lash"}:
            skin.hold(item, other)
        if item != "pistol":
            skin.draw(hand)
        else:
            skin.draw("fist")
            skin.hold(item)
        if item == "poker":
            skin.hold(item, other)
        if item == "lash":
            skin.hold(item)
        self.limb(self.f.all([shoulder, elbow, lerp(elbow, wrist, 0.97)]), widths, self.look.coat, dark=not near)
        if hand != "none":
            cuff = self.f.all([lerp(elbow, wrist, 0.88), lerp(elbow, wrist, 1.02)])
            self.c.stroke(
                cuff,
                self.p.lit(self.look.shirt) if near else self.p.half(self.look.shirt),
                widths[2] * self.u * 0.86,
                curved=False,
            )

    def _legs(self) -> None:
        stance = {
            "stand": ((-3, -1), (5, 2)),
            "stride": ((-20, -10), (24, 4)),
            "wide": ((-13, -5), (14, 6)),
            "sit": ((78, 4), (86, -6)),
            "kneel": ((70, -20), (10, -80)),
        }
        near, far = stance.get(self.pose.legs, stance["stand"])
        for angles, x, dark in ((far, 0.2, True), (near, -0.24, False)):
            hip = (x * self.b, 0.1)
            thigh = 1.55 if self.sitting else 1.95
            knee = polar(hip, thigh, angles[0])
            ankle = polar(knee, 1.75, angles[1])
            path = self.base.all([hip, knee, ankle])
            self.limb(path, [0.62 * self.b, 0.48 * self.b, 0.34], self.look.trousers, dark=dark)
            fx, fy = path[2]
            foot = Frame(fx, fy, self.u, self.frame.flip)
            shoe: list[Point] = [
                (-0.2, -0.04), (0.16, -0.04), (0.42, 0.16), (0.58, 0.24), (0.56, 0.32), (-0.2, 0.32), (-0.22, 0.12),
            ]
            color = (150, 40, 40) if self.look.coat_style == "gown" else (34, 32, 36)
            self.fill(shoe, self.p.shade(color) if dark else self.p.half(color), frame=foot)
