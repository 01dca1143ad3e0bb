"""Print what commands show: tables, values, JSON, and messages for people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import click
from msgspec import json

from asyncjobs.cli.hints import with_flags
from asyncjobs.models import JobStatus

Form = Literal["auto", "table", "plain", "json", "ndjson"]

MARKS = {
    JobStatus.PENDING: ("◌", "o", None),
    JobStatus.IN_PROGRESS: ("▶", ">", "cyan"),
    JobStatus.COMPLETED: ("✔", "+", "green"),
    JobStatus.FAILED: ("✖", "x", "red"),
    JobStatus.CANCELLED: ("⊘", "-", "yellow"),
    JobStatus.SKIPPED: ("↷", "~", "yellow"),
}
"""Per status: a glyph, its ASCII form, a colour. The word is always printed beside it."""


class Output:
    """The output of a command.

    :param form: ``auto`` is a table for a terminal, tab-separated lines otherwise.
    :param colour: True, False, or None: by the terminal and ``NO_COLOR``, ``FORCE_COLOR``.
    :param root: the flags that commands in hints need to find the same store and application.
    """

    def __init__(
        self, form: Form = "auto", *, colour: bool | None = None, quiet: bool = False, root: Sequence[str] = ()
    ) -> None:
        self.tty = sys.stdout.isatty()
        self.form: Form = ("table" if self.tty else "plain") if form == "auto" else form
        self.colour = _wants_colour(self.tty) if colour is None else colour
        self.quiet = quiet
        self._root = root
        self.unicode = "utf" in (sys.stdout.encoding or "").lower()

    @property
    def json(self) -> bool:
        """Return whether the output is JSON."""
        return self.form in ("json", "ndjson")

    @property
    def width(self) -> int:
        """Return the columns of the terminal, or 80 without one."""
        return shutil.get_terminal_size((80, 24)).columns

    def data(self, value: Any) -> None:
        """Print one JSON document to standard output."""
        click.echo(json.encode(value, enc_hook=str).decode())

    def text(self, line: str = "") -> None:
        """Print a line of data."""
        click.echo(line, color=self.colour)

    def echo(self, line: str) -> None:
        """Print a line for people to standard error, unless ``--quiet``."""
        if not self.quiet:
            click.echo(line, err=True, color=self.colour)

    def good(self, line: str) -> None:
        """Report a success."""
        self.echo(f"{self.style(self.glyph('✔', '+'), 'green')} {line}")

    def note(self, line: str) -> None:
        """Report a remark."""
        self.echo(f"{self.glyph('•', '*')} {self.hint(line)}")

    def warn(self, line: str, mend: str | None = None) -> None:
        """Report a warning, and what to do about it."""
        self.echo(f"{self.style(self.glyph('⚠', '!'), 'yellow')} {line}" + (f"\n  → {self.hint(mend)}" if mend else ""))

    def hint(self, text: str) -> str:
        """Return a text with the flags in use added to the commands that it names."""
        return with_flags(text, self._root)

    def glyph(self, unicode: str, ascii: str) -> str:
        """Return the form of a glyph that the terminal can show."""
        return unicode if self.unicode else ascii

    def style(self, text: str, colour: str | None) -> str:
        """Return a text in a colour, where colours are enabled."""
        return click.style(text, fg=colour) if colour and self.colour else text

    def status(self, status: JobStatus) -> str:
        """Return the glyph and the word of a status."""
        glyph, ascii, colour = MARKS[status]
        return self.style(f"{self.glyph(glyph, ascii)} {status}", colour)

    def mark(self, status: JobStatus) -> str:
        """Return the glyph of a status alone."""
        glyph, ascii, colour = MARKS[status]
        return self.style(self.glyph(glyph, ascii), colour)

    def table(
        self, heads: Sequence[str], rows: Iterable[Sequence[str]], items: Iterable[Any], following: str | None
    ) -> None:
        """Print rows under heads; as JSON, ``items``, and where the listing continues (None after its end)."""
        listed = [list(row) for row in rows]
        if self.json:
            if self.form == "ndjson":
                for item in items:
                    self.data(item)
            else:
                self.data({"schema": 1, "items": list(items), "next": following})
        elif self.form == "plain":
            for row in listed:
                self.text("\t".join(_plain(cell) for cell in row))
        else:
            self._aligned(heads, listed)

    def _aligned(self, heads: Sequence[str], rows: list[list[str]]) -> None:
        cells = [[head.upper() for head in heads], *rows]
        widths = [max(_length(row[i]) for row in cells) for i in range(len(heads))]
        # The last column gives way: it is the text that may be long.
        widths[-1] = max(8, min(widths[-1], self.width - sum(widths[:-1]) - 2 * (len(widths) - 1)))
        for row in cells:
            line = "  ".join(_padded(_cut(cell, width), width) for cell, width in zip(row, widths, strict=True))
            self.text(line.rstrip())

    def bar(self, done: float, total: float, width: int = 24) -> str:
        """Return a bar of ``width`` columns."""
        full = round(width * done / total) if total else 0
        return self.glyph("█", "#") * full + self.glyph("░", ".") * (width - full)


def _wants_colour(tty: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"):
        return True
    return tty and os.environ.get("TERM") != "dumb"


def _plain(cell: str) -> str:
    return click.unstyle(cell).replace("\t", " ").replace("\n", " ")


def _length(cell: str) -> int:
    return len(click.unstyle(cell))


def _cut(cell: str, width: int) -> str:
    if _length(cell) <= width:
        return cell
    return click.unstyle(cell).replace("\n", " ")[: width - 1] + "…"


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _length(cell))


def printable(text: str) -> str:
    """Return a text with its control characters escaped, so that none reaches the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def seconds(value: float | None) -> str:
    """Return a duration for people: ``0.2s``, ``12.4s``, ``3m 5s``, ``3h 12m``, ``2d 4h``."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.1f}s"
    whole = int(value)
    for unit, size, smaller, small in (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size}{unit} {rest}{smaller}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def age(moment: datetime | None) -> str:
    """Return the time since a moment, for people."""
    return "" if moment is None else seconds(max(0.0, (datetime.now(UTC) - moment).total_seconds()))
