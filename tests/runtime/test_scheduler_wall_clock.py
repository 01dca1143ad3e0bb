"""Somebody sets the wall clock by two hours: leases and streams do not care, ``run_at`` follows it."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from asyncjobs import DaemonConfig, MemoryConfig, RetryPolicy
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.clock import to_datetime
from asyncjobs.testing import ManualClock
from tests.runtime.support import (
    COMPLETED,
    IN_PROGRESS,
    PENDING,
    Held,
    Stores,
    comes_true,
    nothing,
    take,
    until,
    within,
)

pytestmark = pytest.mark.anyio

TWO_HOURS = 7200.0
JUMPS = pytest.mark.parametrize("jump", [TWO_HOURS, -TWO_HOURS], ids=["forwards", "back"])


BEAT = DaemonConfig().for_store(MemoryConfig()).heartbeat


class Beating(ManualClock):
    """Counts the pauses between heartbeats: in each of them, what the last one does is done."""

    pauses = 0

    async def sleep(self, seconds: float) -> None:
        self.pauses += seconds == BEAT
        await super().sleep(seconds)


@JUMPS
async def test_no_lease_is_lost(stores: Stores, jump: float) -> None:
    clock = Beating()
    held = Held("done")
    async with stores.processor(clock=clock) as jp:
        handle = await jp.submit_job(held.body, local=True)
        await within(10, held.started.wait())
        clock.jump(jump)
        assert not await jp.backend.reap()
        assert [worker.alive for worker in await jp.workers()] == [True]
        for beats in range(10):  # by the clock that did not jump; and others look for the dead
            await comes_true(lambda beats=beats: clock.pauses > beats)
            clock.advance(BEAT)
            assert not await jp.backend.reap()
        assert await jp.get_status(handle) == IN_PROGRESS
        held.go.open()
        assert await within(10, handle.result()) == "done"
        job = await jp.get_job(handle)
        assert (job.attempt, job.interruptions) == (1, 0)


@JUMPS
async def test_a_lease_that_ran_out_is_noticed_as_ever(stores: Stores, jump: float) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        handle = await jp.submit_job(nothing)
        worker = await jp.backend.register_worker(NewWorker(name="w", slots=1, lease=15))
        function = (await jp.get_job(handle)).func
        await jp.backend.dequeue_jobs(ClaimRequest(worker=worker, limit=1, functions=frozenset({function})))
        clock.jump(jump)
        clock.advance(14)
        assert not await jp.backend.reap()
        clock.advance(2)
        assert list(await jp.backend.reap()) == [handle]
        jp._submitted = 0


async def test_a_job_becomes_due_when_the_wall_clock_says_so(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        at = to_datetime(clock.now()) + timedelta(hours=1)
        handle = await jp.submit_job(nothing, run_at=at)
        await within(10, (await jp.submit_job(nothing)).result())
        clock.jump(TWO_HOURS)
        clock.advance(31)  # and nothing else happens
        await within(10, handle.result())


async def test_it_waits_longer_when_the_wall_clock_was_set_back(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, lease=10 * TWO_HOURS, heartbeat=TWO_HOURS) as jp:
        handle = await jp.submit_job(nothing, run_at=to_datetime(clock.now()) + timedelta(hours=1))
        clock.jump(-TWO_HOURS)
        clock.advance(TWO_HOURS)
        await within(10, (await jp.submit_job(nothing)).result())
        assert await jp.get_status(handle) == PENDING, "it is an hour too early by the wall clock"
        with anyio.fail_after(10):
            while (await jp.get_job(handle)).status is not COMPLETED:
                clock.advance(60)
                await anyio.sleep(0.002)
        assert clock.now() >= (await jp.get_job(handle)).run_at.timestamp() * 1_000_000


@JUMPS
async def test_a_delay_and_a_backoff_end_after_their_time_and_nothing_else_happens(stores: Stores, jump: float) -> None:
    clock = ManualClock()
    failures: list[int] = []

    async def flaky() -> str:
        failures.append(clock.monotonic())
        if len(failures) == 1:
            raise ValueError("once")
        return "done"

    async with stores.processor(clock=clock, lease=10 * TWO_HOURS, heartbeat=TWO_HOURS) as jp:
        retried = await jp.submit_job(flaky, local=True, retry=RetryPolicy(base=10.0, factor=1.0, jitter=0.0))
        await until(jp, retried, "retrying")
        delayed = await jp.submit_job(nothing, delay=10)
        await anyio.wait_all_tasks_blocked()
        clock.jump(jump)
        clock.advance(9)
        await within(10, (await jp.submit_job(nothing)).result())  # a claim looks at what is due
        assert [await jp.get_status(job) for job in (retried, delayed)] == [PENDING, PENDING]
        reason = await jp.why(delayed)
        assert 0.9 <= reason.details["seconds"] <= 1.1
        clock.advance(1.1)
        assert await within(10, retried.result()) == "done"
        await within(10, delayed.result())


@JUMPS
async def test_streams_have_the_order_of_the_log(stores: Stores, jump: float) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        stream = jp.stream_all()
        first = await jp.submit_job(nothing)
        await within(10, first.result())
        before = await take(stream, 3)
        clock.jump(jump)
        second = await jp.submit_job(nothing)
        await within(10, second.result())
        after = await take(stream, 3)
        events = [*before, *after]
        assert [event.job_id for event in events] == [first] * 3 + [second] * 3
        assert [int(event.cursor) for event in events] == list(range(1, 7))
        assert (after[0].at - before[-1].at).total_seconds() == jump
        read = [event async for event in jp.stream_job(second, before[-1].cursor)]
        assert [event.type for event in read] == ["submitted", "started", "completed"]
        await stream.aclose()
