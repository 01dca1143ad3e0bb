"""``unrunnable_after``: what no live worker may run waits for one that may, and then fails with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs import DaemonConfig, JobExecutionError, JobProcessor
from asyncjobs.core.lanes import Lane
from asyncjobs.models import WorkerInfo
from asyncjobs.runtime.unrunnable import Unrunnable, refusal
from asyncjobs.testing import ManualClock
from tests.runtime.support import FAILED, PENDING, Stores, add, nothing

pytestmark = pytest.mark.anyio
LANE = Lane("fast", "app:f", None)


def worker(name: str, **fields: Any) -> WorkerInfo:
    return WorkerInfo(id=name, name=name, pid=1, host="h", slots=1, **fields)


def test_one_that_may_is_enough() -> None:
    no = worker("no", refused={"app:f": "not allowed"})
    assert refusal(LANE, [no]) == "no: not allowed"
    assert refusal(LANE, [no, worker("yes")]) is None
    assert refusal(LANE, [no, worker("elsewhere", queues=("slow",))]) == "no: not allowed"
    assert refusal(LANE, []) is None
    assert refusal(LANE, [worker("elsewhere", queues=("slow",), refused={"app:f": "no"})]) is None


async def test_a_job_that_nobody_may_run_fails_after_a_while(stores: Stores) -> None:
    if stores.kind == "memory":
        pytest.skip("one store, two processors")
    clock = ManualClock()
    daemon = DaemonConfig(allowed_modules=("nowhere",), lease=3600)
    async with (
        JobProcessor(stores.backend(clock), daemon=daemon, clock=clock) as jp,
        stores.processor(clock=clock, enable_daemon=False) as other,
    ):
        job = await other.submit_job(add, 1, 2)
        watcher = Unrunnable(jp.backend, 60, clock)
        while (await other.why(job)).code != "not_allowed":
            await clock.wait_for_sleepers(1)
            clock.advance(1)
        assert await watcher.look() == []
        clock.advance(59)
        assert await watcher.look() == []
        late = await other.submit_job(nothing)  # of another function: nobody has said no for long
        clock.advance(2)
        assert await watcher.look() == [job]
        assert [await job.status(), await late.status()] == [FAILED, PENDING]
        with pytest.raises(JobExecutionError, match=r"UnrunnableError: no live worker may run .*allowed_modules"):
            await job


async def test_a_daemon_does_it_by_itself(stores: Stores) -> None:
    if stores.kind == "memory":
        pytest.skip("one store, two processors")
    daemon = DaemonConfig(allowed_modules=("nowhere",), unrunnable_after=0.2)
    async with JobProcessor(stores.backend(), daemon=daemon), stores.processor(enable_daemon=False) as other:
        job = await other.submit_job(add, 1, 2)
        assert (await other.wait_for_job(job, timeout=20)).status is FAILED
