"""What was measured, put together and printed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from msgspec import Struct

from benchmarks.machine import Machine
from benchmarks.result import Figure
from benchmarks.scale_targets import BEFORE, BEFORE_TARGETS, LONG_TARGETS, SCALE_TARGETS
from benchmarks.targets import PEER_TARGETS, TARGETS, PeerTarget, Target, Verdict, judge, verdict_of

NOT_HERE = "not measured here"
_NAMED = {"crews": "bench-crewai", "sqs": "bench-sqs", "sqs-costs": "bench-sqs", "sqs-lag": "bench-sqs"}
"""What is run only if it is named, and by what."""


class Taken(Struct, frozen=True):
    """One run of a scenario (or of the yardstick: ``scenario`` is its variant, ``yardstick`` True).

    ``before``: with the package of the other checkout.
    """

    turn: int
    scenario: str
    yardstick: bool
    seconds: float
    load: float
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str | None = None
    before: bool = False


class Row(Struct, frozen=True):
    """A figure over all turns; ``spread`` is (largest - smallest) / median."""

    name: str
    unit: str
    better: str
    median: float
    spread: float
    values: tuple[float, ...]


class Ratio(Struct, frozen=True):
    """Ours divided by the yardstick's of the same turn, or by that of ``--before``; the median over the turns."""

    figure: str
    over: str
    median: float
    values: tuple[float, ...]


class Report(Struct, frozen=True):
    """All of it; what ``--json`` writes."""

    machine: Machine
    quick: bool
    repeat: int
    yardstick: bool
    rows: Sequence[Row]
    yardstick_rows: Sequence[Row]
    ratios: Sequence[Ratio]
    verdicts: Sequence[Verdict]
    runs: Sequence[Taken]
    whole: bool = False
    """Whether everything was run that need not be named."""


def summarize(
    machine: Machine,
    runs: Sequence[Taken],
    beside: dict[str, tuple[str, ...]],
    *,
    quick: bool,
    repeat: int,
    whole: bool = False,
) -> Report:
    """Medians, ratios within each turn, and verdicts. ``beside``: the yardstick's variants by scenario."""
    ratios = list(_ratios(runs, beside))
    rows = _rows(run for run in runs if not (run.yardstick or run.before))
    figures = {row.name: row.median for row in rows}
    by_name = {(ratio.figure, ratio.over): ratio.median for ratio in ratios}
    verdicts = judge(figures, by_name, [*TARGETS, *BEFORE_TARGETS, *SCALE_TARGETS])
    return Report(
        machine=machine,
        quick=quick,
        repeat=repeat,
        yardstick=any(run.yardstick for run in runs),
        rows=rows,
        yardstick_rows=_rows(run for run in runs if run.yardstick),
        ratios=ratios,
        verdicts=verdicts,
        runs=runs,
        whole=whole,
    )


def _rows(runs: Iterable[Taken]) -> list[Row]:
    figures: dict[str, list[Figure]] = {}
    for run in runs:
        for figure in run.figures:
            figures.setdefault(f"{run.scenario}.{figure.name}", []).append(figure)
    rows: list[Row] = []
    for name, taken in figures.items():
        values = tuple(figure.value for figure in taken)
        median = statistics.median(values)
        spread = (max(values) - min(values)) / abs(median) if median else 0.0
        rows.append(Row(name, taken[0].unit, taken[0].better, median, spread, values))
    return rows


def _ratios(runs: Sequence[Taken], beside: dict[str, tuple[str, ...]]) -> Iterable[Ratio]:
    yardsticks = {(run.turn, run.scenario, f.name): f.value for run in runs if run.yardstick for f in run.figures}
    before = {(run.turn, run.scenario, f.name): f.value for run in runs if run.before for f in run.figures}
    values: dict[tuple[str, str], list[float]] = {}

    def compare(figure: Figure, run: Taken, over: str, other: float | None) -> None:
        if other:
            values.setdefault((f"{run.scenario}.{figure.name}", over), []).append(figure.value / other)

    for run in runs:
        for figure in () if run.yardstick or run.before else run.figures:
            compare(figure, run, BEFORE, before.get((run.turn, run.scenario, figure.name)))
            for variant in beside.get(run.scenario, ()):
                other = yardsticks.get((run.turn, variant, figure.name))
                compare(figure, run, f"{variant}.{figure.name}", other)
    for (figure_name, over), taken in values.items():
        yield Ratio(figure_name, over, statistics.median(taken), tuple(taken))


