"""An id whose job was removed may be used again, by any process: nothing in memory is then taken for the new job's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from msgspec import Struct

from asyncjobs import (
    CyclicDependencyError,
    JobCancelledError,
    JobHandle,
    JobNotFoundError,
    JobProcessor,
    JobRequest,
    JobResult,
    JobSkippedError,
    JobStatus,
    SQLiteConfig,
    SyncJobs,
    as_completed,
    gather,
)
from asyncjobs.clock import SystemClock
from asyncjobs.runtime.result_cache import Completed, ResultCache
from asyncjobs.testing import ManualClock
from tests.runtime.support import (
    COMPLETED,
    PATIENCE,
    Held,
    Stores,
    WatchedBackend,
    comes_true,
    echo,
    everything,
    nothing,
    within,
)

pytestmark = pytest.mark.anyio


# -- results


async def by_await(jp: JobProcessor) -> Any:
    return await jp.handle("x")


async def by_wait_for_job(jp: JobProcessor) -> Any:
    job = await jp.wait_for_job("x")
    assert job.status is COMPLETED
    return await jp.get_result("x")


async def by_gather(jp: JobProcessor) -> Any:
    return (await gather(jp.handle("x")))[0]


async def by_as_completed(jp: JobProcessor) -> Any:
    (value,) = [await handle async for handle in as_completed([jp.handle("x")])]
    return value


async def by_get_result(jp: JobProcessor) -> Any:
    return await jp.get_result("x")


async def by_poll_status(jp: JobProcessor) -> Any:
    return (await jp.poll_status("x")).result


async def by_a_child(jp: JobProcessor) -> Any:
    return await (await jp.submit_job(echo, jp.handle("x")))


async def by_a_body(jp: JobProcessor) -> Any:
    async def body() -> Any:
        return await jp.handle("x")

    return await (await jp.submit_job(body, local=True))


WAYS = [by_await, by_wait_for_job, by_gather, by_as_completed, by_get_result, by_poll_status, by_a_child, by_a_body]


async def with_remove_jobs(jp: JobProcessor) -> None:
    assert await jp.remove_jobs("x") == ["x"]


async def with_retention(jp: JobProcessor) -> None:
    while not await jp.backend.prune(SystemClock().now() + 1):
        pass


@pytest.mark.parametrize("remove", [with_remove_jobs, with_retention], ids=["by hand", "by retention"])
async def test_a_result_is_that_of_the_job_that_has_the_id_now(
    jp: JobProcessor, remove: Callable[[JobProcessor], Awaitable[None]]
) -> None:
    assert await (await jp.submit_job(echo, 1, job_id="x")) == 1
    await remove(jp)
    for way in (by_await, by_wait_for_job, by_gather, by_as_completed):
        with pytest.raises(JobNotFoundError):
            await within(PATIENCE, way(jp))
    new = await jp.submit_job(echo, 2, job_id="x")
    assert await within(PATIENCE, new.result()) == 2
    for way in WAYS:
        assert await within(PATIENCE, way(jp)) == 2, way.__name__


@pytest.mark.persistent
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("remove", [with_remove_jobs, with_retention], ids=["by hand", "by retention"])
async def test_also_if_another_processor_removed_the_old_one_and_ran_the_new_one(
    stores: Stores,
    way: Callable[[JobProcessor], Awaitable[Any]],
    remove: Callable[[JobProcessor], Awaitable[None]],
) -> None:
    async with stores.processor(queues=["default"]) as jp, stores.processor(queues=["elsewhere"]) as other:
        assert await (await jp.submit_job(echo, 1, job_id="x")) == 1
        await remove(other)
        if way in (by_await, by_gather):
            with pytest.raises(JobNotFoundError):
                await within(PATIENCE, way(jp))
        assert await (await other.submit_job(echo, 2, job_id="x", queue="elsewhere")) == 2
        assert await within(PATIENCE, way(jp)) == 2


def test_sync_jobs_reads_the_result_of_the_new_job(tmp_path: Any) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db")

    async def replace() -> None:
        async with JobProcessor(config, enable_daemon=False) as other:
            await other.remove_jobs("x")
            await other.submit_job(echo, 2, job_id="x")

    with SyncJobs(config) as jobs:
        assert jobs.submit_job(echo, 1, job_id="x").result(timeout=PATIENCE) == 1
        anyio.run(replace)
        assert jobs.handle("x").result(timeout=PATIENCE) == 2


async def test_results_that_are_certain_are_not_read_back(stores: Stores) -> None:
    store = WatchedBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        async with jp.batch() as batch:
            handles = [batch.submit_job(echo, i) for i in range(100)]
        await jp.drain()
        await store.settled()
        before = store.calls["get_results"]
        assert await gather(*handles) == list(range(100))
        assert [await handle for handle in handles] == list(range(100))
        assert store.calls["get_results"] == before


def test_a_cached_result_is_for_those_who_waited_and_for_others_until_a_job_is_removed() -> None:
    removals: int | None = 0
    cache = ResultCache(lambda: removals)
    cache.put("x", Completed("f", b"1"))
    since = cache.puts
    assert cache.get("x") == JobResult("x", JobStatus.COMPLETED, "f", b"1")
    removals = None  # it cannot be told
    assert cache.get("x") is None
    assert cache.known(["x", "y"], since) == {}
    assert cache.known(["x", "y"], since - 1) == {"x": JobResult("x", JobStatus.COMPLETED, "f", b"1")}
    removals = 0
    assert cache.known(["x", "y"], since) == {"x": JobResult("x", JobStatus.COMPLETED, "f", b"1")}
    removals = 1
    cache.put("y", Completed("g", b"2"))
    assert cache.known(["y", "x"], since) == {"y": JobResult("y", JobStatus.COMPLETED, "g", b"2")}
    assert cache.get("x") is None
    cache.put("x", Completed("f", b"3"))
    assert cache.get("x") == JobResult("x", JobStatus.COMPLETED, "f", b"3")
    cache.put("x", Completed("f", bytes(1 << 17)))  # too large to be kept; what it replaces is wrong now
    assert cache.get("x") is None


class Page(Struct, frozen=True):
    number: int


async def draw(number: int) -> Page:
    return Page(number)


async def test_a_cached_result_is_read_as_that_from_the_store_is(jp: JobProcessor) -> None:
    submitted = await jp.submit_job(draw, 1)
    assert await submitted == Page(1)
    again: JobHandle[Page] = jp.handle(submitted.id)  # which knows no function
    assert await again == await jp.get_result(submitted.id) == Page(1)
    assert await gather(again) == [Page(1)]
    assert [await done async for done in as_completed([again])] == [Page(1)]
    assert [result.function for result in await jp.wait_for_results([again])] == [f"{__name__}:draw"]


# -- callables


async def one() -> int:
    return 1


@pytest.mark.persistent
@pytest.mark.parametrize("ended", ["cancelled", "skipped"])
async def test_a_local_job_runs_its_own_callable_not_that_of_the_job_that_others_removed(
    stores: Stores, ended: str
) -> None:
    async with stores.processor(heartbeat=1000.0, lease=4000.0) as jp, stores.processor(enable_daemon=False) as other:
        parent = await other.submit_job(nothing, job_id="parent", delay=3600)
        await jp.submit_job(lambda: "old", local=True, job_id="x", depends_on="parent")
        await other.cancel_job(parent if ended == "skipped" else "x")
        await other.cancel_job(parent)
        await other.remove_jobs(["x", "parent"])
        new = await jp.submit_job(lambda: "new", local=True, job_id="x")
        assert await within(PATIENCE, new.result()) == "new"


async def test_a_local_job_that_is_there_already_keeps_its_callable(jp: JobProcessor) -> None:
    held = Held()
    parent = await jp.submit_job(held.body, local=True)

    def make(value: str) -> Callable[[], str]:
        return lambda: value

    first = await jp.submit_job(make("first"), local=True, job_id="x", depends_on=parent)
    again = await jp.submit_job(make("again"), local=True, job_id="x", depends_on=parent, if_exists="return")
    held.go.open()
    assert await first == await again == "first"


# -- the live graph


@pytest.mark.persistent
async def test_a_submission_is_no_cycle_through_jobs_that_are_no_more(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp, stores.processor() as other:
        await jp.submit_job(nothing, job_id="b")
        await jp.submit_job(nothing, job_id="a", depends_on="b")
        await other.drain()
        await other.remove_jobs(["a", "b"])
        await jp.submit_job(nothing, job_id="a")
        again = await jp.submit_job(nothing, job_id="b", depends_on="a")
        assert (await within(PATIENCE, other.wait_for_job(again.id))).status is COMPLETED


@pytest.mark.persistent
async def test_a_cycle_is_found_also_through_ids_that_were_used_before(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp, stores.processor() as other:
        await jp.submit_job(nothing, job_id="first")
        await jp.submit_job(nothing, job_id="a", depends_on="first")
        await other.drain()
        await other.remove_jobs(["a", "first"])
        with pytest.raises(CyclicDependencyError):
            await jp.submit_jobs(
                [
                    JobRequest(func=nothing, job_id="a", depends_on=["b"]),
                    JobRequest(func=nothing, job_id="b", depends_on=["a"]),
                ]
            )


@pytest.mark.persistent
@pytest.mark.parametrize("how", ["ended", "removed"])
async def test_the_live_graph_forgets_what_others_ended(stores: Stores, how: str) -> None:
    clock = ManualClock()
    async with (
        stores.processor(clock=clock, enable_daemon=False) as jp,
        stores.processor(enable_daemon=False) as other,
    ):
        await jp.submit_job(nothing, job_id="b", delay=3600)
        await jp.submit_job(nothing, job_id="a", depends_on="b")
        await jp.submit_job(nothing, job_id="stays", delay=3600)
        await jp.submit_job(nothing, job_id="waits", depends_on="stays")
        await other.cancel_job("b")
        if how == "removed":
            await other.remove_jobs(["a", "b"])
        assert "a" in jp.dag

        def forgotten() -> bool:
            clock.advance(31)
            return "a" not in jp.dag

        await comes_true(forgotten)
        assert set(jp.dag.graph.edges) == {("stays", "waits")}


# -- streams, and what is said once


async def test_a_stream_of_the_id_gives_each_event_of_the_new_job_once(jp: JobProcessor) -> None:
    await (await jp.submit_job(echo, 1, job_id="x"))
    old = await everything(jp.stream_job("x"))
    await jp.remove_jobs("x")
    await (await jp.submit_job(echo, 2, job_id="x"))
    new = await everything(jp.stream_job("x"))
    assert [event.seq for event in new] == [1, 2, 3]
    assert await everything(jp.stream_job("x", old[-1].cursor)) == new


async def test_what_another_job_of_the_id_was_skipped_for_is_not_said_of_the_new_one(jp: JobProcessor) -> None:
    parent = await jp.submit_job(nothing, job_id="parent", delay=3600)
    child = await jp.submit_job(nothing, job_id="x", depends_on=parent)
    await parent.cancel()
    with pytest.raises(JobSkippedError):
        await child
    await jp.remove_jobs(["parent", "x"])
    new = await jp.submit_job(echo, 2, job_id="x")
    assert await new == 2
    job = await jp.get_job("x")
    assert (job.because, job.error, job.attempt) == (None, None, 1)


@pytest.mark.persistent
async def test_a_new_job_that_nobody_can_run_is_warned_of_although_an_old_one_of_its_id_was(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, queues=["default"]) as jp:

        def warned() -> bool:
            clock.advance(0.8)
            return "waiting for job 'x'" in caplog.text

        async def wait() -> None:
            with pytest.raises(JobCancelledError):
                await jp.handle("x")

        for _ in range(2):
            caplog.clear()
            await jp.submit_job(nothing, job_id="x", queue="nobody's")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await comes_true(warned)
                await jp.cancel_job("x")
            await jp.remove_jobs("x")
            clock.advance(0.8)
            await anyio.wait_all_tasks_blocked()
