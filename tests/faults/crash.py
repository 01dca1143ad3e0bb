"""The crash run: lives of a program on one file, each ended by SIGKILL, with a look at the file after each."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from msgspec import Struct

from tests.faults import checker
from tests.faults.children import PATIENCE, Child, Silent
from tests.faults.plans import Submission, plan


class Run(Struct):
    """What a run was like."""

    problems: list[str]
    kills: dict[str, int]
    starts: list[float]
    openings: list[float]
    jobs: int = 0
    attempts: int = 0
    interruptions: int = 0
    seconds: float = 0.0


def crash_run(
    folder: Path,
    seed: int,
    stops: dict[str, int],
    *,
    size: int = 500,
    defect: str = "",
    earliest: int = 1,
    give_up_at_once: bool = False,
) -> Run:
    """Kill the program as often as ``stops`` says, at which points; then let it end its graph, and look at all of it.

    :param earliest: the first time at a point at which it is killed there; the last one is the thirtieth.
    :param give_up_at_once: stop at the first contradiction of the witnesses.
    """
    rng = Random(seed)
    path, ledger_path = folder / "crash.db", folder / "crash.ledger"
    order = [point for point, count in stops.items() for _ in range(count)]
    rng.shuffle(order)
    run = Run([], dict.fromkeys(stops, 0), [], [])
    told = Told(seed, size)
    before: list[checker.EventRow] = []
    began = time.monotonic()
    for point in [*order, None]:
        n = rng.randint(earliest, 30)
        last = told.graph if point is None else 1_000_000
        stop = point if point in ("begin", "before-commit", "after-commit", "body") else "-"
        arguments = (path, seed, size, told.graph, told.windows, last, stop, n)
        with Child("tests.faults.crash_program", *arguments, ledger=ledger_path, defect=defect) as child:
            child.patience = 3 if defect else PATIENCE
            ends, ended = 0, False
            try:
                while (line := child.line()) is not None:
                    if line[0] == "opened":
                        run.starts.append(time.monotonic() - child.started)
                        run.openings.append(float(line[1]))
                    ends += line[0] == "end"
                    told.hear(line)
                    if line[0] == "point" or (point == "progress" and ends == n):
                        break
                else:
                    ended = True
                    if child.end() != 0 or point is not None:
                        run.problems.append(f"the program ended by itself ({child.end()}): {child.errors()}")
            except Silent as silent:
                run.problems.append(str(silent))
            if not ended:
                child.kill()
                for line in child.rest():
                    told.hear(line)
                if point is not None:
                    run.kills[point] += 1
        stored = checker.read_store(checker.copy_of(path, folder))
        ledger = checker.read_ledger(ledger_path)
        problems = [
            *checker.check_told(stored, told.acknowledged, told.batches()),
            *checker.check_log(stored, before),
            *checker.check_ran(stored, ledger),
            *checker.check_order(stored, ledger),
        ]
        if point is None:
            problems += checker.check_end(stored)
        run.problems += [f"life {len(run.starts)}, {point} {n}: {problem}" for problem in problems]
        if (problems and give_up_at_once) or (run.problems and ended):
            break  # a program that stands still (some defects make it) tells nothing yet: it is killed, and goes on
        before = stored.events
        run.jobs = len(stored.jobs)
        run.attempts = sum(event.type == "started" for event in stored.events)
        run.interruptions = sum(job.interruptions for job in stored.jobs.values())
    run.seconds = time.monotonic() - began
    return run


class Told:
    """What the client was told, and where it has to go on."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.size = size
        self.graph = 0
        self.windows = 0
        self.acknowledged: list[str] = []
        self._answered: set[tuple[int, int, int]] = set()
        self._plans: dict[int, list[list[Submission]]] = {}

    def _plan(self, graph: int) -> list[list[Submission]]:
        if graph not in self._plans:
            self._plans[graph] = plan(self.seed, graph, self.size, str)
        return self._plans[graph]

    def hear(self, line: list[str]) -> None:
        if line[0] == "drained":
            self.graph, self.windows = int(line[1]) + 1, 0
        if line[0] != "ack":
            return
        graph, w, s = (int(word) for word in line[1:])
        self.graph = graph
        self._answered.add((graph, w, s))
        window = self._plan(graph)[w]
        self.acknowledged += [job.id for job in window[s].jobs]
        self.windows = w + all((graph, w, i) in self._answered for i in range(len(window)))

    def batches(self) -> list[list[str]]:
        return [
            [job.id for job in submission.jobs]
            for graph in range(self.graph + 1)
            for window in self._plan(graph)
            for submission in window
            if submission.batch
        ]
