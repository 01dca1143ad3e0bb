"""Processes that die, are frozen, or are gone for good: who takes up what they held, when, and how it is counted."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.exceptions import JobExecutionError, WorkerLostError
from asyncjobs.host import this_process
from asyncjobs.models import JobStatus, OutcomeKind
from asyncjobs.processor import get_engine
from tests.faults import bodies, checker
from tests.faults.children import Child

SCENARIOS = "tests.faults.scenarios"
IDLE = DaemonConfig(queues=("nothing comes here",))
"""Looks for the dead, and runs nothing itself."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


# -- bodies that kill their process


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize(("killer", "code"), [("leave_at_once", 17), ("kill_the_process", -9), ("break_memory", -11)])
def test_a_job_that_kills_its_process_is_given_up(path: Path, ledger: Path, killer: str, code: int) -> None:
    """Three processes die of it; the fourth one fails it. Its backoff lets its neighbours complete meanwhile."""
    with Child(SCENARIOS, "submit", path, 1.0, killer, "killer", ledger=ledger) as child:
        assert child.end() == 0, child.errors()
    with Child(SCENARIOS, "submit", path, 0.0, "nothing", "n1", "n2", "n3", ledger=ledger) as child:
        assert child.end() == 0, child.errors()
    for _ in range(3):
        with Child(SCENARIOS, "drain", path, ledger=ledger) as child:
            assert child.end() == code, child.errors()
    with Child(SCENARIOS, "drain", path, "killer", "n1", "n2", "n3", ledger=ledger) as child:
        assert child.until("ended", "killer") == ["failed", "3", "3", "WorkerLostError"]
        for neighbour in ("n1", "n2", "n3"):
            assert child.until("ended", neighbour)[0] == "completed"
        assert child.end() == 0, child.errors()
    stored = checker.read_store(path)
    assert checker.check_log(stored) == []
    assert [line.attempt for line in checker.read_ledger(ledger)] == [1, 2, 3]
    job = stored.by_id["killer"]
    assert (job.failures, job.interruptions) == (0, 3)


# -- restart


@pytest.mark.anyio
async def test_interrupted_jobs_are_taken_up_at_open(path: Path, ledger: Path) -> None:
    """Not after the lease (15 s): the owner is gone from this host, and that can be seen."""
    with Child(SCENARIOS, "run", path, 15, "wait_for_ever", "job", ledger=ledger) as child:
        assert child.until("started") == ["job", "1"]
        child.kill()
    began = time.monotonic()
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=IDLE) as jp:
        job = await jp.get_job("job")
        opened = time.monotonic() - began
        assert (job.status, job.interruptions, job.failures) == (JobStatus.PENDING, 1, 0)
        (attempt, *_) = await get_engine(jp).backend.get_attempts("job")
        assert attempt.outcome is OutcomeKind.INTERRUPTED
    print(f"{opened:.3f} s after opening began")
    assert opened < 5, "not the 15 s of a lease"


@pytest.mark.slow
@pytest.mark.untraced
def test_the_time_from_death_to_the_next_attempt(path: Path, ledger: Path) -> None:
    """With the start of a process, and the backoff of a first interruption (no time at all by this policy)."""
    seconds: list[float] = []
    previous = Child(SCENARIOS, "run", path, 15, "wait_for_ever", "job", ledger=ledger)
    try:
        assert previous.until("started") == ["job", "1"]
        for attempt in (2, 3):
            previous.kill()
            began = time.monotonic()
            with previous:
                previous = Child(SCENARIOS, "run", path, 15, ledger=ledger)
            assert previous.until("started") == ["job", str(attempt)]
            seconds.append(time.monotonic() - began)
    finally:
        previous.__exit__(None, None, None)
    print("seconds from SIGKILL to the next attempt: " + ", ".join(f"{s:.2f}" for s in seconds))
    assert max(seconds) < 10, "not the 15 s of a lease; most of it is what Python takes to start on a busy machine"


def rewrite_worker(path: Path, **columns: Any) -> None:
    """Make the only registered worker of a file another one."""
    with closing(sqlite3.connect(path)) as connection:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        assert connection.execute(f"UPDATE workers SET {assignments} WHERE gone = 0", tuple(columns.values())).rowcount
        connection.commit()


@pytest.mark.anyio
@pytest.mark.parametrize("case", ["pid of another process", "another boot", "alive", "another host"])
async def test_who_is_taken_for_dead(path: Path, ledger: Path, case: str) -> None:
    """A process id that was given to another process since is no owner; what cannot be told is left to the lease."""
    with Child(SCENARIOS, "run", path, 60, "wait_for_ever", "job", ledger=ledger) as child:
        child.until("started")
        child.kill()
    me = this_process()
    if not me.start:
        pytest.skip("this system does not tell when a process started")
    match case:
        case "pid of another process":
            rewrite_worker(path, pid=os.getpid(), process_start=str(int(me.start) - 1))
        case "another boot":
            rewrite_worker(path, boot="another", pid=os.getpid(), process_start=me.start)
        case "alive":
            rewrite_worker(path, pid=os.getpid(), process_start=me.start)
        case _:
            rewrite_worker(path, host="another", pid_namespace="pid:[0]")
    dead = case in ("pid of another process", "another boot")
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=IDLE) as jp:
        job = await jp.get_job("job")
        assert (job.interruptions, job.attempt) == (1 if dead else 0, 1)
        assert (job.status is JobStatus.IN_PROGRESS) is not dead


@pytest.mark.anyio
async def test_local_jobs_whose_process_is_gone(path: Path, ledger: Path) -> None:
    """Nobody else has their callable: they end, with the reason, and what may go on goes on."""
    with Child(SCENARIOS, "local_jobs", path, ledger=ledger) as child:
        wanted = {("stored",), ("started", "running", "1"), ("started", "local-running", "1")}
        while wanted:
            wanted.discard(tuple(child.line() or ()))
        child.kill()
    daemon = DaemonConfig(queues=("default",))  # not the queue of the job that does not end
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=daemon, functions=[bodies.nothing]) as jp:
        for job_id in ("local", "local-running"):
            job = await jp.wait_for_job(job_id, timeout=2)
            assert job.status is JobStatus.FAILED
            with pytest.raises(JobExecutionError, match="the process that held this local callable is gone") as caught:
                await jp.handle(job_id)
            assert not isinstance(caught.value, WorkerLostError)
        assert (await jp.wait_for_job("after", timeout=2)).status is JobStatus.COMPLETED


# -- a loop that stands still


@pytest.mark.slow
@pytest.mark.untraced
def test_a_blocked_event_loop_loses_no_lease(path: Path, ledger: Path, tmp_path: Path) -> None:
    """The heartbeat is a thread: another process that looks for the dead, several leases long, finds nobody."""
    lease = 0.6
    os.mkfifo(tmp_path / "pipe1")
    with Child(SCENARIOS, "busy_loop", path, lease, tmp_path / "pipe", ledger=ledger) as busy:
        assert busy.until("started") == ["blocking", "1"]
        with Child(SCENARIOS, "reap_for", path, lease, 4 * lease, ledger=ledger) as reaper:
            assert reaper.until("reaped") == ["0"]
            assert reaper.end() == 0, reaper.errors()
        with (tmp_path / "pipe1").open("w"):
            pass
        assert busy.until("result") == ["blocking", "1"]
        assert busy.end() == 0, busy.errors()
    stored = checker.read_store(path)
    assert checker.check_everything(stored, checker.read_ledger(ledger)) == []
    assert stored.by_id["blocking"].interruptions == 0
