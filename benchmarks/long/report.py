"""What the parts came to: for a terminal, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.long.parts import PARTS
from benchmarks.long.work import Size
from benchmarks.machine import Machine
from benchmarks.report import aligned, number, verdict_row
from benchmarks.result import Figure
from benchmarks.scale_targets import LONG_TARGETS
from benchmarks.targets import Verdict, judge


class Taken(Struct, frozen=True):
    """A part with what it told; ``failed``: why it told no more."""

    part: str
    seconds: float
    load: float
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    failed: str = ""


class Report(Struct, frozen=True):
    """All of it: what is written as JSON, and what a page is made of."""

    machine: Machine
    date: str
    size: Size
    taken: Sequence[Taken]

    @property
    def verdicts(self) -> list[Verdict]:
        """The targets with what was measured."""
        found = {f"{run.part}.{figure.name}": figure.value for run in self.taken for figure in run.figures}
        return judge(found, {}, LONG_TARGETS)


def text(report: Report) -> str:
    """For people at a terminal."""
    lines = ["", _header(report)]
    for run in report.taken:
        if run.figures:
            lines += ["", *aligned([("figure", "measured", "unit", "better"), *_rows(run, f"{run.part}.")])]
        lines += _remarks(run)
    return "\n".join([*lines, "", *aligned(_targets(report))])


def markdown(report: Report) -> str:
    """A page: a table for each part, and the targets."""
    parts = [_header(report)]
    for run in report.taken:
        parts.append(f"## {PARTS[run.part].about[0].upper()}{PARTS[run.part].about[1:]}")
        if run.figures:
            parts.append(_table([("figure", "measured", "unit", "better"), *_rows(run)]))
        parts += _remarks(run)
    parts += ["## Targets", _table(_targets(report))]
    return "\n\n".join(parts) + "\n"


def write(report: Report, path: Path) -> None:
    """Write the page."""
    path.write_text(markdown(report), encoding="utf-8")


def _header(report: Report) -> str:
    machine, size = report.machine, report.size
    minutes = sum(run.seconds for run in report.taken) / 60
    return (
        f"Measured on {report.date} in {minutes:.0f} minutes{', quick: rough' if size.quick else ''}: "
        f"{machine.system}, {machine.cores} cores, Python {machine.python}, SQLite {machine.sqlite}, "
        f"revision {machine.revision}, load average before {machine.load[0]:.1f}; {size.jobs:,} jobs, "
        f"{size.minutes:g} minutes of retention."
    )


def _rows(run: Taken, before: str = "") -> list[tuple[str, ...]]:
    return [(before + each.name, number(each.value), each.unit, each.better) for each in run.figures]


def _remarks(run: Taken) -> list[str]:
    return [*run.notes, *([f"FAILED after {run.seconds:.0f} s: {run.failed}"] if run.failed else [])]


def _targets(report: Report) -> list[tuple[str, ...]]:
    return [("target", "what", "measured", "must", "met", "aim", "met"), *map(verdict_row, report.verdicts)]


def _table(table: Sequence[tuple[str, ...]]) -> str:
    rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([rows[0], "|" + "---|" * len(table[0]), *rows[1:]])
