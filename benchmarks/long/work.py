"""What a part of the long benchmark is given, and how it tells what it found."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from msgspec import Struct, json

from benchmarks.result import Figure

MEGABYTE = 1 << 20


class Size(Struct, frozen=True):
    """How much of it: jobs that are drained, minutes of retention, seconds that the drain may take at most."""

    jobs: int
    minutes: float
    longest: float
    quick: bool = False

    def pick(self, full: int, quick: int) -> int:
        """A size that nobody sets: ``full``, or ``quick`` with ``--quick``."""
        return quick if self.quick else full


class Said(Struct, frozen=True):
    """A line of a part's program: a figure, or a note for people."""

    figure: Figure | None = None
    note: str = ""


class Part:
    """One part at work: its folder, its size, and how it tells each figure as soon as there is one."""

    def __init__(self, name: str, folder: Path, size: Size) -> None:
        self.folder = folder
        self.size = size
        self._name = name
        self._began = time.monotonic()

    def figures(self, *figures: Figure) -> None:
        """Tell what was measured: it counts, whatever becomes of the rest."""
        for figure in figures:
            self._say(Said(figure))

    def note(self, text: str) -> None:
        """Tell what people should know of the figures."""
        self._say(Said(note=text))

    def progress(self, text: str) -> None:
        """Tell how far it is."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"{self._name} {minutes:2}:{seconds:02}  {text}", file=sys.stderr, flush=True)

    @staticmethod
    def _say(said: Said) -> None:
        sys.stdout.buffer.write(json.encode(said) + b"\n")
        sys.stdout.buffer.flush()
