"""What of ``make bench`` the documentation shows: what was measured of the targets."""

from __future__ import annotations

from msgspec import Struct

from benchmarks.machine import ROOT, Machine
from benchmarks.report import Report, verdict_row
from benchmarks.scale_targets import BEFORE_TARGETS, SCALE_TARGETS
from benchmarks.targets import TARGETS, Target, verdict_of

FIGURES = ROOT / "docs" / "figures" / "bench.json"


class Kept(Struct, frozen=True):
    """What is kept of a run: by what is measured, its value."""

    machine: Machine
    date: str
    quick: bool
    turns: int
    values: dict[str, float]


def kept(report: Report, date: str) -> Kept:
    """Leave out all but the values of targets."""
    values = {_key(each.target): each.value for each in report.verdicts if each.value is not None}
    return Kept(report.machine, date, report.quick, report.repeat, values)


def table(found: Kept) -> list[tuple[str, ...]]:
    """Return a row for each target that was measured, judged by what is wanted today."""
    verdicts = [
        verdict_of(target, found.values.get(_key(target))) for target in (*TARGETS, *BEFORE_TARGETS, *SCALE_TARGETS)
    ]
    head = ("target", "what", "measured", "must", "met", "aim", "met")
    return [head, *(verdict_row(verdict) for verdict in verdicts if verdict.value is not None)]


def _key(target: Target) -> str:
    return f"{target.figure} ÷ {target.over}" if target.over else target.figure
