"""What the rounds came to: medians, ratios within each round, verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from benchmarks.machine import Machine
from benchmarks.peers.catalogue import LIMITS, OURS, Entry
from benchmarks.peers.running import Line, Taken
from benchmarks.result import Better
from benchmarks.targets import PEER_TARGETS, PeerTarget, met

FIGURES: dict[str, tuple[str, str, Better]] = {
    "one_by_one": ("one by one", "jobs/s", "higher"),
    "submitters_100": ("100 submitters", "jobs/s", "higher"),
    "batch_stored": ("batch, stored", "jobs/s", "higher"),
    "batch": ("batch, end to end", "jobs/s", "higher"),
    "p50": ("round trip p50", "ms", "lower"),
    "p99": ("round trip p99", "ms", "lower"),
    "chain": ("chain", "nodes/s", "higher"),
    "layered": ("layered 10×100", "nodes/s", "higher"),
    "fan": ("fan 1-2000-1", "nodes/s", "higher"),
}
"""What is shown, its unit, and which way is better."""
NOT_MEASURED = "not measured"
SCENARIO_OF = {"batch_stored": "batch", "p50": "rounds", "p99": "rounds"}
"""Figures that are not named as their scenario is."""


class Cell(Struct, frozen=True):
    """A figure over the rounds. Without a median: ``why`` there is none."""

    median: float | None = None
    values: tuple[float, ...] = ()
    jobs: int = 0
    why: str = ""


class Row(Struct, frozen=True):
    """A library with one of its settings: its promises, and its figures by name."""

    name: str
    title: str
    about: str
    promise: tuple[str, str, str, str]
    cells: dict[str, Cell]
    requirements: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    """All that was installed with it."""


class Verdict(Struct, frozen=True):
    """A target with what was measured; ``value`` None: one of the two was not."""

    target: PeerTarget
    value: float | None
    must: bool | None
    aim: bool | None


class Report(Struct, frozen=True):
    """All of it: what is written as JSON, and what a page is made of. The page needs no single ``runs``.

    ``load``: the least and the most of the system's, as runs began.
    """

    machine: Machine
    date: str
    quick: bool
    rounds: int
    load: tuple[float, float]
    rows: Sequence[Row]
    verdicts: Sequence[Verdict]
    runs: Sequence[Taken] = ()


def summarize(
    machine: Machine,
    date: str,
    entries: Iterable[Entry],
    runs: Sequence[Taken],
    versions: Mapping[str, tuple[str, ...]],
    *,
    quick: bool,
) -> Report:
    """Put the rounds together. Entries without any run are rows, too."""
    rows = [_row(entry, [run for run in runs if run.entry == entry.name], versions) for entry in entries]
    return Report(
        machine=machine,
        date=date,
        quick=quick,
        rounds=1 + max((run.round for run in runs), default=-1),
        load=(min((run.load for run in runs), default=0), max((run.load for run in runs), default=0)),
        rows=rows,
        verdicts=judge(runs),
        runs=runs,
    )


def _row(entry: Entry, runs: Sequence[Taken], versions: Mapping[str, tuple[str, ...]]) -> Row:
    cells = {name: _cell(name, [run.line for run in runs if run.line.scenario == _scenario(name)]) for name in FIGURES}
    return Row(
        entry.name,
        entry.title,
        entry.peer.about,
        entry.promise,
        cells,
        entry.peer.requirements,
        versions.get(entry.peer.name, ()),
    )


def _scenario(figure: str) -> str:
    return SCENARIO_OF.get(figure, figure)


def _cell(name: str, lines: Sequence[Line]) -> Cell:
    """The median of the rounds that have it, or the first reason why none has."""
    values = tuple(line.figures[name] for line in lines if name in line.figures)
    if values:
        return Cell(statistics.median(values), values, max(line.jobs for line in lines))
    whys = [f"cannot: {line.cannot}" for line in lines if line.cannot]
    whys += ["cannot: a submit does not wait until it is stored" for line in lines if line.figures]
    whys += [f"failed: {line.failed}" for line in lines if line.failed]
    return Cell(why=whys[0] if whys else NOT_MEASURED)


# -- against one another


def judge(runs: Sequence[Taken]) -> list[Verdict]:
    """Compare with the targets: the ratio within each round, and the median of these."""
    return [_verdict(target, _ratio(runs, target)) for target in PEER_TARGETS]


def judged_again(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Compare what was measured earlier with the targets of today."""
    values = {_measured(verdict.target): verdict.value for verdict in verdicts}
    return [_verdict(target, values.get(_measured(target))) for target in PEER_TARGETS]


def _measured(target: PeerTarget) -> tuple[object, ...]:
    return target.figure, target.synchronous, target.peers, target.against


def _verdict(target: PeerTarget, value: float | None) -> Verdict:
    return Verdict(target, value, met(target.better, value, target.must), met(target.better, value, target.aim))


def _ratio(runs: Sequence[Taken], target: PeerTarget) -> float | None:
    against = target.against or (target.figure,)
    ratios: list[float] = []
    for number in sorted({run.round for run in runs}):
        ours = _median(runs, number, f"{OURS} {target.synchronous}", target.figure)
        theirs = [_median(runs, number, peer, figure) for peer in target.peers for figure in against]
        found = [value for value in theirs if value]
        if ours is None or not found:
            continue
        ratios.append(ours / (max(found) if target.better == "higher" else min(found)))
    return statistics.median(ratios) if ratios else None


def _median(runs: Iterable[Taken], number: int, entry: str, figure: str) -> float | None:
    """The median of a round, in which asyncjobs has several turns."""
    values = [
        run.line.figures[figure]
        for run in runs
        if run.round == number and run.entry == entry and figure in run.line.figures
    ]
    return statistics.median(values) if values else None


def wins(report: Report, figure: str, *, synced: bool = False) -> list[Row]:
    """The libraries that were faster in this than asyncjobs with the better of its two settings.

    :param synced: compare only what syncs each commit: those libraries, and asyncjobs with FULL.
    """
    better = FIGURES[figure][2]
    rows = [row for row in report.rows if is_synced(row) or not synced]
    known = [value for row in rows if is_ours(row) and (value := row.cells[figure].median) is not None]
    if not known:
        return []
    best = max(known) if better == "higher" else min(known)
    return [
        row
        for row in rows
        if is_library(row)
        and (value := row.cells[figure].median) is not None
        and (value > best if better == "higher" else value < best)
    ]


def is_library(row: Row) -> bool:
    """Whether a row is of another library: neither asyncjobs nor a limit."""
    return not is_ours(row) and not is_limit(row)


def is_ours(row: Row) -> bool:
    """Whether a row is of asyncjobs."""
    return row.name.startswith(f"{OURS} ")


def is_synced(row: Row) -> bool:
    """Whether each commit is synced to the disk before it is acknowledged."""
    return row.promise[0].startswith("synced")


def is_limit(row: Row) -> bool:
    """Whether a row is no library, but what none can be above."""
    return row.name.startswith(f"{LIMITS} ")
