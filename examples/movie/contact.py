"""The contact sheet: two pictures of each scene of a finished film, to be looked at."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from examples.comic.art.type import font

from .camera import RATE
from .drawing import HEIGHT, WIDTH
from .ffmpeg import find_ffmpeg
from .lettering import shortened
from .parts import whole
from .process import ProgramError, ask

COLUMNS = 4
_SIZE = (WIDTH // 2, HEIGHT // 2)
_HEAD, _LINE, _GAP = 56, 24, 8


def take_pictures(film: Path, moments: list[float]) -> list[Image.Image]:
    """Return the pictures of a film at some moments, in their order, by decoding it once."""
    frames = sorted({round(moment * RATE) for moment in moments})
    chosen = "+".join(f"eq(n,{frame})" for frame in frames)
    command = [
        find_ffmpeg().path, "-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1", "-i", f"file:{film}",
        "-vf", f"select='{chosen}',scale={_SIZE[0]}:{_SIZE[1]}:flags=lanczos", "-fps_mode", "passthrough",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1",
    ]  # fmt: skip
    raw, size = ask(command, b""), 3 * _SIZE[0] * _SIZE[1]
    if len(raw) != size * len(frames):
        raise ProgramError(f"{film.name} has not all of its {len(frames)} moments")
    at = {frame: Image.frombytes("RGB", _SIZE, raw[i * size : (i + 1) * size]) for i, frame in enumerate(frames)}
    return [at[round(moment * RATE)] for moment in moments]


def choose_moments(scenes: list[str], starts: list[float], seconds: float) -> list[tuple[str, float]]:
    """Return two moments of each scene, with its name."""
    ends = [*starts[1:], seconds]
    return [
        (scene, start + (end - start) * part)
        for scene, start, end in zip(scenes, starts, ends, strict=True)
        for part in (0.3, 0.75)
    ]


def make_sheet(film: Path, title: str, moments: list[tuple[str, float]], path: Path) -> Path:
    """Make the sheet beside the film."""
    rows = -(-len(moments) // COLUMNS)
    width = COLUMNS * (_SIZE[0] + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _HEAD + rows * (_SIZE[1] + _LINE + _GAP) + _GAP), (20, 20, 26))
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (_GAP + 4, _HEAD // 2), shortened(title, 26, width - 40), font=font(13), fill=(250, 240, 214), anchor="lm"
    )
    pictures = take_pictures(film, [moment for _, moment in moments])
    for i, ((scene, moment), picture) in enumerate(zip(moments, pictures, strict=True)):
        x = _GAP + i % COLUMNS * (_SIZE[0] + _GAP)
        y = _HEAD + i // COLUMNS * (_SIZE[1] + _LINE + _GAP)
        sheet.paste(picture, (x, y))
        words = shortened(f"{scene}  {moment:.1f} s", 14, _SIZE[0])
        draw.text((x + 2, y + _SIZE[1] + _LINE // 2), words, font=font(7.5), fill=(190, 184, 170), anchor="lm")
    with whole(path) as part:
        sheet.save(part, "PNG")
    return path