# -- as text


def text(report: Report) -> str:
    """The report for people."""
    machine = report.machine
    load = ", ".join(f"{value:.2f}" for value in machine.load)
    lines = [
        f"{machine.system}, {machine.cores} cores, Python {machine.python}, SQLite {machine.sqlite}",
        f"revision {machine.revision}; load average before: {load}; turns: {report.repeat}"
        + ("; QUICK: smaller sizes, the figures are rough" if report.quick else ""),
        "",
        *_figures(report),
        "",
        *_targets(report),
    ]
    if not report.yardstick:
        lines += ["", "The yardstick was not run (--ceiling PATH): targets that are ratios to it are not judged."]
    busy = sum(run.load > 2 * machine.cores for run in report.runs)
    if busy:
        lines += [
            "",
            f"{busy} of {len(report.runs)} runs began at a load above {2 * machine.cores}: trust only ratios.",
        ]
    notes = dict.fromkeys(f"{run.scenario}: {note}" for run in report.runs for note in run.notes)
    failures = [f"FAILED {_who(run)}, turn {run.turn}: {run.failed}" for run in report.runs if run.failed]
    return "\n".join([*lines, *(["", *notes] if notes else []), *(["", *failures] if failures else [])])


def _who(run: Taken) -> str:
    return f"{run.scenario}, before" if run.before else run.scenario


def _figures(report: Report) -> list[str]:
    beside: dict[str, list[Ratio]] = {}
    for ratio in report.ratios:
        beside.setdefault(ratio.figure, []).append(ratio)
    table = [("figure", "median", "unit", "better", "spread", "÷ yardstick or before, of the same turn")]
    for row in report.rows:
        ratios = ", ".join(f"{ratio.median:.2f} {ratio.over.partition('.')[0]}" for ratio in beside.get(row.name, ()))
        spread = f"{100 * row.spread:.0f} %" if len(row.values) > 1 else ""
        table.append((row.name, number(row.median), row.unit, row.better, spread, ratios))
    for row in report.yardstick_rows:
        spread = f"{100 * row.spread:.0f} %" if len(row.values) > 1 else ""
        table.append((f"yardstick {row.name}", number(row.median), row.unit, row.better, spread, ""))
    return aligned(table)


def _targets(report: Report) -> list[str]:
    table = [("target", "", "measured", "must", "", "aim", "")]
    run = {run.scenario for run in report.runs}
    for verdict in report.verdicts:
        scenario = verdict.target.figure.partition(".")[0]
        if report.whole or verdict.value is not None or scenario in run:
            table.append(verdict_row(verdict, _missing(verdict.target, scenario in run)))
    if report.whole:
        others = [verdict_of(target, None) for target in LONG_TARGETS]
        table += [verdict_row(verdict, f"{NOT_HERE}: make bench-long") for verdict in others]
        table += [_peer_row(target) for target in PEER_TARGETS]
    return aligned(table)


def _missing(target: Target, run: bool) -> str:
    """Say why there is no value, if there is none."""
    if target.over is not None:
        return f"{NOT_HERE}: {'--before' if target.over == BEFORE else '--ceiling'} PATH"
    named = _NAMED.get(target.figure.partition(".")[0])
    return NOT_HERE if run or named is None else f"{NOT_HERE}: make {named}"


def _peer_row(target: PeerTarget) -> tuple[str, ...]:
    sign = "≥" if target.better == "higher" else "≤"
    wanted = (f"{sign} {number(target.must)}", "", f"{sign} {number(target.aim)}", "")
    return (target.number, target.what, f"{NOT_HERE}: make bench-peers", *wanted)


def verdict_row(verdict: Verdict, missing: str = NOT_HERE) -> tuple[str, ...]:
    """A line of the table of targets."""
    target = verdict.target
    value = missing if verdict.value is None else f"{number(verdict.value)} {target.unit}"
    sign = "≥" if target.better == "higher" else "≤"
    must = "" if target.must is None else f"{sign} {number(target.must)}"
    aim = "" if target.aim is None else f"{sign} {number(target.aim)}"
    return (target.number, target.what, value, must, _word(verdict.must), aim, _word(verdict.aim))


def _word(met: bool | None) -> str:
    return "" if met is None else "met" if met else "NOT MET"


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """A table for a terminal."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    right = {i for i in range(1, len(widths)) if table[0][i] in ("median", "measured", "spread")}
    lines = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


__all__ = ["TARGETS", "Report", "Taken", "number", "summarize", "text"]
