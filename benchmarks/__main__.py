"""``python -m benchmarks``: run scenarios in turns, each in a process of its own, and print what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec import json

from benchmarks import scenario_targets
from benchmarks.before import environment
from benchmarks.machine import ROOT, machine
from benchmarks.report import Taken, summarize, text
from benchmarks.result import Result
from benchmarks.scale_targets import BEFORE_TARGETS
from benchmarks.scenarios import SCENARIOS
from benchmarks.yardstick import QUICK, VARIANTS, run_yardstick

_LONGEST = 1_800
_AGAINST_BEFORE = {target.figure.partition(".")[0] for target in BEFORE_TARGETS}


@click.command(epilog="Scenarios: " + "; ".join(f"{name} ({entry.about})" for name, entry in SCENARIOS.items()))
@click.argument("scenarios", nargs=-1, type=click.Choice(list(SCENARIOS)), metavar="[SCENARIO]…")
@click.option("--quick", is_flag=True, help="Smaller sizes and one turn: under two minutes, rough.")
@click.option("--repeat", type=click.IntRange(1, 100), help="Turns; medians are over these. Default: 3, quick 1.")
@click.option(
    "--ceiling",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="ASYNCJOBS_CEILING",
    help="The yardstick's program, to be run beside (or ASYNCJOBS_CEILING).",
)
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="ASYNCJOBS_BEFORE",
    help="Another checkout: scenarios that have targets against it are run with its package, too, in turns.",
)
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write it all to this file.")
@click.option("--docs", is_flag=True, help="Keep the targets for docs/explanation/performance.md, too.")
@click.option("--profile", type=click.Choice(list(SCENARIOS)), help="Run this one under cProfile; nothing else.")
def main(
    scenarios: tuple[str, ...],
    quick: bool,
    repeat: int | None,
    ceiling: Path | None,
    before: Path | None,
    output: Path | None,
    docs: bool,
    profile: str | None,
) -> None:
    """Measure SCENARIOs (default: all), in turns, and compare with the targets."""
    if docs and scenarios:
        raise click.UsageError("--docs wants all scenarios.")
    if profile is not None:
        sys.exit(subprocess.run(_command(profile, quick, "--profile"), cwd=ROOT, check=False).returncode)
    names = [name for name, entry in SCENARIOS.items() if name in scenarios or not (scenarios or entry.named)]
    turns = repeat or (1 if quick else 3)
    here = machine()
    runs: list[Taken] = []
    try:
        for turn in range(turns):
            again = turn > 0 and repeat is None
            left = [name for name in names if not (again and SCENARIOS[name].once)]
            _take_turn(turn, left, quick, ceiling, before, runs)
    except KeyboardInterrupt:
        click.echo("interrupted: this is what was measured until then", err=True)
    beside = {name: SCENARIOS[name].beside for name in names}
    whole = all(name in names or entry.named for name, entry in SCENARIOS.items())
    report = summarize(here, runs, beside, quick=quick, repeat=turns, whole=whole)
    click.echo(text(report))
    if output is not None:
        output.write_bytes(json.format(json.encode(report), indent=1) + b"\n")
    if docs:
        found = scenario_targets.kept(report, f"{datetime.now(UTC):%Y-%m-%d}")
        scenario_targets.FIGURES.write_bytes(json.format(json.encode(found), indent=1) + b"\n")
    if any(run.failed for run in runs):
        sys.exit(1)


def _take_turn(
    turn: int, names: list[str], quick: bool, ceiling: Path | None, before: Path | None, runs: list[Taken]
) -> None:
    """Each scenario once, after it the same with the package before, and the yardstick's runs that measure the same,
    unless they were run already."""
    seen: set[str] = set()
    for name in names:
        runs.append(_measure(turn, name, quick))
        if before is not None and name in _AGAINST_BEFORE:
            runs.append(_measure(turn, name, quick, before))
        if ceiling is None:
            continue
        for variant in SCENARIOS[name].beside:
            if variant not in seen and (not quick or variant in QUICK):
                seen.add(variant)
                runs.append(_measure_yardstick(turn, variant, ceiling))


def _command(name: str, quick: bool, *options: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.child", name, *(["--quick"] if quick else []), *options]


def _measure(turn: int, name: str, quick: bool, before: Path | None = None) -> Taken:
    began = time.perf_counter()
    load = os.getloadavg()[0]
    result, failed = Result(()), None
    try:
        with environment(before) as around:
            done = subprocess.run(
                _command(name, quick), cwd=ROOT, env=around, stdout=subprocess.PIPE, check=True, timeout=_LONGEST
            )
        result = json.decode(done.stdout.splitlines()[-1], type=Result)
    except (subprocess.SubprocessError, IndexError) as error:
        failed = type(error).__name__
    seconds = time.perf_counter() - began
    return _told(Taken(turn, name, False, seconds, load, result.figures, result.notes, failed, before is not None))


def _measure_yardstick(turn: int, variant: str, program: Path) -> Taken:
    began = time.perf_counter()
    load = os.getloadavg()[0]
    try:
        figures = run_yardstick(program, VARIANTS[variant])
    except (subprocess.SubprocessError, IndexError) as error:
        return _told(Taken(turn, variant, True, time.perf_counter() - began, load, failed=type(error).__name__))
    return _told(Taken(turn, variant, True, time.perf_counter() - began, load, figures))


def _told(run: Taken) -> Taken:
    who = f"yardstick {run.scenario}" if run.yardstick else f"{run.scenario}, before" if run.before else run.scenario
    click.echo(f"turn {run.turn + 1}: {who}: {run.failed or f'{run.seconds:.1f} s'}", err=True)
    return run


if __name__ == "__main__":
    main()
