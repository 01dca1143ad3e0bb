"""Deadlines of gates: whichever process has the store open ends what was not answered in time."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from asyncjobs import AnswerTimeoutError, GateRequest, JobDaemon, JobProcessor, JobSkippedError, JobStateError
from asyncjobs.backends.gate_store import DUE_AT_ONCE
from asyncjobs.exceptions import BackendError
from asyncjobs.runtime.deadlines import Deadlines
from asyncjobs.testing import ManualClock
from tests.runtime.support import (
    COMPLETED,
    FAILED,
    PENDING,
    Held,
    Stores,
    WatchedBackend,
    nothing,
    types,
    until,
    within,
)

pytestmark = pytest.mark.anyio

DAY = 86_400.0


async def ended(jp: JobProcessor, job_id: str, clock: ManualClock) -> None:
    """Wait until a gate has ended that is due; the loop needs the clock for its next look."""
    with anyio.fail_after(10):
        while (await jp.get_status(job_id)) is PENDING:
            clock.advance(0.25)
            await anyio.sleep(0.001)


def same(value: Any) -> Any:
    return value


async def test_a_gate_that_nobody_answers_fails_and_its_dependents_are_skipped(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        gate = await jp.submit_gate("print?", job_id="g", timeout=60)
        after = await jp.submit_job(nothing, depends_on=gate)
        deadline = (await jp.get_job(gate)).gate.deadline
        assert deadline is not None
        clock.advance(60)
        await ended(jp, gate, clock)
        with pytest.raises(AnswerTimeoutError, match="gate 'g' failed: nobody answered until 2030-01-01T00:01:00Z"):
            await gate
        with pytest.raises(JobSkippedError):
            await within(5, after.result())
        found = await jp.get_job(gate)
        assert found.finished_at is not None
        assert 0 <= (found.finished_at - deadline).total_seconds() <= 2
        assert await types(jp, gate) == ["submitted", "asked", "failed"]


@pytest.mark.parametrize(
    ("options", "default"),
    [
        ({}, True),
        ({"choices": ["a", "b"]}, "a"),
        ({"answer_type": int}, 3),
        ({"answer_type": int | None}, None),
        ({"answer_type": list[str]}, []),
    ],
)
async def test_a_default_is_the_answer_then(stores: Stores, options: dict[str, Any], default: Any) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        gate = await jp.submit_gate("?", timeout=1, default=default, **options)
        after = await jp.submit_job(same, gate)
        await ended(jp, gate, clock)
        assert await within(5, after.result()) == default
        assert await gate == default
        found = await jp.get_job(gate)
        assert (found.status, found.gate.answered_by, found.gate.answered_at) == (COMPLETED, None, None)


async def test_the_time_counts_from_when_it_is_asked(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        first = await jp.submit_gate("first?")
        gate = await jp.submit_gate("then?", depends_on=first, timeout=60)
        clock.advance(600)
        await first.answer()
        found = (await jp.get_job(gate)).gate
        assert found is not None
        assert found.deadline is not None
        assert found.opened_at is not None
        assert (found.deadline - found.opened_at).total_seconds() == 60
        assert await Deadlines(jp.backend, clock, nudge=lambda: None).look() == 0
        await gate.answer()


async def test_an_answer_at_the_deadline_is_too_late_though_nobody_has_ended_the_gate(stores: Stores) -> None:
    clock = ManualClock()
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store) as jp:
        gate = await jp.submit_gate("?", timeout=60)
        await store.settled()
        clock.jump(60)  # of the wall clock alone: the loop sleeps on
        for call in (gate.answer, lambda: gate.reject("no")):
            with pytest.raises(JobStateError, match="its deadline was 2030-01-01T00:01:00Z"):
                await call()
        assert await gate.status() is PENDING
        await ended(jp, gate, clock)
        assert await gate.status() is FAILED


async def test_answer_and_deadline_in_the_same_instant_make_one_end(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        gates = await jp.submit_jobs([GateRequest(question="?", timeout=60) for _ in range(20)])
        clock.advance(59.999_999)
        taken: list[str] = []

        async def answer(job_id: str) -> None:
            try:
                await jp.answer_job(job_id)
                taken.append(job_id)
            except JobStateError:
                pass

        async with anyio.create_task_group() as tasks:
            for i, gate in enumerate(gates):
                tasks.start_soon(answer, gate)
                if i == 10:
                    await anyio.lowlevel.checkpoint()
                    clock.advance(0.000_001)
            tasks.start_soon(Deadlines(jp.backend, clock, nudge=lambda: None).look)
        for gate in gates:
            await ended(jp, gate, clock)
            assert len(await types(jp, gate)) == 3
            assert await gate.status() is (COMPLETED if gate in taken else FAILED)


@pytest.mark.parametrize("seconds", [-DAY, DAY])
async def test_a_deadline_is_a_moment_of_the_wall_clock(stores: Stores, seconds: float) -> None:
    """As ``run_at`` is: set back by a day, it comes a day later; set forward, it is there."""
    clock = ManualClock()
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store) as jp:
        gate = await jp.submit_gate("?", timeout=60)
        before = (await jp.get_job(gate)).gate
        await store.settled()
        clock.jump(seconds)
        assert (await jp.get_job(gate)).gate == before
        deadlines = Deadlines(jp.backend, clock, nudge=lambda: None)
        if seconds < 0:
            clock.advance(120)
            assert await deadlines.look() == 0
            assert await gate.answer() is COMPLETED
        else:
            await ended(jp, gate, clock)
            assert await gate.status() is FAILED


async def test_retry_opens_it_again_with_its_whole_time(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        gate = await jp.submit_gate("?", timeout=60)
        clock.advance(60)
        await ended(jp, gate, clock)
        at = clock.now()
        await gate.retry()
        found = (await jp.get_job(gate)).gate
        assert found is not None
        assert found.deadline is not None
        assert round(found.deadline.timestamp() * 1_000_000) == at + 60_000_000
        assert await gate.answer() is COMPLETED


# -- by whom


async def test_a_process_that_runs_no_jobs_ends_them(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        gate = await jp.submit_gate("?", timeout=60)
        clock.advance(60)
        await ended(jp, gate, clock)
        with pytest.raises(AnswerTimeoutError):
            await gate


async def test_they_end_while_every_slot_is_taken(stores: Stores) -> None:
    clock, held = ManualClock(), Held()
    async with stores.processor(clock=clock, num_workers=1) as jp:
        job = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        gate = await jp.submit_gate("?", timeout=60)
        clock.advance(60)
        await ended(jp, gate, clock)
        held.go.open()
        await within(5, job.result())


async def test_at_the_first_opening_after_a_downtime_what_is_due_ends_at_once(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        await jp.submit_gate("?", timeout=60, job_id="g", default=True)
    clock.advance(3600)
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        assert await within(5, jp.handle("g").result()) is True  # the clock stands still: it was the first look


async def test_a_daemon_of_its_own_ends_them(stores: Stores) -> None:
    backend = stores.backend()
    async with JobProcessor(backend, enable_daemon=False) as jp:
        await jp.submit_gate("?", timeout=0.01, job_id="g")
    async with JobDaemon(backend), JobProcessor(backend, enable_daemon=False) as jp:
        with pytest.raises(AnswerTimeoutError):
            await within(5, jp.handle("g").result())


async def test_more_than_one_batch_ends_in_one_look(stores: Stores) -> None:
    clock = ManualClock()
    number = 2 * DUE_AT_ONCE + 1
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store, enable_daemon=False) as jp:
        gates = await jp.submit_jobs([GateRequest(question="?", timeout=60) for _ in range(number)])
        await store.settled()
        clock.jump(60)
        nudged: list[None] = []
        assert await Deadlines(jp.backend, clock, nudge=lambda: nudged.append(None)).look() == number
        assert len(nudged) == 3
        assert {job.status for job in await jp.wait_for_results(gates)} == {FAILED}


async def test_a_store_that_is_away_is_waited_for_and_reported_once(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store, enable_daemon=False) as jp:
        gate = await jp.submit_gate("?", timeout=60)
        await store.settled()  # the first look of the loop is over: it would end the gate without a fault
        store.fail("end_due_gates", 1)
        store.fail("end_due_gates", 2, error=BackendError("the disk is full"))
        store.fail("end_due_gates", 3, error=RuntimeError("a mistake of ours"))
        clock.advance(60)
        await ended(jp, gate, clock)
        await until(jp, gate, "failed")
    lines = [record.message for record in caplog.records if "not answered in time cannot be ended" in record.message]
    assert [record.levelno for record in caplog.records if record.message in lines].count(logging.ERROR) == 1
    assert len([line for line in lines if "retrying" in line]) == 3
    assert len([line for line in lines if "store available again" in line]) == 1
