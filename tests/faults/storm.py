"""The storm: several daemons on one store, killed and frozen while they run random graphs, and a client that is killed.

Each life of a daemon has a fate, drawn with the seed: it dies at a point of its commits, in a body, or after so many
bodies; or it is frozen after so many, for longer than its lease. A daemon that died is started again at once.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from msgspec import Struct, field

from tests.faults import checker
from tests.faults.children import PATIENCE, Child, first_words
from tests.faults.crash import Told
from tests.faults.storm_stores import StormStore

PROGRAM = "tests.faults.storm_program"
ANYWHERE = ("body", "-")
"""Where daemons die beside the points of a commit; "-": wherever they are after so many bodies."""


class Weather(Struct, frozen=True, kw_only=True):
    """How bad it is. ``pause`` is what a body takes on average, in seconds."""

    kills: int
    freezes: int
    client_kills: int = 0
    graphs: int = 1
    size: int = 500
    daemons: int = 4
    slots: int = 4
    lease: float = 3.0
    pause: float = 0.15
    defect: str = ""
    patience: float = PATIENCE
    """Seconds without a word of anybody after which the run is given up."""
    longest: float = 600.0
    """Seconds after which it is given up anyway: some defects make a daemon talk for ever."""
    points: tuple[str, ...] | None = None
    """Where daemons die. Default: at the points of the store's commits, and anywhere."""
    patient: bool = False
    """Whether jobs may be interrupted as often as it comes."""


class Storm(Struct):
    """What came of it."""

    problems: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    freezes: int = 0
    stale: int = 0
    jobs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    interruptions: int = 0
    faults: Counter[int] = field(default_factory=Counter)
    """Faults of their clients that daemons have met, by process."""
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{sum(self.kills.values())} kills {dict(self.kills)}, {self.freezes} freezes ({self.stale} late outcomes "
            f"refused), {self.jobs} jobs {dict(self.statuses)}, {self.attempts} attempts, {self.interruptions} "
            f"interruptions, {sum(self.faults.values())} faults, {self.seconds:.1f} s"
        )


