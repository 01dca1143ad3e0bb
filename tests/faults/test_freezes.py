"""Processes that stand still: stopped, held up by a lock, or by one call into C. What is taken from them, what is not.

A busy event loop is in ``test_killers.py``, a body that kills its worker each time too; the wall clock in
``tests/runtime/test_scheduler_wall_clock.py``; a file that is deleted or replaced in ``test_moved.py``.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from asyncjobs import DaemonConfig, JobProcessor, JobStatus, RetryPolicy, SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.testing import ManualClock
from tests.faults import bodies, checker, storm_bodies
from tests.faults.children import Child
from tests.faults.stores import new_job
from tests.faults.storm import Heard, first_of, freeze
from tests.faults.storm_stores import InFile
from tests.faults.test_locked import Holder

SCENARIOS = "tests.faults.storm_scenarios"
LEASE = 0.9

pytestmark = [pytest.mark.slow, pytest.mark.untraced]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def pipes(tmp_path: Path) -> Callable[[str], Path]:
    """Named pipes for the attempts of a body; whoever opens and closes one lets that attempt go on."""

    def make(name: str) -> Path:
        for attempt in (1, 2):
            os.mkfifo(tmp_path / f"{name}{attempt}")
        return tmp_path / name

    return make


def let_go(pipe: Path, attempt: int) -> None:
    with open(f"{pipe}{attempt}", "w"):
        pass


def frozen_outside(child: Child, path: Path) -> None:
    while not freeze(child, InFile(path)):
        pass


def thaw(child: Child) -> None:
    child.process.send_signal(signal.SIGCONT)


async def submit(path: Path, function: Callable[..., object], *args: object, job_id: str) -> None:
    """As another program does, which runs nothing."""
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        retry = RetryPolicy(base=0.0)
        await jp.submit_job(function, args=args, job_id=job_id, retry=retry, max_interruptions=99)
        jp._submitted = 0


async def drained(path: Path) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.drain()


# -- a process that is stopped for longer than its lease


def test_a_zombie_is_refused_everything_and_goes_on_with_new_work(
    path: Path, ledger: Path, pipes: Callable[[str], Path]
) -> None:
    pipe = pipes("pipe")
    with Child(SCENARIOS, "run", path, LEASE, ledger=ledger) as zombie:
        take_the_job(zombie, path, pipe)
        with Child(SCENARIOS, "run", path, LEASE, ledger=ledger) as other:
            become_a_zombie(zombie, other, path, pipe)
            assert zombie.until("refused", "job") == ["1", "JobStateError"]
            assert zombie.until("recorded", "job", "1") == ["Stale"]
            let_go(pipe, 2)
            other.until("recorded", "job", "2")
            other.say("leave")
            assert other.end() == 0, other.errors()
        anyio.run(partial(submit, path, bodies.nothing, job_id="new"))
        zombie.until("recorded", "new", "1")
        zombie.say("leave")
        assert zombie.end() == 0, zombie.errors()
    stored = checker.read_store(path)
    assert checker.check_log(stored) == []
    assert said_by(stored) == {"output": [2], "progress": [2], "child": ["job/of-2"]}
    assert (stored.by_id["job"].attempt, stored.by_id["job"].interruptions) == (2, 1)


def test_without_the_fence_a_zombie_is_believed(path: Path, ledger: Path, pipes: Callable[[str], Path]) -> None:
    """The seeded defect that shows that the test before would see it."""
    pipe = pipes("pipe")
    with Child(SCENARIOS, "run", path, LEASE, ledger=ledger, defect="no_fencing") as zombie:
        take_the_job(zombie, path, pipe)
        with Child(SCENARIOS, "run", path, LEASE, ledger=ledger, defect="no_fencing") as other:
            become_a_zombie(zombie, other, path, pipe)
            assert zombie.until("recorded", "job", "1") == ["JobStatus"]
    assert said_by(checker.read_store(path)) == {"output": [1], "progress": [1], "child": ["job/of-1"]}


def take_the_job(daemon: Child, path: Path, pipe: Path) -> None:
    daemon.until("opened")
    anyio.run(partial(submit, path, storm_bodies.say_everything, str(pipe), job_id="job"))
    assert daemon.until("started") == ["job", "1"]


def become_a_zombie(zombie: Child, other: Child, path: Path, pipe: Path) -> None:
    """It is stopped with its job, which the other takes over; then it goes on, and so does its body."""
    other.until("opened")
    frozen_outside(zombie, path)
    assert other.until("started") == ["job", "2"]
    thaw(zombie)
    let_go(pipe, 1)


def said_by(stored: checker.Stored) -> dict[str, list[object]]:
    """What bodies of the job said, by the attempt that they gave for it."""
    return {
        "output": [event.data["attempt"] for event in stored.events if event.type == "output"],
        "progress": [event.data["done"] for event in stored.events if event.type == "progress"],
        "child": [job_id for job_id in stored.by_id if job_id.startswith("job/")],
    }


# -- a process that is stopped inside a transaction


async def stopped_inside(child: Child) -> None:
    await anyio.to_thread.run_sync(child.until, "opened")
    child.say("submit")
    await anyio.to_thread.run_sync(os.waitpid, child.pid, os.WUNTRACED)


@pytest.mark.anyio
@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
async def test_stopped_inside_a_transaction(path: Path, ledger: Path, end: signal.Signals) -> None:
    """Writers wait, and are told by whom they are held up; readers go on; afterwards all do."""
    async with JobProcessor(SQLiteConfig(db_path=path, busy_timeout=0.3), enable_daemon=False) as jp:
        await jp.submit_job(bodies.nothing, job_id="before")
        with Child(SCENARIOS, "stop_in_transaction", path, ledger=ledger) as stopped:
            await stopped_inside(stopped)
            assert (await jp.get_job("before")).status is JobStatus.PENDING
            with pytest.raises(BackendConnectionError, match=rf"locked for 0.3 s by pid {stopped.pid} \("):
                await jp.submit_job(bodies.nothing)
            assert [event.job_id for event in (await jp.backend.read_events()).events] == ["before"]
            async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as patient:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(submit_patiently, patient)
                    assert (await patient.get_job("before")).status is JobStatus.PENDING
                    stopped.process.send_signal(end)
                patient._submitted = 0
            if end is signal.SIGCONT:
                await anyio.to_thread.run_sync(stopped.until, "stored", "inside")
        ids = {"before", "patient"} | ({"inside"} if end is signal.SIGCONT else set())
        assert {job.id for job in await jp.find_jobs()} == ids
        jp._submitted = 0


async def submit_patiently(jp: JobProcessor) -> None:
    await jp.submit_job(bodies.nothing, job_id="patient")


# -- nobody can write for two leases


@pytest.mark.first
def test_a_long_lock_is_not_taken_for_death(path: Path, ledger: Path, pipes: Callable[[str], Path]) -> None:
    """Nobody can renew while somebody else holds the file; neither those who waited nor a newcomer reap then."""
    jobs = {name: pipes(name) for name in ("a", "b")}
    holder = Holder(path, ledger)
    with Child(SCENARIOS, "serve", path, LEASE, 1, ledger=ledger) as first:
        first.until("opened")
        with Child(SCENARIOS, "serve", path, LEASE, 1, ledger=ledger) as second:
            second.until("opened")
            for name, pipe in jobs.items():
                anyio.run(partial(submit, path, bodies.read_line, str(pipe), job_id=name))
            for child in (first, second):
                child.until("started")
            anyio.run(holder.hold)
            time.sleep(2 * LEASE)
            with Child(SCENARIOS, "serve", path, LEASE, 4, ledger=ledger) as newcomer:
                time.sleep(LEASE / 2)  # enough for it to come to the lock
                anyio.run(holder.let_go)
                newcomer.until("opened")
                time.sleep(LEASE)  # three looks for the dead, of each
                for pipe in jobs.values():
                    let_go(pipe, 1)
                anyio.run(drained, path)
                for child in (first, second, newcomer):
                    child.say("leave")
                    assert child.end() == 0, child.errors()
    holder.close()
    stored = checker.read_store(path)
    assert checker.check_everything(stored, checker.read_ledger(ledger)) == []
    assert [(job.attempt, job.interruptions) for job in stored.jobs.values()] == [(1, 0), (1, 0)]


@pytest.mark.anyio
async def test_a_newcomer_buries_nobody_by_the_lease_alone(path: Path) -> None:
    """It has not seen yet whether anybody could have renewed; its first beat that is on time may."""
    clock = ManualClock()
    async with SQLiteBackend(SQLiteConfig(db_path=path), clock=clock) as backend:
        worker = await backend.register_worker(NewWorker(name="held up", slots=1, lease=15))
        await backend.enqueue_jobs([new_job("job")])
        await backend.dequeue_jobs(ClaimRequest(worker=worker, limit=1, functions=frozenset({"tests:work"})))
        clock.advance(16)
        idle = DaemonConfig(queues=("nothing comes here",))
        async with JobProcessor(SQLiteConfig(db_path=path), clock=clock, daemon=idle) as jp:
            assert (await jp.get_job("job")).status is JobStatus.IN_PROGRESS
            assert await backend.reap(expired=False) == ()
            assert list(await backend.reap()) == ["job"]


# -- one call into C that keeps the GIL


@pytest.mark.first
def test_a_call_that_keeps_the_gil_beyond_the_lease(path: Path, ledger: Path) -> None:
    """Not even the heartbeat's thread runs: that process is taken for dead, and what it brings late is refused."""
    with Child(SCENARIOS, "run", path, LEASE, ledger=ledger) as holder:
        holder.until("opened")
        anyio.run(partial(submit, path, storm_bodies.keep_the_gil, 4 * LEASE, job_id="job"))
        assert holder.until("started") == ["job", "1"]
        with Child(SCENARIOS, "run", path, LEASE, ledger=ledger) as other:
            other.until("opened")
            assert other.until("recorded", "job", "2") == ["JobStatus"]
            assert holder.until("recorded", "job", "1") == ["Stale"]
            for child in (holder, other):
                child.say("leave")
                assert child.end() == 0, child.errors()
    stored = checker.read_store(path)
    assert checker.check_everything(stored, checker.read_ledger(ledger)) == []
    assert (stored.by_id["job"].attempt, stored.by_id["job"].interruptions) == (2, 1)


