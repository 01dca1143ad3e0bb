"""``python -m benchmarks.choices``: what a user can choose, and what that brings: ratios of pairs that take turns.

Each run is a process of its own on a fresh file. Python of a newer version and uvloop come from environments of their
own, with the same versions of all else; where there is none, there is no figure.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from msgspec import Struct, json

from benchmarks.jobs import SLOTS, processor
from benchmarks.machine import ROOT, Machine, machine
from benchmarks.peers.catalogue import Peer, Promise
from benchmarks.peers.environments import NotInstalledError, python_of
from benchmarks.report import aligned
from benchmarks.result import Synchronous
from benchmarks.scenarios.rounds import round_trips
from benchmarks.scenarios.throughput import batch, one_by_one, submitters

FIGURES = ROOT / "docs" / "figures" / "choices.json"
SHOWN = {"one_by_one": "one by one", "submitters_100": "100 submitters", "batch": "batch", "p50": "round trip p50"}
_UVLOOP = "uvloop==0.22.1"
_NEEDED = ("anyio", "networkx", "aiosqlite", "msgspec", "click")
_NEWER = ("python3.14", "python3.13")


class Setting(Struct, frozen=True, omit_defaults=True):
    """What a run is done with."""

    slots: int = SLOTS
    synchronous: Synchronous = "NORMAL"
    uvloop: bool = False
    collect: bool = True
    newer: bool = False


CHOICES: dict[str, tuple[str, Setting, Setting]] = {
    "slots": ("as many slots as submitters: `num_workers=128` instead of 32", Setting(), Setting(slots=128)),
    "full": ('`synchronous="FULL"` instead of `NORMAL`', Setting(), Setting(synchronous="FULL")),
    "newer": ("a newer Python", Setting(), Setting(newer=True)),
    "uvloop": ("uvloop instead of the loop of asyncio", Setting(), Setting(uvloop=True)),
    "gc": ("`gc.disable()`: no collection of garbage", Setting(), Setting(collect=False)),
}
"""What it is called, and the settings without and with it."""


class Choice(Struct, frozen=True):
    """Ratios of what was measured with it to what was measured without, by figure: medians over the pairs."""

    name: str
    title: str
    ratios: dict[str, float]
    why: str = ""


class Choices(Struct, frozen=True):
    """All of them; what is written as JSON. ``ways``: rates of the other ways to submit, divided by one by one."""

    machine: Machine
    date: str
    pairs: int
    quick: bool
    newer: str
    choices: Sequence[Choice]
    ways: dict[str, float]


# -- one run


async def run(setting: Setting, folder: Path, share: float) -> dict[str, float]:
    """Measure all figures with a setting."""
    async with processor(folder, synchronous=setting.synchronous, slots=setting.slots) as jp:
        if not setting.collect:
            gc.disable()
        found = [
            *await one_by_one(jp, int(3_000 * share)),
            *await submitters(jp, int(10_000 * share)),
            *await batch(jp, int(20_000 * share)),
        ]
        rounds = await round_trips(jp, int(1_500 * share))
    figures = {figure.name: figure.value for figure in found}
    return {**{name: figures[name] for name in SHOWN if name in figures}, "p50": 1e3 * statistics.median(rounds)}


def _child(setting: Setting, share: float) -> None:
    factory: Any = importlib.import_module("uvloop").new_event_loop if setting.uvloop else None
    with tempfile.TemporaryDirectory(prefix="asyncjobs-choices-") as folder, asyncio.Runner(loop_factory=factory) as it:
        sys.stdout.buffer.write(json.encode(it.run(run(setting, Path(folder), share))) + b"\n")


# -- pairs


class Pythons:
    """The Python of each setting, made when it is asked for."""

    def __init__(self, newer: str | None) -> None:
        self.newer = newer or next((found for name in _NEWER if (found := shutil.which(name))), None)
        if self.newer is not None and _version(self.newer) <= _version(sys.executable):
            self.newer = None

    def of(self, setting: Setting) -> str:
        """Return it.

        :raises NotInstalledError: there is none here.
        """
        wanted = tuple(f"{name}=={version(name)}" for name in _NEEDED)
        if setting.newer:
            if self.newer is None:
                raise NotInstalledError("no newer Python here")
            name = f"python{'.'.join(map(str, _version(self.newer)))}"
            return python_of(Peer(name, name, wanted, _NONE), self.newer)
        if setting.uvloop:
            return python_of(Peer("uvloop", "uvloop", (*wanted, _UVLOOP), _NONE))
        return sys.executable


_NONE = Promise("", "", "", "")


def _version(python: str) -> tuple[int, ...]:
    command = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    return tuple(map(int, subprocess.run(command, capture_output=True, check=True).stdout.split()))


def measure(setting: Setting, python: str, share: float) -> dict[str, float]:
    """Run a process with a setting."""
    command = [python, "-m", "benchmarks.choices", "--child", json.encode(setting).decode(), "--share", str(share)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=300)
    return json.decode(done.stdout.splitlines()[-1], type=dict[str, float])


def take(
    names: Sequence[str], pairs: int, share: float, pythons: Pythons
) -> Iterator[tuple[Choice, list[dict[str, float]]]]:
    """Measure each choice, without and with it in turns; with each, what was measured without it."""
    for name in names:
        title, without, with_it = CHOICES[name]
        click.echo(f"{title} …", err=True)
        try:
            paths = pythons.of(without), pythons.of(with_it)
        except NotInstalledError as error:
            yield Choice(name, title, {}, str(error)), []
            continue
        before: list[dict[str, float]] = []
        ratios: dict[str, list[float]] = {figure: [] for figure in SHOWN}
        for _ in range(pairs):
            before.append(measure(without, paths[0], share))
            after = measure(with_it, paths[1], share)
            for figure, found in ratios.items():
                found.append(after[figure] / before[-1][figure])
        yield Choice(name, title, {figure: statistics.median(found) for figure, found in ratios.items()}), before


def ways(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return how much more jobs go through with the other ways to submit, than one by one."""
    return {
        figure: statistics.median(run[figure] / run["one_by_one"] for run in runs)
        for figure in ("submitters_100", "batch")
        if runs
    }


