"""The same work for each job library, and the clock: only the standard library, since every environment runs it.

An adapter says how its library does the work. What it cannot do, it refuses with a reason, which becomes a row. A
scenario begins with a few jobs, and takes more in further runs until one is long enough, or of the full size; so the
slow ones are measured with fewer jobs.

Where a library tells of results one by one, the clock stops when the last 32 jobs that were submitted have ended. A
sample of the others is looked at afterwards, off the clock. That is in favour of the other libraries: for asyncjobs,
all results are awaited.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.shapes import Parents, chain, fan, layered

SLOTS = 32
SUBMITTERS = 100
PATIENCE = 30.0
"""Seconds in which a library must have its worker ready, or end a job."""
SCENARIOS = ("one_by_one", "submitters_100", "batch", "rounds", "chain", "layered", "fan")
_SAMPLE = 50
_PILOT = 50
"""A pilot takes one in so many of the jobs of a scenario."""


class CannotDoError(Exception):
    """The library has nothing for this; the text says what is missing."""


class Surroundings:
    """What an adapter is given, by way of the environment, which its worker inherits."""

    def __init__(self) -> None:
        self.folder = Path(os.environ.get("PEER_FOLDER", "."))
        self.url = os.environ.get("PEER_URL", "")
        self.variant = os.environ.get("PEER_VARIANT", "")

    def tuned(self) -> bool:
        """The fastest durable settings that the library documents, instead of its defaults."""
        return self.variant == "tuned"


class Adapter:
    """What a library does; the defaults refuse.

    ``worker``: the command of a process that runs the jobs, if that is how the library is used.
    """

    worker: ClassVar[Sequence[str]] = ()
    all_results: ClassVar[bool] = False
    """Whether to await all results, and not the last ones."""
    stores: ClassVar[bool] = True
    """Whether a job is stored when its submit returns."""

    async def open(self) -> None:
        """Connect, or start what runs in this process."""

    async def close(self) -> None:
        """Undo ``open``."""

    async def submit(self, value: int) -> Any:
        """Store a job that returns the value, and return what its result is asked by."""
        raise NotImplementedError

    async def result(self, handle: Any) -> object:
        """Return the result of a job, once it is there."""
        raise NotImplementedError

    async def submit_batch(self, values: range) -> list[Any]:
        """Store many jobs in one call."""
        raise CannotDoError("no call stores many jobs at once")

    async def run_graph(self, parents: Parents) -> None:
        """Run jobs after their parents, until all have ended."""
        raise CannotDoError("no graph of jobs")

    async def submit_from_many(self, values: range) -> list[Any]:
        """Store jobs from 100 submitters, each of which awaits its submit before the next."""
        left = iter(values)
        handles: list[Any] = []

        async def submitter() -> None:
            for value in left:
                handle = await self.submit(value)
                handles.append(handle)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SUBMITTERS):
                tasks.create_task(submitter())
        return handles

    async def ended(self, handles: Sequence[Any]) -> None:
        """Wait until these jobs have ended."""
        if not self.all_results:
            handles = handles[-SLOTS:]
        await asyncio.gather(*(self.result(handle) for handle in handles))


class BlockingAdapter(Adapter):
    """A library whose calls block their thread: a hundred submitters are a hundred threads."""

    def submit_now(self, value: int) -> Any:
        """Store a job."""
        raise NotImplementedError

    def result_now(self, handle: Any) -> object:
        """Return the result of a job, once it is there."""
        raise NotImplementedError

    async def submit(self, value: int) -> Any:
        return self.submit_now(value)

    async def result(self, handle: Any) -> object:
        return self.result_now(handle)

    async def submit_from_many(self, values: range) -> list[Any]:
        with ThreadPoolExecutor(SUBMITTERS) as threads:
            return list(threads.map(self.submit_now, values))


# -- a library, ready


@asynccontextmanager
async def ready(adapter: Adapter) -> AsyncGenerator[None]:
    """A library that has run a few jobs, and its worker, if it has one, which ends with SIGTERM."""
    await adapter.open()
    worker = _start(adapter.worker) if adapter.worker else None
    try:
        await _warm(adapter, worker)
        yield
        await adapter.close()
    finally:
        if worker is not None:
            _stop(worker)


async def _warm(adapter: Adapter, worker: subprocess.Popen[bytes] | None) -> None:
    """Run a few jobs; a worker that has ended meanwhile will not run them."""
    warming = asyncio.ensure_future(_warm_up(adapter))
    until = time.monotonic() + 2 * PATIENCE
    while not (await asyncio.wait([warming], timeout=0.2))[0]:
        if worker is not None and worker.poll() is not None:
            raise RuntimeError(f"its worker ended with {worker.returncode}")
        if time.monotonic() > until:
            raise TimeoutError("it has not run its first jobs")
    await warming


async def _warm_up(adapter: Adapter) -> None:
    began = time.perf_counter()
    for value in range(10):
        await adapter.result(await adapter.submit(value))
        if time.perf_counter() - began > 2:
            return


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *command])


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(5)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


# -- the scenarios


class Measured:
    """Figures by name, and how many jobs they are of."""

    def __init__(self, jobs: int, **figures: float) -> None:
        self.jobs = jobs
        self.figures = figures


class Budget:
    """``seconds`` that a scenario should take, and the share of the full sizes, for a quick run."""

    def __init__(self, seconds: float, share: float) -> None:
        self.seconds = seconds
        self.share = share

    def size(self, full: int) -> int:
        """The most jobs of a scenario whose full size this is."""
        return max(10, int(full * self.share))

    def next_size(self, jobs: int, took: float, full: int) -> int:
        """How many jobs to take after a run of so many; as many, if there is no need of more.

        Where each job waits for a poll, few jobs say little about many: so it grows threefold at least, and eightfold
        at most, until a run takes more than half of the seconds.
        """
        if jobs >= full or took > 0.6 * self.seconds:
            return jobs
        return min(full, int(jobs * max(3.0, min(8.0, self.seconds / max(took, 1e-9)))))


Once = Callable[[int], Awaitable[Measured]]


async def _sized(once: Once, full: int, pilot: int, budget: Budget) -> Measured:
    """Take runs that grow, until one is long enough: that one counts."""
    size = min(pilot, full)
    while True:
        began = time.perf_counter()
        measured = await once(size)
        larger = budget.next_size(size, time.perf_counter() - began, full)
        if larger <= size:
            return measured
        size = larger


async def measure(adapter: Adapter, scenario: str, budget: Budget) -> Measured:
    """Run one scenario.

    :raises CannotDoError: the library has nothing for it.
    """
    once, full, pilot = _scenario(adapter, scenario, budget)
    return await _sized(once, full, pilot, budget)


def _scenario(adapter: Adapter, scenario: str, budget: Budget) -> tuple[Once, int, int]:
    """What runs so many jobs of it, the most of them, and how many a pilot takes."""
    jobs = {"one_by_one": 3_000, "submitters_100": 10_000, "batch": 20_000, "rounds": 1_500}
    runs = {"one_by_one": _one_by_one, "submitters_100": _submitters, "batch": _batch, "rounds": _rounds}
    if scenario in runs:
        full = budget.size(jobs[scenario])
        return (lambda count: runs[scenario](adapter, count)), full, max(5, full // _PILOT)
    shapes: dict[str, tuple[Callable[[int], Parents], int, int]] = {
        "chain": (chain, 500, 20),
        "layered": (lambda width: layered(10, width, 3), 100, 20),
        "fan": (fan, 2_000, 100),
    }
    shape, full, pilot = shapes[scenario]
    return (lambda count: _graph(adapter, scenario, shape(count))), full, pilot


async def _one_by_one(adapter: Adapter, jobs: int) -> Measured:
    began = time.perf_counter()
    handles = [await adapter.submit(value) for value in range(jobs)]
    stored = time.perf_counter() - began
    await adapter.ended(handles)
    took = time.perf_counter() - began
    await _look_at_some(adapter, handles)
    return _with_stored(adapter, Measured(jobs, one_by_one=jobs / took, one_by_one_stored=jobs / stored))


async def _submitters(adapter: Adapter, jobs: int) -> Measured:
    began = time.perf_counter()
    handles = await adapter.submit_from_many(range(jobs))
    await adapter.ended(handles)
    took = time.perf_counter() - began
    await _look_at_some(adapter, handles)
    return Measured(jobs, submitters_100=jobs / took)


async def _batch(adapter: Adapter, jobs: int) -> Measured:
    began = time.perf_counter()
    handles = await adapter.submit_batch(range(jobs))
    stored = time.perf_counter() - began
    await adapter.ended(handles)
    took = time.perf_counter() - began
    await _look_at_some(adapter, handles)
    return _with_stored(adapter, Measured(jobs, batch=jobs / took, batch_stored=jobs / stored))


def _with_stored(adapter: Adapter, measured: Measured) -> Measured:
    """Leave out how fast jobs are stored, where a submit does not wait for that."""
    kept = {name: value for name, value in measured.figures.items() if adapter.stores or not name.endswith("_stored")}
    return Measured(measured.jobs, **kept)


async def _rounds(adapter: Adapter, jobs: int) -> Measured:
    rounds: list[float] = []
    for value in range(jobs):
        began = time.perf_counter()
        await adapter.result(await adapter.submit(value))
        rounds.append(1e3 * (time.perf_counter() - began))
    ordered = sorted(rounds)
    return Measured(jobs, p50=statistics.median(ordered), p99=ordered[min(jobs - 1, int(jobs * 0.99))])


async def _graph(adapter: Adapter, name: str, parents: Parents) -> Measured:
    began = time.perf_counter()
    await adapter.run_graph(parents)
    return Measured(len(parents), **{name: len(parents) / (time.perf_counter() - began)})


async def _look_at_some(adapter: Adapter, handles: Sequence[Any]) -> None:
    """Have some results that were not awaited before, so that jobs that were lost do not look fast."""
    unread = [] if adapter.all_results else list(handles[:-SLOTS])
    some = random.Random(7).sample(unread, min(_SAMPLE, len(unread)))
    await asyncio.wait_for(asyncio.gather(*(adapter.result(handle) for handle in some)), PATIENCE)
