"""No wait outlives its job: behind every one stands a look at the store, and none depends on who told of the end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncjobs import (
    DaemonConfig,
    JobExecutionError,
    JobNotFoundError,
    JobProcessor,
    JobTimeoutError,
    SQLiteConfig,
    SyncJobs,
    as_completed,
    current_job,
    gather,
)
from asyncjobs.exceptions import BackendConnectionError, JobProcessorError
from asyncjobs.processor import get_engine
from asyncjobs.runtime.events.log_tail import LOOK_EVERY, LogTail
from asyncjobs.runtime.isolation.process import Process
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.support import (
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    PATIENCE,
    PENDING,
    Gate,
    Held,
    Stores,
    WatchedBackend,
    comes_true,
    echo,
    nothing,
    unnoticed,
    within,
)

pytestmark = pytest.mark.anyio


def publisher_of(jp: JobProcessor) -> LogTail:
    return get_engine(jp)._parts.tail


async def until_waited_for(jp: JobProcessor, job_id: str, waiters: int) -> None:
    expected = publisher_of(jp)._waiters
    await comes_true(lambda: len(expected.of(job_id)) >= waiters)


# -- a lost wake-up


async def by_await(jp: JobProcessor) -> Any:
    return await jp.handle("x")


async def by_result(jp: JobProcessor) -> Any:
    return await jp.handle("x").result(timeout=1000)


async def by_gather(jp: JobProcessor) -> Any:
    return await gather(jp.handle("x"))


async def by_as_completed(jp: JobProcessor) -> Any:
    return [handle async for handle in as_completed([jp.handle("x")])]


async def by_wait_for_job(jp: JobProcessor) -> Any:
    return await jp.wait_for_job("x")


async def by_drain(jp: JobProcessor) -> Any:
    await jp.drain("show")


async def by_stream(jp: JobProcessor) -> Any:
    return [event.type async for event in jp.stream_job("x")]


async def by_body(jp: JobProcessor) -> Any:
    async def body() -> None:
        await jp.handle("x")

    await (await jp.submit_job(body, local=True, max_retries=0, group="waiters"))


async def by_body_in_a_thread(jp: JobProcessor) -> Any:
    def body() -> None:
        jp.handle("x").result_sync()

    await (await jp.submit_job(body, local=True, max_retries=0, group="waiters"))


WAYS = [
    by_await,
    by_result,
    by_gather,
    by_as_completed,
    by_wait_for_job,
    by_drain,
    by_stream,
    by_body,
    by_body_in_a_thread,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_lost_wake_up_lasts_half_a_minute_and_no_longer(
    stores: Stores, way: Callable[[JobProcessor], Awaitable[Any]]
) -> None:
    clock = ManualClock()
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store) as jp:
        await jp.submit_job(nothing, job_id="x", group="show", delay=3600)
        returned = anyio.Event()

        async def wait() -> None:
            try:
                await way(jp)
            except JobProcessorError:
                pass  # it was cancelled
            returned.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            if way is by_stream:
                await comes_true(lambda: publisher_of(jp)._subscriptions)
            else:
                await until_waited_for(jp, "" if way is by_drain else "x", 1)
            await store.settled()  # it has looked at the store
            with unnoticed(jp):
                await store.cancel_jobs(["x"])
            await store.settled()
            assert not returned.is_set()
            clock.advance(LOOK_EVERY + 1)
            await within(PATIENCE, returned.wait())


@pytest.mark.parametrize("way", [by_await, by_drain, by_stream], ids=lambda way: way.__name__)
async def test_a_job_that_was_removed_meanwhile_is_not_waited_for(
    stores: Stores, way: Callable[[JobProcessor], Awaitable[Any]]
) -> None:
    """Its events are gone with it: nothing in the log tells of its end."""
    clock = ManualClock()
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store) as jp:
        await jp.submit_job(nothing, job_id="x", group="show", delay=3600)
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                if way is by_drain:
                    await within(PATIENCE, way(jp))
                    return
                with pytest.raises(JobNotFoundError):
                    await within(PATIENCE, way(jp))

            tasks.start_soon(wait)
            if way is by_stream:
                await comes_true(lambda: publisher_of(jp)._subscriptions)
            else:
                await until_waited_for(jp, "" if way is by_drain else "x", 1)
            await store.settled()  # it has looked at the store
            with unnoticed(jp):
                await store.cancel_jobs(["x"])
                await store.remove_jobs(["x"])
            clock.advance(LOOK_EVERY + 1)


async def test_one_look_serves_all_waiters_and_none_is_made_for_nobody(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncjobs.runtime.events.log_tail._PAGE", 50)
    clock = ManualClock()
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store, enable_daemon=False) as jp:
        async with jp.batch() as batch:
            handles = [batch.submit_job(nothing, delay=3600) for _ in range(100)]
        async with anyio.create_task_group() as tasks:
            for handle in handles:
                for _ in range(3):
                    tasks.start_soon(handle.result)
            await until_waited_for(jp, handles[-1].id, 3)
            await comes_true(lambda: store.calls["get_results"])  # the first look, which all of them share
            await store.settled()
            assert store.calls["get_results"] < len(handles)
            before = store.calls["get_results"]
            clock.advance(LOOK_EVERY + 1)
            await comes_true(lambda: store.calls["get_results"] >= before + 2)
            await store.settled()
            assert store.calls["get_results"] == before + 2  # a page each, whoever waits for them
            tasks.cancel_scope.cancel()
        await store.settled()
        before = store.calls["get_results"], store.calls["read_events"]
        clock.advance(LOOK_EVERY + 1)
        await store.settled()
        assert (store.calls["get_results"], store.calls["read_events"]) == before


# -- what a wait costs, and what it gives


async def test_a_submit_that_is_awaited_asks_for_nothing_more(stores: Stores) -> None:
    """Own commits keep the end of the log known while nobody listens."""
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        await (await jp.submit_job(nothing))
        before = store.calls["last_cursor"]
        for i in range(5):
            assert await (await jp.submit_job(echo, i)) == i
        assert store.calls["last_cursor"] == before


async def test_no_time_left_is_time_enough_for_what_has_ended(stores: Stores) -> None:
    async with stores.processor() as jp:
        done = await jp.submit_job(echo, 1, group="done")
        await done
        late = await jp.submit_job(nothing, delay=3600, group="late")
    async with stores.processor() as jp:  # it has nothing at hand
        if stores.kind != "memory":
            assert await jp.handle(done.id).result(timeout=0) == 1
            assert (await jp.wait_for_job(done.id, timeout=0)).status is COMPLETED
            assert await gather(jp.handle(done.id), timeout=0) == [1]
        await jp.drain("done", timeout=0)
        with pytest.raises(JobTimeoutError):
            await jp.handle(late.id).result(timeout=0)
        with pytest.raises(JobTimeoutError):
            await jp.drain("late", timeout=0)


async def test_a_call_that_is_cut_short_leaves_what_it_found_to_the_next(stores: Stores) -> None:
    async with stores.processor() as jp:
        jobs = [await jp.submit_job(echo, i) for i in range(3)]
        await gather(*jobs)
        get_engine(jp)._parts.waiting._results._values.clear()
        watch = get_engine(jp).watch([job.id for job in jobs], None)
        for _ in range(4):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await watch.next()
        assert {result.job_id for result in await watch.next()} == {job.id for job in jobs}
        watch.close()


async def test_what_was_found_before_a_read_failed_is_given_by_the_next_call(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncjobs.runtime.waiting._PAGE", 1)
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        jobs = [await jp.submit_job(echo, i) for i in range(3)]
        await gather(*jobs)
        get_engine(jp)._parts.waiting._results._values.clear()
        watch = get_engine(jp).watch([job.id for job in jobs], None)
        store.fail("get_results", 2)
        with pytest.raises(BackendConnectionError):
            await watch.next()
        ends = [result for _ in jobs for result in await watch.next()]
        assert [end.job_id for end in ends] == [job.id for job in jobs]
        assert await watch.next() == []
        watch.close()


@pytest.mark.parametrize("cached", [True, False])
async def test_very_many_results_are_given_in_parts_between_which_others_run(
    jp: JobProcessor, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    monkeypatch.setattr("asyncjobs.runtime.waiting._PAGE", 10)
    jobs = await jp.map_jobs(echo, range(95))
    await jp.drain()
    if not cached:
        get_engine(jp)._parts.waiting._results._values.clear()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await anyio.lowlevel.checkpoint()
        watch = get_engine(jp).watch([job.id for job in jobs], None)
        parts, between = [await watch.next()], []
        while parts[-1]:
            before = turns
            with anyio.CancelScope() as scope:
                scope.cancel()
                await watch.next()  # loses none
            parts.append(await watch.next())
            between.append(turns > before)
        watch.close()
        tasks.cancel_scope.cancel()
    assert [len(part) for part in parts] == [*[10] * 9, 5, 0]
    assert [result.job_id for part in parts for result in part] == [job.id for job in jobs]
    assert all(between[:9])
    assert await gather(*jobs) == list(range(95))


async def test_those_who_expect_the_same_job_are_all_told(jp: JobProcessor) -> None:
    tail = publisher_of(jp)
    every = [tail.expect(job_ids) for job_ids in (["a", "b"], ["a"], ["b", "a"])]
    tail.wake("a")
    assert [one.take() for one in every] == [["a"], ["a"], ["a"]]
    tail.forget(every[0])
    tail.wake("b")
    tail.wake("a")
    assert [one.take() for one in every] == [[], ["a"], ["b", "a"]]
    for one in every[1:]:
        tail.forget(one)
    assert not tail._waiters


async def test_the_jobs_of_a_lost_lease_are_looked_up_at_once(stores: Stores) -> None:
    """Others may have ended them before this process knew where the log ends."""
    async with stores.processor() as jp:
        assert jp.daemon is not None
        held = Held()
        job = await jp.submit_job(held.body, local=True, job_id="x")
        await held.started.wait()
        expectation = publisher_of(jp).expect(["x"])
        jp.daemon.runner.executor.lose()
        assert expectation.take() == ["x"]
        publisher_of(jp).forget(expectation)
        held.go.open()
        await job.cancel()


async def test_what_became_of_a_job_is_looked_up_when_its_outcome_is_refused(stores: Stores) -> None:
    """It was taken to run here when the wait began; others had ended it before."""
    async with stores.processor(num_workers=1, heartbeat=1000.0, lease=4000.0) as jp:
        assert jp.daemon is not None
        held = Held()
        job = await jp.submit_job(held.body, local=True, job_id="x")
        await held.started.wait()
        with unnoticed(jp):
            await jp.backend.deregister_worker(jp.daemon.runner.worker_id)
        assert (await jp.get_job("x")).status is FAILED  # it was local, and its owner is gone
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(JobExecutionError):
                    await within(PATIENCE, job.result())

            tasks.start_soon(wait)
            await until_waited_for(jp, "x", 1)
            await anyio.wait_all_tasks_blocked()
            held.go.open()


async def test_a_job_due_before_the_next_outcome_starts_when_it_is_due(stores: Stores) -> None:
    """All slots were taken when it became known; the only one is free again before it is due."""
    clock = ManualClock()
    async with stores.processor(clock=clock, num_workers=1) as jp:
        first, late = Held(), Held()
        first.go.open()
        late.go.open()
        async with jp.batch() as batch:
            now = batch.submit_job(first.body, local=True)
            then = batch.submit_job(late.body, local=True, delay=1.0)
        await now.result()
        await anyio.wait_all_tasks_blocked()
        assert await then.status() is PENDING
        clock.advance(1.1)  # less than a beat: nothing else nudges the scheduler
        await within(PATIENCE, late.started.wait())


# -- told to stop


def test_a_plain_body_that_waits_through_sync_jobs_is_told_to_stop(tmp_path: Any) -> None:
    """And nobody else: raised in the loop behind ``SyncJobs``, ``BodyStopped`` would end it."""
    waiting, stopped = Gate(), Gate()
    with SyncJobs(SQLiteConfig(db_path=tmp_path / "jobs.db"), daemon=DaemonConfig(num_workers=2)) as jobs:

        def body() -> None:
            child = current_job().submit_job_sync(nothing, delay=3600)
            waiting.open()
            try:
                jobs.handle(child.id).result()
            except BodyStopped:
                stopped.open()
                raise

        job = jobs.submit_job(body, local=True, max_retries=0, job_id="x")
        waiting.wait_sync()
        while "x" not in get_engine(jobs.processor)._parts.waiting.waits:
            time.sleep(0.001)  # the loop is in another thread: it needs the interpreter
        assert job.cancel() is IN_PROGRESS
        stopped.wait_sync()
        jobs.wait_for_job("x", timeout=PATIENCE)
        assert jobs.submit_job(echo, 1).result(timeout=PATIENCE) == 1


# -- the pipe to a process of its own


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_frame_that_has_begun_is_written_to_its_end(anyio_backend: str) -> None:
    """Cut off, it would leave the child without any further answer: each of its waits would last for ever."""
    down, writing = os.pipe()
    up, other = os.pipe()
    with Path(os.devnull).open("rb") as null:  # noqa: ASYNC230 - it is no file
        popen = SimpleNamespace(stdout=null, stderr=null, pid=os.getpid())
        process = Process(cast("Any", popen), writing, up)
        frame = bytes(1 << 20)
        received: list[bytes] = []

        def read_all() -> None:
            while data := os.read(down, 1 << 16):
                received.append(data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.send, frame)
            await anyio.wait_all_tasks_blocked()  # the pipe is full
            reader = threading.Thread(target=read_all)
            reader.start()
            tasks.cancel_scope.cancel()
        await process.send(b"next")
        os.close(writing)
        await anyio.to_thread.run_sync(reader.join)
        assert b"".join(received) == frame + b"next"
        for descriptor in (down, up, other, process._exit):
            if descriptor is not None:
                os.close(descriptor)
