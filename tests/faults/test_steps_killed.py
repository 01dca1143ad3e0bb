"""Steps and SIGKILL: before, inside and behind the function, and at each point of the commit that keeps its value."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import JobProcessor, RetryPolicy, SQLiteBackend, SQLiteConfig, current_job
from tests.faults.children import PATIENCE, Child
from tests.faults.step_bodies import BEFORE, BODIES, INSIDE
from tests.faults.stores import Failpoint, full, io_error

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]

PROGRAM = "tests.faults.step_program"
RUNS = {BEFORE: 1, INSIDE: 2, "begin": 2, "before-commit": 2, "after-commit": 1}
"""How often the second step runs if the process is killed there: once more, unless its value is committed."""


def runs(ledger: Path) -> Counter[str]:
    """How often each step ran."""
    lines = [line.split() for line in ledger.read_text().splitlines()]
    return Counter(line[4] for line in lines if line[0] == "R")


def wait_for_point(child: Child, ledger: Path, point: str) -> None:
    """Wait until it stands still there: it tells so, or writes it where a process of its own can."""
    if point not in (BEFORE, INSIDE):
        child.until("point", point)
        return
    until = time.monotonic() + PATIENCE
    while not ledger.exists() or f" {point}\n" not in ledger.read_text():
        assert time.monotonic() < until, child.errors()
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("point", RUNS)
@pytest.mark.parametrize(("body", "isolation"), [*((body, "thread") for body in BODIES), ("async", "process")])
def test_what_was_committed_is_not_done_again_and_all_else_is(
    tmp_path: Path, body: str, isolation: str, point: str
) -> None:
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    with Child(PROGRAM, "one", path, body, isolation, point, ledger=ledger) as child:
        wait_for_point(child, ledger, point)
        child.kill()
    with Child(PROGRAM, "one", path, body, isolation, point, "again", ledger=ledger) as child:
        assert child.until("result") == ["first", "value", "120000"]
        child.rest()
    assert runs(ledger) == {"first": 1, "second": RUNS[point]}


# -- the store away


def noted(calls: list[int]) -> int:
    calls.append(1)
    return len(calls)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("error", [full(), io_error()], ids=["full", "io"])
async def test_a_disk_that_is_full_at_keep_is_waited_out(tmp_path: Path, error: sqlite3.OperationalError) -> None:
    calls: list[int] = []
    hook = Failpoint()

    async def body() -> int:
        hook.fail("before-commit", error, error, error, error)
        return await current_job().step("k", noted, calls)

    backend = SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"), hook=hook)
    async with JobProcessor(backend) as jp:
        with anyio.fail_after(20):
            assert await (await jp.submit_job(body, local=True, retry=RetryPolicy(max_retries=0))) == 1
    assert calls == [1]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_file_that_is_locked_for_longer_than_a_write_waits_is_waited_out_too(tmp_path: Path) -> None:
    calls: list[int] = []
    path = tmp_path / "jobs.db"
    began = anyio.Event()

    async def body() -> int:
        began.set()
        with anyio.CancelScope(shield=True):
            await locked.wait()
        return await current_job().step("k", noted, calls)

    async with JobProcessor(SQLiteConfig(db_path=path, busy_timeout=0.2)) as jp:
        locked = anyio.Event()
        handle = await jp.submit_job(body, local=True, retry=RetryPolicy(max_retries=0))
        await began.wait()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            await anyio.sleep(1)  # five times as long as one write waits
            assert calls == [1]
            assert await jp.backend.count_steps(handle) == 0
            other.execute("ROLLBACK")
        with anyio.fail_after(20):
            assert await handle == 1
    assert calls == [1]
