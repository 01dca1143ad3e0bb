"""Pages: panels set into their slots, with a heading, page numbers and borders; and the cover."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from .art.canvas import Canvas
from .art.exteriors import manor
from .art.figure import Figure
from .art.geometry import Frame, arc
from .art.light import glow, grain, rim, silhouette, vignette
from .art.look import MOODS, Look
from .art.palette import TONES, mix
from .art.poses import POSES
from .art.props import snake
from .art.stage import Camera, Stage
from .art.type import width, wrap, write
from .layout import FOOT, PAGE, TRIM, Slot

PAPER = (250, 246, 234)
INK = (20, 18, 22)
BORDER = 4


def compose(
    title: str, number: int, last: bool, book: str, slots: list[Slot], pictures: dict[str, Path]
) -> Image.Image:
    """Set the drawn panels into a page; `pictures` has a file for every slot."""
    c = Canvas(*PAGE, PAPER)
    y = TRIM // 2 + 30
    label = f"{_roman(number)}.  {title.upper()}"
    write(c, label, (TRIM, y), 30, INK, anchor="lm", bold=0.6)
    write(c, book, (PAGE[0] - TRIM, y + 2), 21, (120, 104, 84), anchor="rm")
    c.rect(TRIM + width(label, 30) + 22, y + 1, PAGE[0] - TRIM - width(book, 21) - 22, y + 3, (168, 148, 116))
    foot = PAGE[1] - FOOT + 2
    if last:
        write(c, "THE END", (PAGE[0] - TRIM, foot), 24, INK, anchor="rm", bold=0.5)
    c.dot(PAGE[0] / 2, foot, 22, INK)
    write(c, str(number), (PAGE[0] / 2, foot), 23, PAPER, anchor="mm", bold=0.4)
    page = c.finish()
    for slot in slots:
        page.paste(INK, (slot.x - BORDER, slot.y - BORDER, slot.x + slot.width + BORDER, slot.y + slot.height + BORDER))
        with Image.open(pictures[slot.panel]) as picture:
            page.paste(
                picture.convert("RGB").resize((slot.width, slot.height))
                if picture.size != (slot.width, slot.height)
                else picture,
                (slot.x, slot.y),
            )
    return page


def cover(title: str, subtitle: str, author: str, source: str, detective: Look, friend: Look, seed: int) -> Image.Image:
    """Draw the cover: the manor by night, the detective against the moon, the band itself."""
    w, h = PAGE
    p = TONES["dread"]
    rng = random.Random(f"{seed}/cover")
    c = Canvas(w, h, p.deep)
    stage = Stage(c, p, Camera(0.42, 0.0, 0.10), rng, night=True, prop="cover")
    manor(stage)
    c.rect(0, 0, w, 640, mix(p.deep, p.ink, 0.35))
    for i in range(24):
        c.rect(0, 640 + i * 8, w, 648 + i * 8, mix(mix(p.deep, p.ink, 0.35), p.deep, i / 24))
    moon = (w / 2, 900.0)
    glow(c, moon, 860, p.light, 0.6)
    c.dot(*moon, 372, p.key)
    c.dot(*moon, 360, (255, 238, 190))
    for x, y, r in ((-150, -110, 60), (120, 90, 86), (-60, 190, 44), (190, -150, 34)):
        c.dot(moon[0] + x, moon[1] + y, r, (250, 226, 166), r * 0.8)
    for light in stage.after:
        light()
    for i, (x, y, r) in enumerate(((210, 760, 210), (1210, 830, 230), (1130, 1080, 260), (240, 1150, 230))):
        c.dot(x, y, r, mix(p.deep, p.mid, 0.35 + 0.1 * (i % 2)), 22)
        c.dot(x + 60, y + 16, r * 0.7, mix(p.deep, p.mid, 0.3), 18)
    back = c.layer()
    unit = 230.0
    bust = Figure(
        back,
        Frame(w / 2 + 10, 830, unit, 1),
        detective,
        MOODS["resolve"],
        POSES["stand"],
        p,
        1,
        view="profile",
        hat=True,
    ).draw()
    silhouette(back, p.ink)
    pipe = bust.head
    back.stroke(pipe.all([(0.27, 0.30), (0.46, 0.35), (0.56, 0.50), (0.66, 0.48)]), p.ink, 12, 17)
    back.shape(pipe.all([(0.57, 0.28), (0.80, 0.28), (0.77, 0.54), (0.60, 0.55)]), p.ink, curved=False)
    rim(back, (255, 214, 120), 1, 3.0)
    for i in range(4):
        y = 0.16 - 0.2 * i
        back.stroke(
            pipe.all(arc(0.70 + 0.03 * i, y, 0.05 + 0.03 * i, 0.10, 90 if i % 2 else 270, 270 if i % 2 else 90, 8)),
            mix(p.mid, p.light, 0.3),
            6 + 3 * i,
            4,
        )
    c.lay(back)
    ground = [(0, 1560), (220, 1500), (520, 1540), (860, 1490), (1160, 1540), (1400, 1500), (1400, 2100), (0, 2100)]
    c.shape([(float(x), float(y)) for x, y in ground], p.ink, curved=False)
    figures = c.layer()
    Figure(
        figures, Frame(560, 1440, 66 * detective.height, 1), detective, MOODS["dread"], POSES["lantern"], p, 1, hat=True
    ).draw()
    Figure(
        figures, Frame(410, 1452, 66 * friend.height, 1), friend, MOODS["dread"], POSES["walk"], p, 1, hat=True
    ).draw()
    rim(figures, p.key, 1, 2.4)
    c.lay(figures)
    glow(c, (690, 1600), 250, p.key, 0.75)
    body = [
        (1400, 1985), (1180, 1950), (900, 1975), (620, 1930), (330, 1960), (150, 1860), (110, 1560), (160, 1240),
        (90, 960), (150, 700), (250, 610),
    ]
    snake(c, TONES["horror"], [(float(x), float(y)) for x, y in body], 64)
    vignette(c, p.ink, 0.6)
    size = 166.0
    lines = wrap(title.upper(), size, w - 160)
    while max(width(line, size, 5) for line in lines) > w - 140:
        size -= 6
    y = 172.0
    for line in lines:
        write(c, line, (w / 2 + 6, y + 8), size, p.ink, anchor="mm", bold=9)
        write(c, line, (w / 2, y), size, (250, 214, 110), anchor="mm", bold=5)
        y += size * 1.05
    write(c, author.upper(), (w / 2, 58), 34, (226, 216, 190), anchor="mm", bold=0.6)
    for i, line in enumerate(wrap(subtitle, 44, 420)):
        write(c, line, (1010, 1700 + 56 * i), 44, (240, 226, 190), anchor="mm", bold=0.5)
    write(c, "From " + source, (w / 2, 2058), 22, (170, 164, 150), anchor="mm")
    picture = grain(c.finish(), rng)
    frame = Canvas(w, h, PAPER).finish()
    frame.paste(INK, (24, 24, w - 24, h - 24))
    frame.paste(picture.crop((30, 30, w - 30, h - 30)), (30, 30))
    return frame


def _roman(number: int) -> str:
    out = ""
    for value, sign in ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")):
        while number >= value:
            out += sign
            number -= value
    return out