class Heard(Child):
    """A child that is one of several to be listened to."""

    def fileno(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def lines(self) -> list[list[str]] | None:
        """What it has said, once it can be read; None: it has ended."""
        data = os.read(self.fileno(), 65_536)
        whole, _, self._buffer = (self._buffer + data).rpartition(b"\n")
        return [line.decode().split() for line in whole.splitlines()] if data else None


class _Life(Struct):
    """A daemon's process, and what is to become of it: ``left`` bodies until ``fate`` (kill, freeze or none)."""

    child: Heard
    fate: str
    left: int
    frozen_until: float | None = None


def storm(store: StormStore, folder: Path, seed: int, weather: Weather) -> Storm:
    """Let it rage, let the rest of the jobs come to their end, and look at everything."""
    conductor = _Conductor(store, folder, seed, weather)
    began = time.monotonic()
    try:
        conductor.run()
    finally:
        conductor.end()
    conductor.look()
    conductor.came.seconds = time.monotonic() - began
    return conductor.came


class _Conductor:
    def __init__(self, store: StormStore, folder: Path, seed: int, weather: Weather) -> None:
        self.store, self.ledger = store, folder / "storm.ledger"
        self.seed, self.weather, self.rng = seed, weather, Random(seed)
        self.told = Told(seed, weather.size)
        self.came = Storm()
        self.troubled: set[int] = set()
        self.over = False
        self.fates = ["kill"] * weather.kills + ["freeze"] * weather.freezes + ["client"] * weather.client_kills
        self.rng.shuffle(self.fates)
        self.client = self._start_client()
        self.lives = [self._start() for _ in range(weather.daemons)]

    # -- processes

    def _child(self, *arguments: object) -> Heard:
        return Heard(PROGRAM, *arguments, ledger=self.ledger, defect=self.weather.defect)

    def _start_client(self) -> Heard:
        weather, told = self.weather, self.told
        how = "patient" if weather.patient else "-"
        return self._child(
            "client", self.store.argument, self.seed, weather.size, weather.pause, how, told.graph, told.windows
        )

    def _start(self) -> _Life:
        fate = self._next_fate()
        points = self.weather.points or (*self.store.points, *ANYWHERE)
        point = self.rng.choice(points) if fate == "kill" else "-"
        n = self.rng.randint(1, 12)
        weather = self.weather
        child = self._child("daemon", self.store.argument, weather.lease, weather.slots, point, n)
        # One that does not come to its point dies after so many bodies: an idle daemon commits nothing.
        return _Life(child, fate, n if point == "-" else 4 * n)

    def _next_fate(self) -> str:
        return self.fates.pop() if self.fates else "none"

    # -- what happens

    def run(self) -> None:
        end = time.monotonic() + self.weather.longest
        deadline = time.monotonic() + self.weather.patience
        while not self.over:
            now = time.monotonic()
            if now > min(deadline, end):
                why = "took too long" if now > end else f"said nothing for {self.weather.patience:g} s"
                self.came.problems.append(f"it did not come to its end: its processes {why}")
                self._ask_where_they_stand()
                return
            for life in self.lives:
                if life.frozen_until is not None and life.frozen_until < now:
                    self._thaw(life)
            children = {life.child.fileno(): life for life in self.lives}
            readable, _, _ = select.select([*children, self.client.fileno()], [], [], 0.1)
            if readable:
                deadline = time.monotonic() + self.weather.patience
            if self.client.fileno() in readable and not self._hear_client():
                return
            for number in readable:
                if number in children and not self._hear(children[number]):
                    return

    def _hear(self, life: _Life) -> bool:
        """What a daemon says. False: it ended, and should not have."""
        lines = life.child.lines()
        if lines is None:
            self.came.problems.append(f"a daemon ended by itself ({life.child.end()}): {life.child.errors()}")
            return False
        self.came.stale += len(first_words(lines, "stale"))
        for (count,) in first_words(lines, "faults"):
            self.came.faults[life.child.pid] = int(count)
        if points := first_words(lines, "point"):
            self._kill(life, points[0][0])
            return True
        life.left -= len(first_words(lines, "end"))
        if life.left <= 0:
            self._meet(life)
        return True

    def _meet(self, life: _Life) -> None:
        match life.fate:
            case "kill":
                self._kill(life, "progress")
            case "freeze":
                self._freeze(life)
            case "client":
                self._kill_client()
                self._go_on(life)
            case _:
                self._go_on(life)

    def _go_on(self, life: _Life) -> None:
        life.fate, life.left = self._next_fate(), self.rng.randint(1, 12)

    def _kill(self, life: _Life, point: str) -> None:
        life.child.kill()
        self._gone(life.child)
        self.came.kills[point] += 1
        self.lives.remove(life)
        self.lives.append(self._start())

    def _gone(self, child: Child) -> None:
        self.troubled.add(child.pid)
        for line in child.rest():
            if child is self.client:
                self.told.hear(line)
        child.__exit__(None, None, None)

    def _freeze(self, life: _Life) -> None:
        """SIGSTOP, outside of a transaction: inside of one, a stopped process stops every writer."""
        self.troubled.add(life.child.pid)
        alone = all(other.frozen_until is None for other in self.lives)  # somebody must be awake to see it
        if alone and freeze(life.child, self.store):
            life.frozen_until = time.monotonic() + 1.7 * self.weather.lease + self.store.tolerance
            self.came.freezes += 1
            self._go_on(life)
        else:
            life.left = 1

    def _thaw(self, life: _Life) -> None:
        life.child.process.send_signal(signal.SIGCONT)
        life.frozen_until = None

    def _kill_client(self) -> None:
        self.client.kill()
        self._gone(self.client)
        self.came.kills["client"] += 1
        self.client = self._start_client()

    def _hear_client(self) -> bool:
        lines = self.client.lines()
        if lines is None:
            self.came.problems.append(f"the client ended by itself ({self.client.end()}): {self.client.errors()}")
            return False
        for line in lines:
            self.told.hear(line)
            if line[0] == "drained":
                self.over = self.told.graph >= self.weather.graphs and self._calm()
                self.client.say("enough" if self.over else "more")
        return True

    def _calm(self) -> bool:
        """Whether all that was to happen has happened."""
        return not self.fates and all(life.fate == "none" and life.frozen_until is None for life in self.lives)

    def _ask_where_they_stand(self) -> None:
        """Have each process write down where its tasks wait."""
        for life in self.lives:
            frozen = " and is frozen" if life.frozen_until is not None else ""
            print(f"daemon {life.child.pid} has {life.left} bodies left until its fate, {life.fate}{frozen}")
        for child in (self.client, *(life.child for life in self.lives)):
            child.process.send_signal(signal.SIGCONT)
            child.process.send_signal(signal.SIGUSR1)
            with suppress(AssertionError):
                child.until("stands")
        print(self.ledger.with_suffix(".stderr").read_text(errors="replace")[-200_000:])

    # -- afterwards

    def end(self) -> None:
        """Daemons leave in an orderly way, if all is well."""
        for child in (self.client, *(life.child for life in self.lives)):
            if self.over:
                child.process.send_signal(signal.SIGCONT)
                child.say("end")
                child.rest()
                if child.end() != 0:
                    self.came.problems.append(f"a process ended with {child.end()}: {child.errors()}")
            child.__exit__(None, None, None)

    def look(self) -> None:
        stored = self.store.read()
        ledger = checker.read_ledger(self.ledger)
        came = self.came
        came.problems += checker.check_told(stored, self.told.acknowledged, self.told.batches())
        came.problems += checker.check_log(stored)
        came.problems += checker.check_ran(stored, ledger)
        came.problems += checker.check_order(stored, ledger)
        came.problems += checker.check_interruptions(stored, ledger, self.troubled)
        came.problems += checker.check_end(stored)
        errors = self.ledger.with_suffix(".stderr").read_text(errors="replace")
        came.problems += [f"somebody read {word!r}: {errors}" for word in ("is locked", "Traceback") if word in errors]
        came.jobs = len(stored.jobs)
        came.statuses = Counter(str(job.status) for job in stored.jobs.values())
        came.attempts = sum(event.type == "started" for event in stored.events)
        came.interruptions = sum(job.interruptions for job in stored.jobs.values())


def freeze(child: Child, store: StormStore) -> bool:
    """Stop a process; False: somebody holds the write lock now, perhaps this very one, so it runs on."""
    child.process.send_signal(signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    if store.may_freeze():
        return True
    child.process.send_signal(signal.SIGCONT)
    return False


def first_of(children: Sequence[Heard], word: str) -> Heard:
    """The first of these that says this."""
    while True:
        readable, _, _ = select.select(children, [], [], PATIENCE)
        assert readable, f"nobody said {word!r}: {children[0].errors()}"
        for child in readable:
            if first_words(child.lines() or (), word):
                return child
