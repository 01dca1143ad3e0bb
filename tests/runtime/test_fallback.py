"""``fallback="sync"``: without a live worker, submitted jobs run in their submitter, through the normal claim."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import BackendError, ConfigurationError, DaemonConfig, JobProcessor, JobQuery, RetryPolicy, current_job
from asyncjobs.backends.base import NewWorker
from asyncjobs.processor import get_engine
from asyncjobs.testing import ManualClock
from tests.runtime.asking_bodies import Kind, submit
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    PATIENCE,
    PENDING,
    SKIPPED,
    Held,
    Stores,
    add,
    comes_true,
    echo,
    fail,
    nothing,
    until,
    within,
)

pytestmark = pytest.mark.anyio


def fallback(stores: Stores, **settings: Any) -> JobProcessor:
    daemon = DaemonConfig(**settings)
    return JobProcessor(stores.backend(), enable_daemon=False, daemon=daemon, fallback="sync")


async def test_a_submit_returns_when_its_job_has_ended(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "asyncjobs"), anyio.fail_after(PATIENCE):
        async with fallback(stores) as jp:
            first = await jp.submit_job(add, 1, 2)
            assert await first.status() is COMPLETED
            second = await jp.submit_job(add, first, 4)
            assert (await second.status(), await second) == (COMPLETED, 7)
            assert await jp.find_jobs(JobQuery(status=PENDING)) == []
            assert not any(worker.alive for worker in await jp.workers())
    assert [record.message.partition(":")[0] for record in caplog.records] == ["no worker is alive"]


async def test_a_graph_runs_in_its_order(stores: Stores) -> None:
    order: list[str] = []

    async def note() -> str:
        order.append(current_job().id)
        return current_job().id

    async with fallback(stores) as jp:
        with pytest.raises(ConfigurationError, match="no worker runs here"):
            await jp.submit_job(note, local=True)
        async with jp.batch() as batch:
            last = batch.submit_job(add, "c", "!", job_id="d", depends_on=["c"])
            third = batch.submit_job(add, jp.handle("a"), jp.handle("b"), job_id="c")
            batch.submit_job(add, "x", "", job_id="a")
            batch.submit_job(add, "y", "", job_id="b")
        assert (await third, await last) == ("xy", "c!")
        log = [event.job_id for event in (await jp.backend.read_events()).events if event.type == "started"]
        assert log.index("c") > max(log.index("a"), log.index("b"))
        assert log[-1] == "d"


async def test_failures_are_retried_and_settled(stores: Stores) -> None:
    async with fallback(stores) as jp:
        soon = RetryPolicy(max_retries=1, base=0.01, jitter=0)
        async with jp.batch() as batch:
            bad = batch.submit_job(fail, retry=soon)
            after = batch.submit_job(nothing, depends_on=bad)
        job = await jp.get_job(bad)
        assert (job.status, job.attempt) == (FAILED, 2)
        assert await after.status() is SKIPPED


async def test_it_does_not_wait_for_what_is_delayed(stores: Stores) -> None:
    async with fallback(stores) as jp:
        with anyio.fail_after(PATIENCE):
            later = await jp.submit_job(nothing, delay=3600)
            behind = await jp.submit_job(nothing, depends_on=later)
            assert [await later.status(), await behind.status()] == [PENDING, PENDING]
            assert await (await jp.submit_job(add, 1, 1)) == 2


async def test_what_was_not_due_at_its_submit_runs_when_it_is(stores: Stores) -> None:
    clock = ManualClock()
    async with JobProcessor(stores.backend(clock=clock), enable_daemon=False, fallback="sync", clock=clock) as jp:
        with anyio.fail_after(PATIENCE):
            later = await jp.submit_job(add, 1, 1, delay=3600)
            behind = await jp.submit_job(add, later, 1)
            assert [await later.status(), await behind.status()] == [PENDING, PENDING]
            clock.advance(3600)
            assert [await behind, await later] == [3, 2]


async def test_what_cannot_run_here_is_not_tried_again_and_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    backend = stores.backend(clock=clock)
    register, registered = backend.register_worker, 0

    async def count(worker: NewWorker) -> str:
        nonlocal registered
        registered += 1
        return await register(worker)

    monkeypatch.setattr(backend, "register_worker", count)
    daemon = DaemonConfig(queues=("mine",))
    async with JobProcessor(backend, enable_daemon=False, daemon=daemon, fallback="sync", clock=clock) as jp:
        with anyio.fail_after(PATIENCE):
            await jp.submit_job(nothing, queue="another")
            for _ in range(100):
                await jp.workers()
    assert registered <= 2  # at the submit, and once more


async def submit_children(depth: int) -> int:
    if not depth:
        return 1
    child = await current_job().submit_job(submit_children, depth - 1)
    return 1 + await child


async def test_children_run_with_their_parent(stores: Stores) -> None:
    backend = stores.backend()
    daemon = DaemonConfig(num_workers=1)
    async with JobProcessor(backend, enable_daemon=False, daemon=daemon, fallback="sync") as jp:
        with anyio.fail_after(PATIENCE):
            assert await (await jp.submit_job(submit_children, 3)) == 4


@pytest.mark.parametrize("where", ["async", "thread"])
async def test_a_body_that_asks_is_parked_and_its_submit_returns(stores: Stores, where: Kind) -> None:
    """The caller does not wait for people. Once they have answered, the job runs here."""
    async with fallback(stores) as jp:
        handle = await within(10, submit(jp, where))
        assert (await jp.get_job("a")).parked == "a/q"
        await jp.answer_job("a/q")
        assert await within(10, handle) is True


async def test_a_gate_is_not_waited_for(stores: Stores) -> None:
    async with fallback(stores) as jp:
        gate = await within(10, jp.submit_gate("go on?"))
        handle = await within(10, jp.submit_job(echo, "done", depends_on=[gate]))
        await jp.answer_job(gate)
        assert await within(10, handle) == "done"


async def test_with_a_live_worker_it_keeps_out_of_the_way(stores: Stores) -> None:
    if stores.kind == "memory":
        pytest.skip("one store, two processors")
    async with stores.processor(functions=[add]), fallback(stores) as jp:
        job = await jp.submit_job(add, 1, 2)
        assert await job == 3
        assert len([worker for worker in await jp.workers() if worker.alive]) == 1


async def test_an_error_of_the_store_comes_as_it_is(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> str:
        raise BackendError("away")

    async with fallback(stores) as jp:
        monkeypatch.setattr(jp.backend, "register_worker", away)
        with pytest.raises(BackendError, match="away"):
            await jp.submit_job(nothing, job_id="kept")
        assert await jp.get_status("kept") is PENDING  # it is stored all the same, and waits


@pytest.mark.parametrize("options", [{"fallback": "async"}, {"fallback": "sync", "enable_daemon": True}])
def test_what_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="fallback"):
        JobProcessor("memory", **options)


async def test_a_body_may_submit_too_and_what_it_submits_runs(stores: Stores) -> None:
    async with fallback(stores) as jp:
        JPS.append(jp)
        try:
            with anyio.fail_after(PATIENCE):
                outer = await jp.submit_job(submits_and_awaits)
                assert await outer == 3
                left = await jp.submit_job(submits_and_leaves)
                assert await jp.get_status(await left) is COMPLETED
        finally:
            JPS.clear()


JPS: list[JobProcessor] = []


async def submits_and_awaits() -> int:
    return await (await JPS[0].submit_job(add, 1, 2))


async def submits_and_leaves() -> str:
    return (await JPS[0].submit_job(nothing)).id


async def test_a_job_of_a_queue_that_is_not_served_here_is_not_waited_for(stores: Stores) -> None:
    config = DaemonConfig(queues=("cpu",))
    with anyio.fail_after(PATIENCE):
        async with JobProcessor(stores.backend(), enable_daemon=False, fallback="sync", daemon=config) as jp:
            job = await jp.submit_job(nothing, queue="gpu")
            assert await job.status() is PENDING
            assert await (await jp.submit_job(nothing, queue="cpu")).status() is COMPLETED


@pytest.mark.persistent
async def test_leaving_gives_back_what_a_submit_runs_and_the_submit_returns(stores: Stores) -> None:
    held = HELD.begin()
    submitted: list[str] = []

    async def submit(jp: JobProcessor) -> None:
        submitted.append(await jp.submit_job(hold, job_id="held"))

    async with anyio.create_task_group() as tasks:
        async with fallback(stores, shutdown_timeout=0.0) as jp:
            tasks.start_soon(submit, jp)
            await within(PATIENCE, held.started.wait())
    assert submitted == ["held"]
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.get_job("held")
        assert (job.status, job.failures, job.interruptions) == (PENDING, 0, 0)


@pytest.mark.persistent
async def test_bodies_that_a_submit_runs_use_the_processor_while_it_is_left(stores: Stores) -> None:
    held = HELD.begin()

    async with anyio.create_task_group() as tasks:
        async with fallback(stores, shutdown_timeout=PATIENCE) as jp:
            HELD.jp = jp
            tasks.start_soon(partial(jp.submit_job, submits_at_the_end, job_id="last"))
            await within(PATIENCE, held.started.wait())
            held.go.open()
    async with stores.processor(enable_daemon=False) as jp:
        assert await jp.get_result("last") == "late"
        assert await jp.get_status("late") is PENDING


# -- who asks for less: a job is cancelled, a submit is


PATIENT = {"shutdown_timeout": 600.0, "heartbeat": 600.0, "lease": 3600.0}
"""No test of these passes by the end of a time."""


async def test_a_job_is_cancelled_at_once(stores: Stores) -> None:
    held = HELD.begin()
    async with fallback(stores, **PATIENT) as jp, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(jp.submit_job, hold, job_id="held"))
        await within(PATIENCE, held.started.wait())
        await jp.cancel_job("held")
        assert (await jp.wait_for_job("held", timeout=PATIENCE)).status is CANCELLED
    assert held.was_cancelled


@pytest.mark.persistent
async def test_a_job_is_cancelled_at_once_by_another_processor(stores: Stores) -> None:
    held = HELD.begin()
    async with fallback(stores, **PATIENT) as jp, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(jp.submit_job, hold, job_id="held"))
        await within(PATIENCE, held.started.wait())
        async with stores.processor(enable_daemon=False) as other:
            await other.cancel_job("held")
        assert (await jp.wait_for_job("held", timeout=PATIENCE)).status is CANCELLED


async def test_a_submit_that_is_cancelled_hands_its_job_back_and_the_next_one_runs_it(stores: Stores) -> None:
    held = HELD.begin()
    async with fallback(stores, **PATIENT) as jp:
        await _cancel_once_it_runs(jp, hold, held)
        job = await jp.get_job("held")
        assert (job.status, job.failures, job.interruptions) == (PENDING, 0, 0)
        assert held.was_cancelled
        assert not any(worker.alive for worker in await jp.workers())
        held.go.open()
        await within(PATIENCE, jp.submit_job(nothing))
        assert (await jp.wait_for_job("held", timeout=PATIENCE)).status is COMPLETED
        assert held.starts == 2


async def test_a_submit_that_is_cancelled_waits_for_the_clean_up_of_its_job(stores: Stores) -> None:
    held = HELD.begin()
    async with fallback(stores, **PATIENT, cancel_grace=PATIENCE) as jp:
        await _cancel_once_it_runs(jp, hold_and_clean_up, held)
        assert CLEANED_UP == [True]
        assert await jp.get_status("held") is PENDING
    CLEANED_UP.clear()


async def test_it_does_not_wait_beyond_the_grace_for_a_body_that_heeds_no_cancellation(stores: Stores) -> None:
    held = HELD.begin()
    async with fallback(stores, **PATIENT, cancel_grace=0.05) as jp:
        await _cancel_once_it_runs(jp, hold_whatever_comes, held)
        held.go.open()
        await comes_true(lambda: get_engine(jp).find_executor() is None)
        assert not (await jp.get_job("held")).interruptions


async def test_a_submit_that_is_cancelled_takes_nothing_from_one_that_waits(stores: Stores) -> None:
    first, second = Held(), Held("second")
    BOTH[:] = [first, second]
    async with fallback(stores, **PATIENT) as jp, anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()
        tasks.start_soon(partial(_submit_in, scope, jp, hold_one, 0, job_id="first"))
        await within(PATIENCE, first.started.wait())
        tasks.start_soon(partial(jp.submit_job, hold_one, 1, job_id="second"))
        await within(PATIENCE, second.started.wait())
        scope.cancel()
        second.go.open()
        assert await jp.handle("second").result(timeout=PATIENCE) == "second"
        await comes_true(lambda: get_engine(jp).find_executor() is None)  # no submit waits: the first one goes back
        assert await jp.get_status("first") is PENDING
        assert (first.starts, second.starts) == (1, 1)
        assert (first.was_cancelled, second.was_cancelled) == (True, False)


async def test_a_thread_of_a_submit_that_is_cancelled_goes_on_and_its_result_is_kept(stores: Stores) -> None:
    held = HELD.begin()
    async with fallback(stores, **PATIENT) as jp:
        await _cancel_once_it_runs(jp, hold_thread, held)
        assert await jp.get_status("held") is IN_PROGRESS
        held.go.open()
        assert (await jp.wait_for_job("held", timeout=PATIENCE)).status is COMPLETED
        assert await within(PATIENCE, await jp.submit_job(add, 1, 2)) == 3


async def test_a_thread_of_a_submit_that_is_cancelled_is_asked_to_stop(stores: Stores) -> None:
    held = HELD.begin()
    async with fallback(stores, **PATIENT) as jp:
        await _cancel_once_it_runs(jp, heed, held)
        await until(jp, "held", "started", "released")


@pytest.mark.persistent
async def test_leaving_gives_back_the_thread_of_a_submit_that_was_cancelled(stores: Stores) -> None:
    held = HELD.begin()
    try:
        with anyio.fail_after(PATIENCE):
            async with fallback(stores, **PATIENT | {"shutdown_timeout": 0.0}) as jp:
                await _cancel_once_it_runs(jp, hold_thread, held)
        async with stores.processor(enable_daemon=False) as jp:
            job = await jp.get_job("held")
            assert (job.status, job.failures, job.interruptions) == (PENDING, 0, 0)
    finally:
        held.go.open()


async def _cancel_once_it_runs(jp: JobProcessor, body: Callable[[], object], held: Held) -> None:
    """Submit it, cancel the submit once its job runs, and return when the submit has."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(jp.submit_job, body, job_id="held"))
            await held.started.wait()
            tasks.cancel_scope.cancel()


