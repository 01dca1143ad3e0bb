"""Streams: the stored history, then what comes, without a gap or a repetition, from any cursor."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import ConfigurationError, JobEvent, JobNotFoundError, JobProcessor, JobRequest, current_job
from asyncjobs.processor import get_engine
from asyncjobs.runtime.events.log_tail import BUFFER
from tests.runtime.support import (
    CANCELLED,
    PATIENCE,
    Held,
    Stores,
    add,
    everything,
    fail,
    nothing,
    publisher_of,
    take,
)

pytestmark = pytest.mark.anyio


def positions(events: list[JobEvent]) -> list[int]:
    return [int(event.cursor) for event in events]


async def log_of(jp: JobProcessor, **only: Any) -> list[JobEvent]:
    """The whole stored log, read page by page."""
    backend = get_engine(jp).backend
    events: list[JobEvent] = []
    page = await backend.read_events(None, **only)
    events += page.events
    while not page.end:
        page = await backend.read_events(page.cursor, **only)
        events += page.events
    return events


# -- one job


async def test_a_stream_of_a_job_is_its_history_and_ends_with_it(jp: JobProcessor) -> None:
    job = await jp.submit_job(add, 1, 2, group="g")
    await job
    events = await everything(jp.stream_job(job))
    assert [(event.type, event.status, event.seq, event.attempt) for event in events] == [
        ("submitted", "pending", 1, 0),
        ("started", "in_progress", 2, 1),
        ("completed", "completed", 3, 1),
    ]
    assert {(event.job_id, event.group) for event in events} == {(job, "g")}
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_a_stream_goes_on_live(jp: JobProcessor) -> None:
    held = Held()

    async def body() -> None:
        await held.body()
        current_job().emit("output", {"line": "last words"})

    job = await jp.submit_job(body, local=True)
    async with aclosing(job.events()) as stream:
        assert [event.type for event in await take(stream, 2)] == ["submitted", "started"]
        held.go.open()
        assert [event.type for event in await everything(stream)] == ["output", "completed"]


async def test_an_unknown_job_is_refused_when_the_stream_is_read(jp: JobProcessor) -> None:
    with pytest.raises(JobNotFoundError, match="nobody"):
        await everything(jp.stream_job("nobody"))


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5"])
async def test_a_cursor_that_is_none_is_refused(jp: JobProcessor, cursor: str) -> None:
    job = await jp.submit_job(nothing)
    with pytest.raises(ConfigurationError):
        await everything(jp.stream_job(job, after=cursor))


async def test_a_retry_goes_on_in_the_same_stream(jp: JobProcessor) -> None:
    job = await jp.submit_job(fail, max_retries=0)
    await jp.wait_for_job(job)
    last = (await everything(jp.stream_job(job)))[-1]
    await job.retry()
    events = await everything(jp.stream_job(job, after=last.cursor))
    assert [event.type for event in events] == ["retrying", "started", "failed"]
    assert [event.seq for event in events] == [4, 5, 6]


# -- groups and everything


async def test_a_stream_of_a_group_ends_when_all_its_jobs_have_ended(jp: JobProcessor) -> None:
    held = Held()
    async with jp.batch() as batch:
        first = batch.submit_job(held.body, group="movie", job_id="first", local=True)
        batch.submit_job(nothing, depends_on=first, group="movie", job_id="second")
        batch.submit_job(nothing, group="other", job_id="other")
    await held.started.wait()
    async with aclosing(jp.stream_group("movie")) as stream:
        assert len(await take(stream, 3)) == 3
        held.go.open()
        rest = await everything(stream)
    assert {event.job_id for event in rest} <= {"first", "second"}
    assert (rest[-1].job_id, rest[-1].type) == ("second", "completed")
    assert await everything(jp.stream_group("nobody")) == []


async def test_a_group_that_grows_from_inside_is_followed(jp: JobProcessor) -> None:
    async def body(depth: int) -> None:
        if depth:
            await current_job().submit_job(body, depth - 1, local=True)

    await jp.submit_job(body, 3, group="g", job_id="p", local=True)
    events = await everything(jp.stream_group("g"))
    assert [event.job_id for event in events if event.type == "completed"] == ["p", "p/1", "p/1/1", "p/1/1/1"]


async def test_a_stream_of_everything_is_the_log(jp: JobProcessor) -> None:
    await jp.map_jobs(add, range(5), b=1)
    await jp.drain(timeout=PATIENCE)
    stored = await log_of(jp)
    async with aclosing(jp.stream_all()) as stream:
        assert await take(stream, len(stored)) == stored
        job = await jp.submit_job(nothing)
        live = await take(stream, 3)
    assert [event.job_id for event in live] == [job] * 3
    if "dense_log" in get_engine(jp).backend.capabilities:
        assert positions(stored + live) == list(range(1, len(stored) + 4))
    assert stored + live == await log_of(jp)


async def test_streams_end_when_the_processor_does(stores: Stores) -> None:
    from asyncjobs import BackendClosedError

    ended: list[str] = []

    async with anyio.create_task_group() as tasks:
        async with stores.processor() as jp:
            first = anyio.Event()

            async def read() -> None:
                try:
                    async for _ in jp.stream_all():
                        first.set()
                except BackendClosedError:
                    ended.append("closed")

            await jp.submit_job(nothing)
            tasks.start_soon(read)
            await first.wait()
            await jp.drain(timeout=PATIENCE)
    assert ended == ["closed"]


# -- any cursor


async def test_a_reader_that_comes_back_anywhere_sees_each_later_event_once(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        jobs = [batch.submit_job(add, i, 1, group="g") for i in range(8)]
        batch.submit_job(nothing, depends_on=jobs, group="g", job_id="last")
    await jp.drain(timeout=PATIENCE)
    whole = await everything(jp.stream_group("g"))
    one = await everything(jp.stream_job("last"))
    for cut in range(len(whole)):
        assert await everything(jp.stream_group("g", after=whole[cut].cursor)) == whole[cut + 1 :]
    for cut in range(len(one)):
        assert await everything(jp.stream_job("last", after=one[cut].cursor)) == one[cut + 1 :]


@pytest.mark.parametrize("seed", range(3))
async def test_readers_that_leave_and_come_back_while_jobs_run(stores: Stores, seed: int) -> None:
    """Each reads a few events, leaves, and comes back with the last cursor that it saw, until all is over."""
    rng = random.Random(seed)

    async def body(n: int) -> None:
        for i in range(n):
            current_job().emit("output", {"n": i})
            await anyio.lowlevel.checkpoint()

    async with stores.processor(num_workers=4) as jp:
        seen: list[list[JobEvent]] = [[] for _ in range(3)]

        async def read(mine: list[JobEvent]) -> None:
            done = False
            while not done:
                async with aclosing(jp.stream_all(mine[-1].cursor if mine else None)) as stream:
                    for _ in range(rng.randint(1, 7)):
                        mine.append(await anext(stream))
                        if mine[-1].job_id == "last" and mine[-1].type == "completed":
                            done = True
                            break
                for _ in range(rng.randint(0, 3)):
                    await anyio.lowlevel.checkpoint()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for mine in seen:
                    tasks.start_soon(read, mine)
                jobs = []
                for _ in range(12):
                    jobs.append(await jp.submit_job(body, rng.randint(0, 4), local=True))
                await jp.submit_job(nothing, depends_on=jobs, job_id="last")
        whole = await log_of(jp)
        for mine in seen:
            assert mine == whole
        by_job: dict[str, list[int]] = {}
        for event in whole:
            by_job.setdefault(event.job_id, []).append(event.seq)
        assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_job.values())


# -- slow readers


async def test_a_reader_that_falls_behind_misses_nothing_and_holds_nobody(jp: JobProcessor) -> None:
    count = BUFFER // 3 + 200  # three events a job: more than the buffer holds
    async with aclosing(jp.stream_all()) as slow:
        first = await jp.submit_job(nothing)
        seen = await take(slow, 1)
        [subscription] = publisher_of(jp)._subscriptions
        await jp.submit_jobs([JobRequest(func=nothing) for _ in range(count)])
        await jp.drain(timeout=30)  # nobody waited for it
        assert subscription not in publisher_of(jp)._subscriptions
        assert subscription.unread <= BUFFER
        whole = await log_of(jp)
        assert len(whole) == 3 * (count + 1)
        seen += await take(slow, len(whole) - 1)
    assert seen == whole
    assert seen[0].job_id == first


async def test_a_fast_reader_beside_a_slow_one(jp: JobProcessor) -> None:
    fast: list[JobEvent] = []

    async def read() -> None:
        async for event in jp.stream_group("g"):
            fast.append(event)

    async with aclosing(jp.stream_group("g")) as slow:
        held = Held()
        await jp.submit_job(held.body, group="g", local=True)
        await take(slow, 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await jp.submit_jobs([JobRequest(func=nothing, group="g") for _ in range(500)])
            held.go.open()
        rest = await everything(slow)
    whole = await log_of(jp, group="g")
    assert fast == whole
    assert len(rest) == len(whole) - 1


async def test_listeners_are_let_go_of(jp: JobProcessor) -> None:
    publisher = publisher_of(jp)
    job = await jp.submit_job(nothing)
    for _ in range(3):
        async with aclosing(jp.stream_all()) as stream:
            await take(stream, 1)
    await everything(jp.stream_job(job))
    await job
    assert not publisher.listened_to


@pytest.mark.persistent
async def test_events_of_another_processor_on_the_same_file(stores: Stores) -> None:
    async with stores.processor() as jp, stores.processor(enable_daemon=False) as other:
        async with aclosing(other.stream_all()) as stream:
            mine = await other.submit_job(nothing, delay=3600)
            seen = await take(stream, 1)
            theirs = await jp.submit_job(nothing)
            await theirs
            await other.cancel_job(mine)
            seen += await take(stream, 4)
        assert seen == await log_of(jp)
        assert await other.handle(theirs.id) is None
        assert await mine.status() is CANCELLED
