"""A film of two short scenes, what is in a finished film, and an ffmpeg that misbehaves when it is told to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from array import array
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.movie.camera import RATE
from examples.movie.drawing import HEIGHT, WIDTH
from examples.movie.ffmpeg import find_ffmpeg

ROOT = Path(__file__).parents[2]
LONG = os.environ.get("ASYNCJOBS_TEST_FILM") == "long"
"""Whether the whole film is made, and killed again and again."""
ROUGH_TITLE = "It's 5:00, 100% \\ done; [v]:'%{n}"


def scene(name: str, **fields: Any) -> dict[str, Any]:
    """Return a scene of one second."""
    return {
        "scene_id": name,
        "title": "",
        "duration": 1.0,
        "generation_strategy": {"generation_method": "image_to_video"},
        "keyframe_description": {"first_frame_prompt": "Wide shot of the lane, a man walks."},
        "characters": {"primary_character_id": 0},
        "scene_flow": {"transition_technique": "dissolve"},
        **fields,
    }


def card(name: str, **fields: Any) -> dict[str, Any]:
    """Return a title card of half a second: the quickest of all scenes."""
    return scene(name, **{"duration": 0.5, "keyframe_description": None, "characters": None, "title": name, **fields})


def screenplay(*scenes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a screenplay of two scenes, or of those given."""
    return {
        "title": "Small",
        "video_config": {"seed": 3, "needs_voiceover": False},
        "character_description": [{"id": 0, "name": "Tom", "physical_appearance": "A tall man.", "style": "A coat."}],
        "scenes": list(scenes) or [scene("S1", title=ROUGH_TITLE), scene("S2")],
        **fields,
    }


@dataclass(frozen=True)
class Decoded:
    """A film, looked at frame by frame and heard."""

    frames: int
    lights: list[float]
    steps: list[float]
    sound: array[int]

    @property
    def seconds(self) -> float:
        return self.frames / RATE

    @property
    def heard(self) -> float:
        """Seconds of sound."""
        return len(self.sound) / 8000

    @property
    def loudness(self) -> float:
        """Root of the mean square, of 32768."""
        return (sum(value * value for value in self.sound) / max(1, len(self.sound))) ** 0.5


def decode(film: Path) -> Decoded:
    """Decode a film: how light each frame is, and how far each is from the one before."""
    ffmpeg = [find_ffmpeg().path, "-hide_banner", "-loglevel", "error", "-i", str(film)]
    probe = subprocess.run([*ffmpeg[:2], "-i", str(film)], capture_output=True, text=True, check=False).stderr
    assert f"{WIDTH}x{HEIGHT}" in probe, probe
    assert "h264" in probe, probe
    assert "aac" in probe, probe
    raw = subprocess.run(
        [*ffmpeg, "-vf", "scale=64:36", "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True
    )
    size = 64 * 36
    pictures = [raw.stdout[i : i + size] for i in range(0, len(raw.stdout), size)]
    steps = [sum(abs(a - b) for a, b in zip(one, two, strict=True)) / size for one, two in pairwise(pictures)]
    wave = subprocess.run([*ffmpeg, "-f", "s16le", "-ac", "1", "-ar", "8000", "-"], capture_output=True, check=True)
    return Decoded(len(pictures), [sum(p) / size for p in pictures], steps, array("h", wave.stdout))


def picture_at(film: Path, seconds: float) -> Image.Image:
    """Return one picture of a film."""
    from examples.movie.contact import take_pictures

    return take_pictures(film, [seconds])[0]


class Ffmpeg:
    """An ffmpeg in front of the real one on PATH: what a fault is set for does not work, all else does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir(parents=True)
        self.faults = folder / "faults"
        self.faults.mkdir()
        real = find_ffmpeg().path
        program = self.folder / "ffmpeg"
        program.write_text(
            f"""#!/bin/sh
case "$*" in *-encoders*|*-filters*) exec "{real}" "$@";; esac
for last; do :; done
name=$(basename "$last"); name=${{name%%.*}}
fault=$(cat "{self.faults}/$name" 2>/dev/null)
case "$fault" in
  dies) echo "the encoder died of $name" >&2; exit 1;;
  killed) kill -9 $$;;
  hangs) touch "{self.faults}/$name.hangs"; exec sleep 1000;;
  nothing) exit 0;;
  full) ulimit -f 8; trap '' XFSZ; exec "{real}" "$@";;
esac
exec "{real}" "$@"
""",
            encoding="utf-8",
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        monkeypatch.setenv("PATH", self.path)

    def breaks(self, name: str, fault: str) -> None:
        """Let the work on a file of this name fail from now on: S1, S1_processed, small_final."""
        (self.faults / name).write_text(fault, encoding="utf-8")

    def is_mended(self, name: str) -> None:
        """Let it work again."""
        (self.faults / name).unlink()

    def hangs(self, name: str) -> Path:
        """Return the file that is there once the work on a file hangs."""
        return self.faults / f"{name}.hangs"


def working_for(folder: Path) -> list[str]:
    """Return the commands of processes that have to do with a folder: ffmpeg, its guards, whatever they became."""
    if not sys.platform.startswith("linux"):
        pytest.skip("processes are looked up in /proc")
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command or f"FILM_TEST={folder}" in environment:
            found.append(command)
    return found
