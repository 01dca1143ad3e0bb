"""One library, one round: its processes, the lines that they print, and the time limits."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from msgspec import DecodeError, Struct, ValidationError, field, json

from benchmarks.machine import ROOT
from benchmarks.peers.catalogue import LIMITS, Entry


class Line(Struct, frozen=True):
    """What a scenario came to: figures; or that the library cannot do it, or failed at it, and why."""

    scenario: str
    jobs: int = 0
    figures: dict[str, float] = field(default_factory=dict[str, float])
    cannot: str = ""
    failed: str = ""


class Taken(Struct, frozen=True):
    """A scenario of a library in one round."""

    round: int
    entry: str
    line: Line
    load: float


class Settings(Struct, frozen=True):
    """``seconds`` that a scenario should take, and the ``share`` of its full size.

    ``longest``: the seconds after which a scenario is given up, to which ``starting`` are added for the first one of a
    process; ``longest_of_all``: those after which no other process of a library is begun in this round.
    """

    seconds: float
    share: float
    scenarios: tuple[str, ...]
    longest: float
    longest_of_all: float
    starting: float = 40.0

    @classmethod
    def of(cls, seconds: float, share: float, scenarios: tuple[str, ...]) -> Settings:
        """Derive the limits from the seconds."""
        return cls(seconds, share, scenarios, 20 + 5 * seconds, 30 + 15 * seconds)


def parse(text: bytes) -> Line:
    """Read a line of a library's program; what is none becomes a failure."""
    try:
        return json.decode(text, type=Line)
    except (DecodeError, ValidationError):
        return Line("", failed=f"said something else: {text[:80].decode(errors='replace')}")


def take(entry: Entry, python: str, address: str, settings: Settings, log: Path) -> Generator[Line]:
    """Run the scenarios of a library, each once.

    What takes too long is ended, and the scenarios after it are run by a new process.
    """
    left = list(settings.scenarios)
    began = time.monotonic()
    while left:
        if time.monotonic() - began > settings.longest_of_all:
            yield from (Line(scenario, failed="no time was left") for scenario in left)
            return
        for line in _process(entry, python, address, settings, left, log):
            yield line
            left.remove(line.scenario)


def _process(
    entry: Entry, python: str, address: str, settings: Settings, scenarios: Sequence[str], log: Path
) -> Generator[Line]:
    """One process. What it had begun when it ended, or had to be ended, has failed; all, if none was over by then."""
    program = "benchmarks.peers.limits" if entry.peer.name == LIMITS else "benchmarks.peers.drive"
    command = [python, "-m", program, entry.peer.name, str(settings.seconds), str(settings.share), *scenarios]
    left, scenarios = list(scenarios), list(scenarios)
    with tempfile.TemporaryDirectory(prefix="asyncjobs-peers-", ignore_cleanup_errors=True) as folder:
        around = {"PEER_FOLDER": folder, "PEER_URL": address, "PEER_VARIANT": entry.variant}
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **around},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        try:
            for line in _lines(process, settings):
                if line.scenario not in left:
                    continue
                left.remove(line.scenario)
                yield line
                if not left:
                    return
            longest = settings.longest + (settings.starting if left == scenarios else 0)
            why = _ending(process, longest, log)
            for scenario in left if left == scenarios else left[:1]:
                yield Line(scenario, failed=why)
        finally:
            _end(process)


def _lines(process: subprocess.Popen[bytes], settings: Settings) -> Generator[Line]:
    """Lines as they come, until there are no more, or none for too long."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        rest, longest = b"", settings.starting + settings.longest
        while selector.select(longest):
            longest = settings.longest
            found = os.read(descriptor, 65_536)
            if not found:
                return
            *lines, rest = (rest + found).split(b"\n")
            yield from map(parse, lines)


def _ending(process: subprocess.Popen[bytes], longest: float, log: Path) -> str:
    """Say why there are no more lines: the last of what it wrote, or that it took too long."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        return f"took longer than {longest:.0f} s"
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exited with {process.returncode}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and what it has started: all of that is in its group."""
    if process.stdout is not None:
        process.stdout.close()
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
