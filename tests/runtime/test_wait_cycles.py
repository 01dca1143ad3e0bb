"""Inside of a job, a drain or a stream that would wait for the job itself is refused; any other lends its slot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import (
    CyclicDependencyError,
    DaemonConfig,
    JobProcessor,
    JobTimeoutError,
    SQLiteConfig,
    SyncJobs,
    current_job,
    gather,
)
from asyncjobs.processor import get_engine
from tests.runtime.support import PATIENCE, Gate, Held, Stores, add, comes_true, nothing

pytestmark = pytest.mark.anyio

Body = Callable[[JobProcessor], Awaitable[Any]]


@pytest.fixture
async def one(stores: Stores) -> AsyncIterator[JobProcessor]:
    """A processor with a single slot."""
    async with stores.processor(num_workers=1) as processor:
        yield processor


async def read(stream: AsyncIterator[Any]) -> list[str]:
    return [event.type async for event in stream]


def closing(stream: Any) -> aclosing[Any]:
    """Close a stream that is not read to its end."""
    return aclosing(stream)


async def path_of_refusal(jp: JobProcessor, body: Body, **options: Any) -> tuple[str, ...]:
    """Run ``body`` as the job "me", and return the circle that it is refused for."""

    async def me() -> list[str]:
        with pytest.raises(CyclicDependencyError) as caught:
            await body(jp)
        return list(caught.value.path)

    job = await jp.submit_job(me, job_id="me", local=True, max_retries=0, **options)
    return tuple(await job.result(timeout=PATIENCE))


# -- what would wait for the calling job


async def drain_all(jp: JobProcessor) -> None:
    await jp.drain()


async def drain_all_for_a_while(jp: JobProcessor) -> None:
    await jp.drain(timeout=PATIENCE)


async def drain_its_group(jp: JobProcessor) -> None:
    await jp.drain("studio")


async def stream_itself(jp: JobProcessor) -> None:
    await read(jp.stream_job("me"))


async def stream_its_handle(jp: JobProcessor) -> None:
    await read(jp.handle("me").events())


async def stream_its_group(jp: JobProcessor) -> None:
    await read(jp.stream_group("studio"))


@pytest.mark.parametrize(
    "body",
    [drain_all, drain_all_for_a_while, drain_its_group, stream_itself, stream_its_handle, stream_its_group],
    ids=lambda body: body.__name__,
)
async def test_a_job_does_not_wait_for_its_own_end(jp: JobProcessor, body: Body) -> None:
    assert await path_of_refusal(jp, body, group="studio") == ("me", "me")


async def test_a_job_may_read_what_is_stored_of_itself(jp: JobProcessor) -> None:
    async def me() -> list[str]:
        types: list[str] = []
        async with closing(jp.stream_job("me")) as events:
            async for event in events:
                types.append(event.type)
                if event.type == "started":
                    break
        return types

    job = await jp.submit_job(me, job_id="me", local=True, max_retries=0)
    assert await job.result(timeout=PATIENCE) == ["submitted", "started"]


@pytest.mark.parametrize("how", ["drain", "stream"])
async def test_a_group_with_a_dependent_of_the_job_is_not_waited_for(jp: JobProcessor, how: str) -> None:
    go = Gate()

    async def body(jp: JobProcessor) -> None:
        await go.wait()
        await (jp.drain("late") if how == "drain" else read(jp.stream_group("late")))

    async with anyio.create_task_group() as tasks:

        async def submit_dependents() -> None:
            while not await jp.backend.get_jobs(["me"]):
                await anyio.lowlevel.checkpoint()
            await jp.submit_job(nothing, job_id="child", depends_on="me")
            await jp.submit_job(nothing, job_id="grandchild", depends_on="child", group="late")
            go.open()

        tasks.start_soon(submit_dependents)
        assert await path_of_refusal(jp, body) == ("me", "child", "grandchild", "me")


async def test_a_dependent_is_not_streamed(jp: JobProcessor) -> None:
    go = Gate()

    async def body(jp: JobProcessor) -> None:
        await go.wait()
        await read(jp.stream_job("child"))

    async with anyio.create_task_group() as tasks:

        async def submit_dependent() -> None:
            while not await jp.backend.get_jobs(["me"]):
                await anyio.lowlevel.checkpoint()
            await jp.submit_job(nothing, job_id="child", depends_on="me")
            go.open()

        tasks.start_soon(submit_dependent)
        assert await path_of_refusal(jp, body) == ("me", "child", "me")


async def test_a_group_of_one_that_awaits_the_job_is_not_drained(jp: JobProcessor) -> None:
    async def waits() -> None:
        await jp.handle("me")

    async def body(jp: JobProcessor) -> None:
        await jp.submit_job(waits, job_id="waits", group="others", local=True)
        await comes_true(lambda: "waits" in get_engine(jp)._parts.waiting.waits)
        await jp.drain("others")

    assert await path_of_refusal(jp, body) == ("me", "waits", "me")


async def test_one_that_drains_the_jobs_group_is_not_awaited(jp: JobProcessor) -> None:
    async def drains() -> None:
        await jp.drain("studio")

    async def body(jp: JobProcessor) -> None:
        await jp.submit_job(drains, job_id="drains", local=True)
        await comes_true(lambda: "drains" in get_engine(jp)._parts.waiting.waits)
        await jp.handle("drains")

    assert await path_of_refusal(jp, body, group="studio") == ("me", "drains", "me")


@pytest.mark.parametrize("how", ["await", "drain", "stream"])
async def test_of_two_that_begin_to_wait_for_each_other_at_the_same_time_one_is_refused(
    jp: JobProcessor, how: str
) -> None:
    for turn in range(5):
        together = Gate()

        async def body(other: str, together: Gate = together) -> str:
            await together.wait()
            try:
                if how == "await":
                    await jp.handle(other)
                elif how == "drain":
                    await jp.drain(other)
                else:
                    await read(jp.stream_job(other))
            except CyclicDependencyError:
                return "refused"
            return "waited"

        a, b = f"a{turn}", f"b{turn}"
        jobs = [
            await jp.submit_job(body, other, job_id=me, group=me, local=True, max_retries=0)
            for me, other in ((a, b), (b, a))
        ]
        together.open()
        outcomes = await gather(*jobs, timeout=PATIENCE)
        assert "refused" in outcomes


@pytest.mark.persistent
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_a_processor_that_a_body_opens_on_its_own_store_does_not_wait_for_it_either(
    stores: Stores, threaded: bool
) -> None:
    async def drains_there() -> str:
        async with stores.processor(enable_daemon=False) as there:
            try:
                await there.drain()
            except CyclicDependencyError as error:
                return error.path[0]
        return "?"

    def drains_there_in_a_thread() -> str:
        with SyncJobs(SQLiteConfig(db_path=stores.path), enable_daemon=False) as there:
            try:
                there.handle(current_job().id).result()
            except CyclicDependencyError as error:
                return error.path[0]
        return "?"

    async with stores.processor() as jp:
        body = drains_there_in_a_thread if threaded else drains_there
        job = await jp.submit_job(body, job_id="me", local=True, max_retries=0)
        assert await job.result(timeout=PATIENCE) == "me"


async def await_other(path: str, other: str, patience: float | None) -> str:
    """A processor that knows nothing of the waits of others, as in another process."""
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as own:
        try:
            return await own.handle(other).result(patience)
        except JobTimeoutError:
            return "too late"


@pytest.mark.persistent
async def test_a_circle_of_waits_over_several_processors_is_ended_by_a_timeout_of_one(stores: Stores) -> None:
    """It is not refused: the README says so, and that a timeout ends it."""
    path = str(stores.path)
    async with stores.processor(num_workers=1) as jp:
        one = await jp.submit_job(await_other, path, "two", 1.0, job_id="one")
        two = await jp.submit_job(await_other, path, "one", None, job_id="two")
        assert await gather(one, two, timeout=PATIENCE) == ["too late", "too late"]


async def test_outside_of_jobs_nothing_of_this_is_refused(jp: JobProcessor) -> None:
    job = await jp.submit_job(nothing, group="studio")
    assert (await read(jp.stream_group("studio")))[-1] == "completed"
    assert (await read(jp.stream_job(job)))[-1] == "completed"
    await jp.drain("studio", timeout=PATIENCE)
    await jp.drain(timeout=PATIENCE)


# -- what does not, lends the slot


async def drain_others(jp: JobProcessor) -> str:
    await jp.submit_job(nothing, group="others", delay=0.05)
    await jp.drain("others")
    return "drained"


async def follow_a_child(jp: JobProcessor) -> str:
    child = await current_job().submit_job(nothing)
    return (await read(jp.stream_job(child)))[-1]


async def follow_a_group(jp: JobProcessor) -> str:
    await jp.submit_job(nothing, group="others", delay=0.05)
    return (await read(jp.stream_group("others")))[-1]


async def follow_everything(jp: JobProcessor) -> str:
    child = await current_job().submit_job(nothing)
    async with closing(jp.stream_all()) as events:
        async for event in events:
            if event.job_id == child.id and event.status is not None and event.status.terminal:
                return event.type
    return "?"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (drain_others, "drained"),
        (follow_a_child, "completed"),
        (follow_a_group, "completed"),
        (follow_everything, "completed"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_waiting_for_others_lends_the_only_slot(one: JobProcessor, body: Body, said: str) -> None:
    async def me() -> Any:
        return await body(one)

    assert await (await one.submit_job(me, local=True, max_retries=0)).result(timeout=PATIENCE) == said
    assert await (await one.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3


async def test_between_the_events_of_a_stream_the_body_is_counted_as_busy(one: JobProcessor) -> None:
    assert one.daemon is not None
    slots = one.daemon.runner.slots
    child = Held()

    async def me() -> list[int]:
        busy: list[int] = []
        handle = await current_job().submit_job(child.body, local=True)
        async for event in one.stream_job(handle):
            busy.append(slots.busy)
            if event.type == "started":
                child.go.open()
        return busy

    busy = await (await one.submit_job(me, local=True, max_retries=0)).result(timeout=PATIENCE)
    assert all(1 <= count <= 2 for count in busy)


async def test_a_drain_inside_a_job_that_takes_too_long_is_over_in_time(one: JobProcessor) -> None:
    blocker = Held()

    async def me() -> str:
        await one.submit_job(blocker.body, group="others", local=True)
        with pytest.raises(JobTimeoutError, match="draining group 'others'"):
            await one.drain("others", timeout=0.05)
        return "went on"

    assert await (await one.submit_job(me, local=True, max_retries=0)).result(timeout=PATIENCE) == "went on"
    blocker.go.open()
    await one.drain(timeout=PATIENCE)


def test_a_plain_body_follows_a_child_of_its_own_in_the_only_slot(tmp_path: Any) -> None:
    with SyncJobs(SQLiteConfig(db_path=tmp_path / "jobs.db"), daemon=DaemonConfig(num_workers=1)) as jobs:

        def me() -> str:
            child = current_job().submit_job_sync(nothing)
            last = [event.type for event in jobs.stream_job(child.id)][-1]
            with pytest.raises(CyclicDependencyError):
                jobs.drain()
            return last

        job = jobs.submit_job(me, local=True, max_retries=0)
        assert job.result(timeout=PATIENCE) == "completed"
