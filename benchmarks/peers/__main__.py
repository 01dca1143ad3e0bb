"""``python -m benchmarks.peers``: libraries and asyncjobs in turns, and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec import json
from msgspec.structs import replace

from benchmarks.machine import ROOT, machine
from benchmarks.peers.catalogue import OURS, PEERS, Entry, entries, limits, ours
from benchmarks.peers.document import write
from benchmarks.peers.harness import SCENARIOS
from benchmarks.peers.rounds import Rounds
from benchmarks.peers.running import Settings
from benchmarks.peers.summary import NOT_MEASURED, Report, summarize
from benchmarks.peers.table import text

FIGURES = ROOT / "docs" / "figures" / "peers.json"
_RESULTS = ROOT / "benchmarks" / "results"
_NAMES = [peer.name for peer in PEERS]


@click.command(epilog="Libraries: " + ", ".join(f"{peer.name} ({peer.title})" for peer in PEERS))
@click.argument("peers", nargs=-1, type=click.Choice(_NAMES), metavar="[LIBRARY]…")
@click.option("--quick", is_flag=True, help="One round with few jobs: a few minutes, rough.")
@click.option("--rounds", type=click.IntRange(1, 100), help="At most; medians are over these. Default: 5, quick 1.")
@click.option("--minutes", default=38.0, show_default=True, help="No round begins that would not be over by then.")
@click.option("--scenario", "scenarios", multiple=True, type=click.Choice(SCENARIOS), help="Only these.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Default: benchmarks/results/.")
@click.option(
    "--markdown", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page, and its charts."
)
@click.option("--docs", is_flag=True, help="Keep it for docs/explanation/performance.md, too.")
@click.option(
    "--from",
    "earlier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: take what was written as JSON.",
)
def main(
    peers: tuple[str, ...],
    quick: bool,
    rounds: int | None,
    minutes: float,
    scenarios: tuple[str, ...],
    output: Path | None,
    page: Path | None,
    docs: bool,
    earlier: Path | None,
) -> None:
    """Measure LIBRARIES (default: all) and asyncjobs in turns, and compare with the targets."""
    if earlier is not None:
        report = json.decode(earlier.read_bytes(), type=Report)
    else:
        settings = Settings.of(1.0 if quick else 2.0, 0.3 if quick else 1.0, scenarios or SCENARIOS)
        chosen = [entry for entry in entries() if not peers or entry.peer.name in peers]
        report = _measure(chosen, settings, rounds or (1 if quick else 5), minutes, quick)
        _save(report, output or _RESULTS / f"peers-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")
    click.echo(text(report))
    if page is not None:
        write(report, page)
    if docs:
        _keep(report)
    if any(run.line.failed for run in report.runs if run.entry.startswith(f"{OURS} ")):
        sys.exit(1)


def _measure(chosen: list[Entry], settings: Settings, rounds: int, minutes: float, quick: bool) -> Report:
    before = machine()
    with ExitStack() as stack:
        taking = Rounds(settings, chosen, stack)
        try:
            for number in _while_there_is_time(rounds, minutes):
                taking.take(number)
        except KeyboardInterrupt:
            click.echo("interrupted: this is what was measured until then", err=True)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    return summarize(before, date, [*limits(), *ours(), *chosen], taking.runs, taking.versions, quick=quick)


def _while_there_is_time(rounds: int, minutes: float) -> Iterator[int]:
    """The numbers of rounds, until another one as long as the longest would take too long."""
    began = time.monotonic()
    longest = 0.0
    for number in range(rounds):
        since = time.monotonic()
        if since - began + longest > 60 * minutes:
            click.echo(f"{number} rounds: there is no time for another", err=True)
            return
        yield number
        longest = max(longest, time.monotonic() - since)


def _keep(report: Report) -> None:
    """Save what the page needs, unless it would lack something: of an interrupted run, or of a few libraries."""
    rows = (row.title for row in report.rows if any(cell.why == NOT_MEASURED for cell in row.cells.values()))
    if missing := ", ".join(rows):
        raise click.ClickException(f"not kept for the page, because not all was measured: {missing}")
    _save(replace(report, runs=()), FIGURES)


def _save(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.format(json.encode(report), indent=1) + b"\n")
    click.echo(f"written: {path}", err=True)


if __name__ == "__main__":
    main()