async def _submit_in(scope: anyio.CancelScope, jp: JobProcessor, *args: Any, job_id: str) -> None:
    with scope:
        await jp.submit_job(*args, job_id=job_id)


BOTH: list[Held] = []
CLEANED_UP: list[bool] = []


async def hold_one(which: int) -> Any:
    return await BOTH[which].body()


async def hold_and_clean_up() -> None:
    try:
        await HELD.held.body()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
            CLEANED_UP.append(True)


async def hold_whatever_comes() -> None:
    HELD.held.started.open()
    with anyio.CancelScope(shield=True):
        await HELD.held.go.wait()


def hold_thread() -> None:
    HELD.held.started.open()
    HELD.held.go.wait_sync()  # without a look at ``cancelled``, after which its result would not count


def heed() -> None:
    HELD.held.started.open()
    while not current_job().cancelled:
        time.sleep(0.01)


class _Held:
    """What bodies wait on that are found by name."""

    held: Held
    jp: JobProcessor

    def begin(self) -> Held:
        self.held = Held()
        return self.held


HELD = _Held()


async def hold() -> None:
    await HELD.held.body()


async def submits_at_the_end() -> str:
    await HELD.held.body()
    await comes_true(lambda: get_engine(HELD.jp)._leaving)
    return str(await HELD.jp.submit_job(nothing, job_id="late", delay=3600))
