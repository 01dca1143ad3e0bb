"""One panel: the set, the people in it framed by the kind of shot, light over them, lettering over all."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image, ImageFilter

from .art import exteriors, interiors, manor_rooms, props
from .art.canvas import Canvas
from .art.figure import FEET, SEAT, Figure, Placed
from .art.geometry import Frame, bounds, box
from .art.light import fade, form_shadow, grain, halftone, rim, shadow, shaft, silhouette, vignette
from .art.look import MOODS, Look
from .art.palette import TONES, Palette
from .art.poses import BY_TONE, POSES
from .art.stage import Camera, Stage
from .lettering import Letterer
from .script import Panel

PLACES = {
    "sitting_room": interiors.sitting_room,
    "bedroom": manor_rooms.bedroom,
    "doctor_room": manor_rooms.doctor_room,
    "corridor": manor_rooms.corridor,
    "inn": interiors.inn,
    "train": interiors.train,
    "manor": exteriors.manor,
    "lane": exteriors.lane,
}


Tell = Callable[[int, int, str], object]
"""How a drawing tells its progress: done, total, what it is at."""


def _tell_nobody(done: int, total: int, what: str) -> None:
    """Draw in silence."""


@dataclass(frozen=True)
class Spot:
    """Where somebody stands: middle of the head as parts of width and height, head height as part of height."""

    name: str
    x: float
    y: float
    unit: float
    flip: int
    view: str = "three_quarter"


def camera(panel: Panel, rng: random.Random) -> Camera:
    """Choose the part of the set that the shot shows."""
    side = rng.choice((-0.12, 0.1))
    if panel.place == "bedroom" and panel.prop == "snake":
        return Camera(1.75, 0.42, 0.40)
    if panel.shot in {"wide", "silhouette", "detail"}:
        return Camera(1.0, 0.0 if panel.place in {"manor", "inn"} else side, 0.5)
    if panel.shot == "close_up":
        return Camera(2.3, side * 2.4, 0.38)
    if panel.shot == "low_angle":
        return Camera(1.35, 0.95 if panel.place == "sitting_room" else side, 0.44)
    if panel.prop == "trap":
        return Camera(1.0, 0.0, 0.5)
    return Camera(1.15 if panel.place == "train" else 1.4, side * 1.5, 0.46)


def frame_people(panel: Panel, aspect: float) -> list[Spot]:
    """Decide where everybody is."""
    who, shot = panel.who, panel.shot
    n = len(who)
    if n == 0:
        return []
    if shot == "over_shoulder":
        wide = aspect > 1.1
        return [
            Spot(who[1], 0.68 if wide else 0.64, 0.47, 0.30 if wide else 0.24, -1),
            Spot(who[0], 0.16 if wide else 0.2, 0.74, 0.56 if wide else 0.42, 1, "back"),
        ]
    if shot == "close_up":
        unit = min(0.58, 0.60 * aspect)
        if aspect > 1.25:
            flip = 1 if panel.number % 2 else -1
            low = panel.prop == "band"
            return [Spot(who[0], 0.5 - 0.19 * flip, 0.68 if low else 0.54, 0.5 if low else 0.66, flip)]
        return [Spot(who[0], 0.5, 0.66, unit * 0.86, -1 if panel.number % 2 else 1)]
    if shot == "low_angle":
        unit = min(0.185, 0.25 * aspect)
        return [Spot(who[0], 0.5, 0.40, unit, -1 if panel.number % 2 else 1)]
    if shot in {"wide", "silhouette"}:
        unit = 0.088 if shot == "wide" else 0.102
        y = 0.94 - FEET * unit
    elif shot == "two_shot":
        unit, y = min(0.31, 0.24 * aspect), 0.52
    else:
        unit, y = min(0.25, 0.23 * aspect * (1.15 if n == 1 else 0.92)), 0.49
        if n == 1 and aspect < 1.25:
            y = 0.56
        if any(name in panel.hats for name in who):
            y += 0.05
    if panel.prop == "trap":
        unit, y = 0.165, 0.44
    if shot == "wide" and panel.prop == "band":
        unit = 0.11
    gap = 0.52 if n == 2 else 0.64
    if shot in {"wide", "silhouette"}:
        gap *= min(1.0, 1.25 / aspect + 0.1)
    if panel.prop == "trap":
        gap = 0.70 / aspect
    spots: list[Spot] = []
    for i, name in enumerate(who):
        x = 0.5 - gap / 2 + gap * i / (n - 1) if n > 1 else (0.5 if aspect < 1.3 else 0.40)
        flip = 1 if i < n / 2 else -1
        if n == 3 and i == 1:
            flip = -1
        flip = {"left": -1, "right": 1}.get(panel.facing.get(name, ""), flip)
        spots.append(Spot(name, x, y, unit, flip))
    return spots


def draw(
    panel: Panel, looks: dict[str, Look], size: tuple[int, int], seed: int, tell: Tell = _tell_nobody
) -> Image.Image:
    """Draw a panel at its size on the page, telling how far it is."""
    canvas, _ = stage(panel, looks, size, seed, tell)
    return grain(canvas.finish(), random.Random(f"{seed}/{panel.id}/grain"))


def stage(
    panel: Panel, looks: dict[str, Look], size: tuple[int, int], seed: int, tell: Tell = _tell_nobody
) -> tuple[Canvas, Letterer]:
    """Draw everything of a panel but the grain of the paper; the letterer knows where it put what."""
    w, h = size
    rng = random.Random(f"{seed}/{panel.id}")
    p = TONES[panel.tone]
    c = Canvas(w, h, p.deep)
    set_ = Stage(c, p, camera(panel, rng), rng, night=panel.night, prop=panel.prop)
    keep: list[tuple[float, float, float, float]] = []
    placed: list[Placed] = []
    side = 1 if panel.key == "right" else -1
    tell(0, 4, "the set")
    if panel.shot == "detail":
        set_.unit = float(h if panel.prop == "bell_rope" else min(w, h))
        set_.f = Frame(w / 2, h / 2 - set_.unit / 2 + (h - set_.unit) * 0.18, set_.unit)
        keep = props.detail(set_, panel.prop)
    else:
        _set(set_, panel, rng)
        tell(1, 4, "the figures")
        placed = [_person(c, set_, panel, spot, looks[spot.name], side) for spot in frame_people(panel, w / h)]
        if panel.prop == "trap":
            front = Stage(c, p, Camera(1.0, 0.0, 0.5), rng)
            exteriors.trap(front)
    tell(2, 4, "light and shadow")
    for light in set_.after:
        light()
    bright = panel.tone in {"calm", "relief", "resolve", "curious"}
    vignette(c, p.ink, 0.45 if bright else 0.7)
    c.grade(0.78 if bright else 0.86, 1.1 if bright else 1.14)
    letters = Letterer(
        c, p, f"{seed}/{panel.id}/letters", {q.name: q.face for q in placed}, {q.name: q.mouth for q in placed}, keep
    )
    backs = panel.who[:1] if panel.shot == "over_shoulder" else []
    for person in placed:
        if POSES[panel.poses.get(person.name, "stand")].item in {"poker", "paper"}:
            letters.keep.append(bounds(person.head.all(box(0.0, 0.7, 1.8, 2.6))))
    if panel.prop == "band" and placed:
        x, y = placed[0].head.at((0.26, -0.85))
        r = 0.2 * placed[0].head.unit
        letters.keep.append((x - r, y - r, x + r, y + r))
    letters.mouths = {name: at for name, at in letters.mouths.items() if name not in backs} | {
        q.name: q.head.at((0.1, -0.35)) for q in placed if q.name in backs
    }
    tell(3, 4, "lettering")
    if panel.sound:
        letters.sound(panel.sound, low=panel.shot == "detail")
    if panel.caption:
        letters.caption(panel.caption)
    letters.speak(panel.dialogue)
    return c, letters


def _set(stage: Stage, panel: Panel, rng: random.Random) -> None:
    c, p = stage.c, stage.p
    PLACES[panel.place](stage)
    if panel.prop == "snake":
        props.on_rope(stage)
    if panel.shot == "close_up":
        small = c.image.reduce(4).filter(ImageFilter.GaussianBlur(4))
        c.image.paste(small.resize(c.image.size, Image.Resampling.BILINEAR))
        c.tint(Image.new("L", c.image.size, 110), p.deep)
        halftone(c, fade(rng.choice(("down", "left", "right")), 0.75), p.deep, 6)
        _window_light(stage, rng)
        stage.after.clear()
    elif panel.shot in {"medium", "two_shot", "over_shoulder", "low_angle"}:
        c.tint(Image.new("L", c.image.size, 55), p.deep)


def _window_light(stage: Stage, rng: random.Random) -> None:
    """Throw the light of a window on the wall behind a face: six slanting panes."""
    c = stage.c
    w, h = c.width, c.height
    x0, slant = rng.choice((0.06, 0.5)) * w, rng.choice((-0.16, 0.16)) * h
    for i in range(3):
        for j in range(2):
            x, y = x0 + i * 0.125 * h, (0.18 + 0.3 * j) * h
            dx = slant * (y / h)
            pane = [
                (x + dx, y + 0.02 * i * h),
                (x + 0.105 * h + dx, y + 0.02 * (i + 1) * h),
                (x + 0.105 * h + dx + slant * 0.28, y + 0.27 * h),
                (x + dx + slant * 0.28, y + 0.25 * h),
            ]
            shaft(c, pane, stage.p.mid, 0.5, 2.5)


def _person(c: Canvas, stage: Stage, panel: Panel, spot: Spot, look: Look, side: int) -> Placed:
    p = stage.p
    look = _wear(look, panel.dress.get(look.name, ""))
    pose = POSES[panel.poses.get(look.name, "stand" if panel.shot == "close_up" else BY_TONE[panel.tone])]
    mood = MOODS[panel.moods.get(look.name, panel.tone)]
    unit = spot.unit * c.height * (look.height if panel.shot != "close_up" else 1.0)
    x, y = spot.x * c.width, spot.y * c.height
    if panel.shot in {"wide", "silhouette"}:
        y = 0.94 * c.height - (SEAT if pose.legs == "sit" else FEET) * unit
    elif pose.legs == "sit" and panel.prop != "trap" and panel.shot in {"medium", "two_shot"}:
        y += 0.05 * c.height
    flip = spot.flip
    layer = c.layer()
    figure = Figure(
        layer, Frame(x, y, unit, flip), look, mood, pose, p, side, view=spot.view, hat=look.name in panel.hats
    )
    feet = y + (SEAT if pose.legs == "sit" else FEET) * unit
    if feet < c.height * 1.02:
        cast = [
            (x - 0.9 * unit, feet - 0.05 * unit),
            (x + 0.8 * unit, feet - 0.05 * unit),
            (x - side * 3.2 * unit + 0.5 * unit, feet + 0.42 * unit),
            (x - side * 3.2 * unit - 0.5 * unit, feet + 0.42 * unit),
        ]
        shadow(c, cast, p.ink, 0.6, 5)
        if pose.legs == "sit":
            _chair(c, p, x, feet, unit, flip)
    placed = figure.draw()
    if panel.prop == "band" and pose is POSES["sit_dead"]:
        props.crown(layer, p, placed.head)
    if panel.shot == "silhouette" or panel.silhouettes:
        silhouette(layer, p.ink)
        rim(layer, p.key if panel.silhouettes else p.light, side, max(1.0, unit * 0.02), 0.9)
    elif spot.view == "back":
        form_shadow(layer, p.ink, side, unit * 0.55, 0.8)
        rim(layer, p.key, side if (spot.x < 0.5) == (side > 0) else -side, unit * 0.022)
    else:
        form_shadow(layer, p.deep, side, unit * 0.26, 0.4)
        rim(layer, p.key, side, max(1.0, unit * 0.018))
    c.lay(layer)
    return placed


def _wear(look: Look, style: str) -> Look:
    """Return somebody dressed otherwise than on the reference sheet."""
    if style == "nightdress":
        return replace(look, coat_style=style, coat=(236, 234, 226), hat="none")
    if style == "gown":
        return replace(look, coat_style=style, coat=(128, 130, 136), hat="none")
    return replace(look, coat_style=style) if style else look


def _chair(c: Canvas, p: Palette, x: float, feet: float, unit: float, flip: int) -> None:
    f = Frame(x, feet, unit, flip)
    wood = (112, 74, 46)
    for points in (
        [(-0.75, -3.4), (-0.55, -3.4), (-0.62, -1.7), (-0.72, 0.05), (-0.9, 0.05), (-0.84, -1.7)],
        [(0.55, -1.7), (0.72, -1.7), (0.76, 0.05), (0.6, 0.05)],
    ):
        c.shape(f.all(points), p.shade(wood), ink=p.ink, width=max(1.0, unit * 0.018), curved=False)
    c.shape(
        f.all([(-0.9, -1.9), (0.85, -1.9), (0.9, -1.62), (-0.9, -1.62)]),
        p.half(wood),
        ink=p.ink,
        width=max(1.0, unit * 0.018),
        curved=False,
    )