# -- how long it takes


@pytest.mark.first
@pytest.mark.parametrize(("how", "lease", "limit"), [("SIGKILL", 15.0, 1.0), ("SIGSTOP", LEASE, 2 * LEASE)])
def test_the_time_until_another_daemon_has_the_job(
    path: Path, ledger: Path, how: str, lease: float, limit: float
) -> None:
    """A job that does not end wanders from one daemon to the next. Killed: noticed at once; stopped: by the lease."""
    children = [Heard(SCENARIOS, "serve", path, lease, 1, ledger=ledger) for _ in range(5)]
    try:
        for child in children:
            child.until("opened")
        anyio.run(partial(submit, path, bodies.wait_for_ever, job_id="job"))
        living, seconds = list(children), []
        holder = first_of(living, "started")
        while len(living) > 1:
            living.remove(holder)
            time.sleep(random.uniform(0, 0.5))  # out of step with how often they look
            if how == "SIGKILL":
                holder.kill()
            else:
                frozen_outside(holder, path)
            began = time.monotonic()
            holder = first_of(living, "started")
            seconds.append(time.monotonic() - began)
    finally:
        for child in children:
            child.__exit__(None, None, None)
    print(f"seconds from {how} to the next attempt: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}")
    assert checker.check_log(checker.read_store(path)) == []
    assert max(seconds) < limit + 1, "a second for a machine that is busy"