# -- what is shown


def table(found: Choices) -> list[tuple[str, ...]]:
    """Return a row for each choice."""
    rows = [
        (_title(found, choice), *(f"{choice.ratios[name]:.2f} ×" if choice.ratios else "–" for name in SHOWN))
        for choice in found.choices
    ]
    return [("choice", *SHOWN.values()), *rows]


def _title(found: Choices, choice: Choice) -> str:
    if choice.name != "newer" or not found.newer:
        return choice.title
    return f"Python {found.newer} instead of {found.machine.python.rpartition('.')[0]}"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CHOICES)), metavar="[CHOICE]…")
@click.option("--quick", is_flag=True, help="One pair of each, with few jobs.")
@click.option("--pairs", type=click.IntRange(1, 100), help="Medians are over these. Default: 5, quick 1.")
@click.option("--newer", help="The newer Python. Default: python3.14 or python3.13, if there is one.")
@click.option("--docs", is_flag=True, help="Keep it for docs/explanation/performance.md, too.")
@click.option("--child", hidden=True)
@click.option("--share", hidden=True, default=1.0)
def main(
    names: tuple[str, ...],
    quick: bool,
    pairs: int | None,
    newer: str | None,
    docs: bool,
    child: str | None,
    share: float,
) -> None:
    """Measure what CHOICES (default: all) bring."""
    if child is not None:
        _child(json.decode(child, type=Setting), share)
        return
    if docs and names:
        raise click.UsageError("--docs wants all choices.")
    before, pythons = machine(), Pythons(newer)
    count = pairs or (1 if quick else 5)
    taken = list(take(names or list(CHOICES), count, 0.3 if quick else 1.0, pythons))
    found = Choices(
        machine=before,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        pairs=count,
        quick=quick,
        newer=".".join(map(str, _version(pythons.newer))) if pythons.newer else "",
        choices=[choice for choice, _ in taken],
        ways=ways([run for _, runs in taken for run in runs]),
    )
    click.echo("\n".join(aligned(table(found))))
    for figure, ratio in found.ways.items():
        click.echo(f"{SHOWN[figure]}: {ratio:.2f} × the rate of one by one")
    if docs:
        FIGURES.write_bytes(json.format(json.encode(found), indent=1) + b"\n")


if __name__ == "__main__":
    main()
