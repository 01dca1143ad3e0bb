"""``python -m benchmarks.child SCENARIO``: one run, alone in this process, on a folder that goes with it."""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
from pathlib import Path

import click
from msgspec import json

from benchmarks.result import Place, Result
from benchmarks.scenarios import SCENARIOS

PROFILE_LINES = 30


@click.command()
@click.argument("name", type=click.Choice(list(SCENARIOS)))
@click.option("--quick", is_flag=True)
@click.option("--profile", is_flag=True)
def main(name: str, quick: bool, profile: bool) -> None:
    """Print the result as one line of JSON; with --profile, where the time of this thread goes."""
    with tempfile.TemporaryDirectory(prefix="asyncjobs-bench-") as folder:
        place = Place(Path(folder), quick)
        if profile:
            _profiled(name, place)
        else:
            sys.stdout.buffer.write(json.encode(SCENARIOS[name].run(place)) + b"\n")


def _profiled(name: str, place: Place) -> None:
    profiler = cProfile.Profile()
    result: Result = profiler.runcall(SCENARIOS[name].run, place)
    for figure in result.figures:
        print(f"{name}.{figure.name} = {figure.value:,.4g} {figure.unit} (slowed down by the profiler)")
    statistics = pstats.Stats(profiler, stream=sys.stdout)
    statistics.strip_dirs().sort_stats("tottime").print_stats(PROFILE_LINES)


if __name__ == "__main__":
    main()
