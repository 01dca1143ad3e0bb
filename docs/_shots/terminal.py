"""A small terminal: run a command in it, and draw what it shows as SVG."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

COLUMNS = 100
PATIENCE = 60.0
"""Seconds after which a command has failed."""
COLOURS = {
    "1": "bold",
    "2": "dim",
    "31": "red",
    "32": "green",
    "33": "yellow",
    "34": "blue",
    "35": "purple",
    "36": "cyan",
}
_OFF = {"0": set(COLOURS.values()), "22": {"bold", "dim"}, "39": set(COLOURS.values()) - {"bold", "dim"}}
_PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")
_CURSOR = {"?25l", "?25h"}

Cell = tuple[str, str]
"""A character, and its classes."""


class Screen:
    """What a terminal shows that is as high as it has to be.

    It knows what our commands and rich write: colours, new lines, up, and erase. Anything else is an error.
    """

    def __init__(self, columns: int = COLUMNS) -> None:
        self.columns = columns
        self.lines: list[list[Cell]] = [[]]
        self._row = self._column = 0
        self._style: set[str] = set()

    def write(self, text: str) -> None:
        """Show a text."""
        at = 0
        for piece in _PIECE.finditer(text):
            if piece.start() != at:
                break
            at = piece.end()
            parameters, command, end, character = piece.groups()
            if command:
                self._control(parameters, command)
            elif end:
                self._return(end)
            else:
                self._put(character)
        if at != len(text):
            raise ValueError(f"not understood: {text[at : at + 20]!r}")

    def text(self) -> str:
        """Return what is shown, without colours."""
        return "\n".join("".join(character for character, _ in line).rstrip() for line in self.lines).rstrip()

    def _return(self, end: str) -> None:
        self._column = 0
        if end == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append([])

    def _put(self, character: str) -> None:
        if self._column == self.columns:
            self._return("\n")
        line = self.lines[self._row]
        line.extend([(" ", "")] * (self._column + 1 - len(line)))
        line[self._column] = (character, " ".join(sorted(self._style)))
        self._column += 1

    def _control(self, parameters: str, command: str) -> None:
        if command == "m":
            for code in parameters.split(";"):
                self._style -= _OFF.get(code or "0", set())
                self._style |= {COLOURS[code]} if code not in ("", *_OFF) else set()
        elif command == "A":
            self._row = max(0, self._row - int(parameters or 1))
        elif command == "K" and parameters in ("2", ""):
            del self.lines[self._row][0 if parameters else self._column :]
        elif parameters + command not in _CURSOR:
            raise ValueError(f"not understood: {parameters}{command}")


class Terminal:
    """A terminal in a folder, in which commands are typed one after the other.

    :param hidden: what is shown instead of names and paths of this machine, by their patterns.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], hidden: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.hidden = hidden
        self.screen = Screen()

    def run(self, typed: str, command: Sequence[str], *, until: Sequence[str] = ()) -> None:
        """Run a command until it ends, or until all of these texts were shown: then it is killed.

        :raises RuntimeError: it fails, or does not show them.
        """
        shown = self._shown_by(command, until)
        for pattern, instead in self.hidden.items():
            shown = re.sub(pattern, instead, shown)
        self.screen.write(f"\x1b[2m$\x1b[22m \x1b[1m{typed}\x1b[22m\n{shown}")

    def _shown_by(self, command: Sequence[str], until: Sequence[str]) -> str:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        shown = ""
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, start_new_session=True, **streams
        ) as process:
            os.close(slave)
            try:
                for text in _read(master):
                    shown += text
                    if until and all(one in shown for one in until):
                        return shown
                code = process.wait(PATIENCE)
            finally:
                process.kill()
                os.close(master)
        if code or until:
            raise RuntimeError(f"{command} ended with {code}:\n{shown}")
        return shown

    def take(self, title: str) -> str:
        """Return what is shown as SVG, and clear the screen."""
        screen, self.screen = self.screen, Screen()
        return draw(screen, title)


def _read(master: int) -> Iterator[str]:
    """Read what is written to a terminal until its last writer has ended."""
    deadline, decoder = time.monotonic() + PATIENCE, getincrementaldecoder("utf-8")()
    while select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # how Linux says that there is no writer any more
            return
        if not data:
            return
        yield decoder.decode(data)
    raise RuntimeError(f"it takes longer than {PATIENCE:.0f} s")


WIDTH, HEIGHT, MARGIN = 8.4, 20, 18
LEAST = 64
"""Columns that a picture has, however little is in it."""
STYLE = """\
svg { fill: #e6e6e6; }
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }
.screen { fill: #16181d; stroke: #3a3f46; }
.bold { font-weight: 600; }
.dim { fill: #9aa3ad; }
.red { fill: #ff8a80; }
.green { fill: #7ecf8a; }
.yellow { fill: #e3b341; }
.blue { fill: #82b1ff; }
.purple { fill: #d2a8ff; }
.cyan { fill: #5cc8dc; }"""
BARS = {"█": "", "░": ' fill-opacity="0.25"'}
"""Drawn as shapes: what fonts have for them leaves gaps."""


def draw(screen: Screen, title: str) -> str:
    """Draw a screen. Each piece is as wide as its columns, whatever the font of the reader has for it."""
    lines = screen.lines[: len(screen.text().splitlines())]
    columns = max(LEAST, *map(len, lines))
    width, height = round(2 * MARGIN + WIDTH * columns), 2 * MARGIN + HEIGHT * len(lines)
    size = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="screen" {size} rx="8"/>',
    ]
    for row, line in enumerate(lines):
        parts += _pieces(line, MARGIN + HEIGHT * row)
    return "\n".join([*parts, "</svg>", ""])


def _pieces(line: list[Cell], top: int) -> Iterator[str]:
    column = 0
    for (style, kind), cells in groupby(line, key=lambda cell: (cell[1], _kind(cell[0]))):
        text = "".join(character for character, _ in cells)
        left, long = f"{MARGIN + WIDTH * column:.1f}", f"{WIDTH * len(text):.1f}"
        column += len(text)
        named = f' class="{style}"' if style else ""
        if kind in BARS:
            yield f'<rect{named}{BARS[kind]} x="{left}" y="{top + 3}" width="{long}" height="14"/>'
        elif text.strip():
            fitted = f'textLength="{long}" lengthAdjust="spacingAndGlyphs" xml:space="preserve"'
            yield f'<text{named} x="{left}" y="{top + 15}" {fitted}>{escape(text, quote=False)}</text>'


def _kind(character: str) -> str:
    """Return what a character has in common with others of its piece."""
    return character if character in BARS else "ascii" if character.isascii() else "other"
