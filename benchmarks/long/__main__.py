"""``python -m benchmarks.long``: what shows only after a long time, each part in a process of its own."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec import json

from benchmarks.long.parts import PARTS
from benchmarks.long.report import Report, Taken, text, write
from benchmarks.long.running import take
from benchmarks.long.work import Size
from benchmarks.machine import ROOT, machine

FIGURES = ROOT / "docs" / "figures" / "long.json"
_RESULTS = ROOT / "benchmarks" / "results"
_ALL = 60.0
"""Minutes that everything together may take."""
_OTHERS = 15.0
"""Minutes of these for storing, for starts and for daemons; the drain gets what retention leaves of the rest."""
_GIGABYTE = 1e9


@click.command(epilog="Parts: " + "; ".join(f"{name} ({entry.about})" for name, entry in PARTS.items()))
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)), metavar="[PART]…")
@click.option("--quick", is_flag=True, help="100,000 jobs and a minute of retention: about two minutes, rough.")
@click.option("--jobs", type=click.IntRange(10_000, 100_000_000), help="To be drained. Default: 10,000,000.")
@click.option("--minutes", type=click.FloatRange(0.1, 1_000), help="Of retention. Default: 10.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Default: benchmarks/results/.")
@click.option("--markdown", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page.")
@click.option("--docs", is_flag=True, help="Keep it for docs/explanation/performance.md, too.")
@click.option(
    "--from",
    "earlier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: take what was written as JSON.",
)
def main(
    parts: tuple[str, ...],
    quick: bool,
    jobs: int | None,
    minutes: float | None,
    output: Path | None,
    page: Path | None,
    docs: bool,
    earlier: Path | None,
) -> None:
    """Run PARTS (default: all), print progress and what came of them."""
    if earlier is not None:
        report = json.decode(earlier.read_bytes(), type=Report)
    else:
        minutes = minutes or (1.0 if quick else 10.0)
        longest = 60 * max(5.0, _ALL - _OTHERS - minutes)
        size = Size(jobs or (100_000 if quick else 10_000_000), minutes, longest, quick)
        names = [name for name in PARTS if name in parts or not parts]
        _check_disk(names, size)
        report = _measure(names, size)
        _save(report, output or _RESULTS / f"long-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")
    click.echo(text(report))
    if page is not None:
        write(report, page)
    if docs:
        _keep(report)
    if any(run.failed for run in report.taken):
        sys.exit(1)


def _check_disk(names: list[str], size: Size) -> None:
    """Parts run one after the other, and each cleans up."""
    folder = tempfile.gettempdir()
    free, needed = shutil.disk_usage(folder).free, max(PARTS[name].disk(size) for name in names)
    if needed > free:
        raise click.ClickException(
            f"up to {needed / _GIGABYTE:.0f} GB of disk are needed, and {folder} has {free / _GIGABYTE:.0f}: "
            "name another folder as TMPDIR, or fewer JOBS"
        )


def _measure(names: list[str], size: Size) -> Report:
    before, date = machine(), f"{datetime.now(UTC):%Y-%m-%d}"
    taken: list[Taken] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # the first is ignored where a shell runs this in the background
        signal.signal(number, signal.default_int_handler)
    try:
        for name in names:
            take(name, size, taken.append)
    except KeyboardInterrupt:
        click.echo("interrupted: this is what was measured until then", err=True)
    return Report(before, date, size, taken)


def _keep(report: Report) -> None:
    """Save it for the page, unless a part was interrupted, or not run."""
    if missing := ", ".join(PARTS.keys() - {run.part for run in report.taken}):
        raise click.ClickException(f"not kept for the page, because not all was measured: {missing}")
    _save(report, FIGURES)


def _save(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.format(json.encode(report), indent=1) + b"\n")
    click.echo(f"written: {path}", err=True)


if __name__ == "__main__":
    main()
