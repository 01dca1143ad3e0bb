"""ffmpeg: found, tried, and run: frames through a pipe, post-production and the cut from files.

All that a screenplay says is drawn by Pillow; filters are made of numbers and of names that stand here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path

from .camera import RATE
from .drawing import HEIGHT, WIDTH
from .parts import whole
from .process import Stop, feed, follow, go_on

NEEDED = (("-encoders", ("libx264", "aac")), ("-filters", ("xfade",)))
SAMPLES = 48_000
_STRICT = ("-hide_banner", "-loglevel", "error", "-xerror", "-y")
"""Without ``-xerror``, ffmpeg 5 ends well when the disk was full as it wrote the end of a file."""
_QUIET = ("-nostdin", *_STRICT)
_QUALITY = {"clip": ("ultrafast", "12"), "post": ("ultrafast", "14"), "film": ("superfast", "19")}
Tell = Callable[[int], object]


class NoFfmpegError(RuntimeError):
    """No ffmpeg on this machine can do what a film needs."""


@dataclass(frozen=True)
class Found:
    """The ffmpeg that is used, and why not another one."""

    path: str
    passed_over: str = ""


def find_ffmpeg() -> Found:
    """Return the ffmpeg of PATH if it can do what a film needs, else that of imageio-ffmpeg.

    :raises NoFfmpegError: there is none; the error says how to get one.
    """
    return _find(os.environ.get("PATH", ""))


@lru_cache(maxsize=8)
def _find(path: str) -> Found:
    on_path = shutil.which("ffmpeg", path=path)
    lacks = "there is none" if on_path is None else _lacks(on_path)
    if on_path is not None and not lacks:
        return Found(on_path)
    passed_over = "" if on_path is None else f"{on_path} is passed over: {lacks}"
    try:
        import imageio_ffmpeg

        return Found(imageio_ffmpeg.get_ffmpeg_exe(), passed_over)
    except (ImportError, RuntimeError) as error:
        raise NoFfmpegError(
            f"a film needs ffmpeg with libx264, aac and xfade. On PATH: {lacks}. imageio-ffmpeg: {error}. Either "
            "install ffmpeg (apt-get install ffmpeg, brew install ffmpeg), or pip install imageio-ffmpeg"
        ) from None


def _lacks(program: str) -> str:
    """Return what a program cannot do that a film needs; nothing if it can do all."""
    for option, words in NEEDED:
        try:
            done = subprocess.run(
                [program, "-hide_banner", option], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"it does not run ({error})"
        listed = done.stdout.decode(errors="replace").split()
        if missing := [word for word in words if word not in listed]:
            return f"it has no {' and no '.join(missing)}"
    return ""


def _video(quality: str) -> list[str]:
    preset, crf = _QUALITY[quality]
    return [
        "-c:v", "libx264", "-preset", preset, "-crf", crf, "-threads", "1", "-pix_fmt", "yuv420p", "-r", str(RATE),
    ]  # fmt: skip


_AUDIO = ("-c:a", "aac", "-b:a", "128k", "-ar", str(SAMPLES), "-ac", "2")


def _file(path: Path) -> str:
    return f"file:{path}"  # a colon or a percent sign in a name means nothing


def encode(frames: Iterable[bytes], path: Path, tell: Tell, stop: Stop = go_on) -> None:
    """Make a silent clip of raw frames."""
    with whole(path) as part:
        command = [
            find_ffmpeg().path, *_STRICT,
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-i", "pipe:0",
            *_video("clip"), "-f", "mp4", _file(part),
        ]  # fmt: skip
        feed(command, frames, tell, stop)


@dataclass(frozen=True)
class Grade:
    """How the colours of a scene are developed."""

    contrast: float = 1.06
    saturation: float = 1.08
    red: float = 0.0
    blue: float = 0.0
    vignette: float = 0.55

    @property
    def filters(self) -> str:
        """The filters, made of numbers."""
        return (
            f"eq=contrast={self.contrast:.3f}:saturation={self.saturation:.3f},"
            f"colorbalance=rm={self.red:.3f}:bm={self.blue:.3f},vignette=angle={self.vignette:.3f}"
        )


def finish(
    clip: Path, letters: Path, sound: Path, frames: int, grade: Grade, path: Path, tell: Tell, stop: Stop = go_on
) -> None:
    """Trim a clip to a number of frames, grade it, lay its letters over it, and give it its sound."""
    seconds = frames / RATE
    fade = min(0.5, seconds / 4)
    graph = (
        f"[0:v]trim=end_frame={frames},setpts=PTS-STARTPTS,{grade.filters},format=yuv420p[clip];"
        f"[1:v]format=rgba,fade=in:st=0:d={fade:.3f}:alpha=1,"
        f"fade=out:st={seconds - fade:.3f}:d={fade:.3f}:alpha=1[letters];"
        f"[clip][letters]overlay=format=auto:shortest=0,trim=end_frame={frames},format=yuv420p[v];"
        f"[2:a]atrim=end={seconds:.6f},apad=whole_dur={seconds:.6f}[a]"
    )
    with whole(path) as part:
        command = [
            find_ffmpeg().path, *_QUIET, "-progress", "pipe:1", "-filter_complex_threads", "1",
            "-i", _file(clip), "-loop", "1", "-framerate", str(RATE), "-t", f"{seconds:.6f}", "-i", _file(letters),
            "-i", _file(sound), "-filter_complex", graph, "-map", "[v]", "-map", "[a]",
            *_video("post"), *_AUDIO, "-t", f"{seconds:.6f}", "-f", "mp4", _file(part),
        ]  # fmt: skip
        follow(command, _frames_told(tell), stop)


@dataclass(frozen=True)
class Piece:
    """A scene in the cut: its file, its frames, and how the next one follows: a cross-fade by its name, or a cut."""

    path: Path
    frames: int
    transition: str = ""


TRANSITIONS = ("fade", "fadeblack", "wipeleft", "slideleft", "circleopen")
LONGEST_FADE = RATE // 2


def fade_frames(piece: Piece, following: Piece) -> int:
    """Return how many frames two scenes share: half a second, and at most half of the shorter one."""
    if piece.transition not in TRANSITIONS:
        return 0
    return min(LONGEST_FADE, piece.frames // 2, following.frames // 2)


def list_starts(pieces: Sequence[Piece]) -> list[int]:
    """Return the frame of a cut with which each scene begins."""
    steps = (before.frames - fade_frames(before, piece) for before, piece in pairwise(pieces))
    return list(accumulate(steps, initial=0))


def count_cut(pieces: Sequence[Piece]) -> int:
    """Return how many frames a cut has: all scenes, less what two of them share."""
    return list_starts(pieces)[-1] + pieces[-1].frames


def cut(pieces: Sequence[Piece], path: Path, tell: Tell, stop: Stop = go_on) -> None:
    """Make one film of scenes, with cross-fades where they are asked for."""
    with whole(path) as part:
        inputs = [word for piece in pieces for word in ("-i", _file(piece.path))]
        command = [
            find_ffmpeg().path, *_QUIET, "-progress", "pipe:1", "-filter_complex_threads", "1", *inputs,
            "-filter_complex", _cut_graph(pieces), "-map", "[v]", "-map", "[a]",
            *_video("film"), *_AUDIO, "-movflags", "+faststart", "-f", "mp4", _file(part),
        ]  # fmt: skip
        follow(command, _frames_told(tell), stop)


def _cut_graph(pieces: Sequence[Piece]) -> str:
    steps: list[str] = []
    for i, piece in enumerate(pieces):
        steps.append(f"[{i}:v]fps={RATE},settb=1/{RATE},setsar=1,format=yuv420p,trim=end_frame={piece.frames}[v{i}]")
        seconds = piece.frames / RATE
        steps.append(f"[{i}:a]aresample={SAMPLES},apad=whole_dur={seconds:.6f},atrim=end={seconds:.6f}[a{i}]")
    video, sound, length = "v0", "a0", pieces[0].frames
    for i, (before, piece) in enumerate(pairwise(pieces), 1):
        shared = fade_frames(before, piece)
        if shared:
            seconds, offset = shared / RATE, (length - shared) / RATE
            steps.append(
                f"[{video}][v{i}]xfade=transition={before.transition}:duration={seconds:.6f}:offset={offset:.6f},"
                f"fps={RATE},settb=1/{RATE}[x{i}]"
            )
            steps.append(f"[{sound}][a{i}]acrossfade=d={seconds:.6f}:c1=tri:c2=tri[y{i}]")
        else:
            steps.append(f"[{video}][v{i}]concat=n=2:v=1:a=0,fps={RATE},settb=1/{RATE}[x{i}]")
            steps.append(f"[{sound}][a{i}]concat=n=2:v=0:a=1[y{i}]")
        video, sound, length = f"x{i}", f"y{i}", length + piece.frames - shared
    return ";".join([*steps, f"[{video}]null[v]", f"[{sound}]anull[a]"])


def _frames_told(tell: Tell) -> Callable[[bytes], None]:
    def read(line: bytes) -> None:
        key, _, value = line.strip().partition(b"=")
        if key == b"frame" and value.isdigit():
            tell(int(value))

    return read
