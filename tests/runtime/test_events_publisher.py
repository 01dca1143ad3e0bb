"""EventPublisher alone, and beside others on one backend object: what is stored is delivered, once and in order."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace

from asyncjobs import (
    BackendClosedError,
    BackendError,
    ConfigurationError,
    EventPublisher,
    JobDaemon,
    JobEvent,
    JobNotFoundError,
    StatusStreamer,
)
from asyncjobs.backends.base import JobBackend, NewJob
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.runtime.events.publisher import EventSubscription
from asyncjobs.testing import FaultyBackend
from tests.runtime.support import PATIENCE, Stores, add, comes_true, take, within

pytestmark = pytest.mark.anyio


def new(job_id: str) -> NewJob:
    return NewJob(id=job_id, function="t:f", call=b"", queue="nobodys", retry=RetryPolicy())


def ids(events: list[JobEvent]) -> list[str]:
    return [event.job_id for event in events]


async def log_of(backend: JobBackend) -> list[JobEvent]:
    return list((await backend.read_events(None, limit=10_000)).events)


async def until(subscription: EventSubscription, job_id: str) -> list[JobEvent]:
    """Events up to the first one of this job."""
    events: list[JobEvent] = []
    with anyio.fail_after(PATIENCE):
        async for event in subscription:
            events.append(event)
            if event.job_id == job_id:
                return events
    raise AssertionError("the subscription ended")


async def test_a_subscriber_gets_what_is_stored_from_the_call_on(stores: Stores) -> None:
    backend = stores.backend()
    async with EventPublisher(backend) as publisher:
        await backend.enqueue_jobs([new("before")])
        if "dense_log" not in backend.capabilities:
            newest = await backend.last_cursor()
            await comes_true(lambda: publisher.tail.cursor == newest)
        subscription = publisher.subscribe()
        await backend.enqueue_jobs([new("a"), new("b")])
        await backend.cancel_jobs(["a"])
        events = await take(subscription, 3)
        assert [(event.job_id, event.type) for event in events] == [
            ("a", "submitted"),
            ("b", "submitted"),
            ("a", "cancelled"),
        ]


async def test_of_a_job_a_subscriber_gets_all_and_the_end_ends_it(stores: Stores) -> None:
    backend = stores.backend()
    async with EventPublisher(backend) as publisher, stores.processor(backend=backend) as jp:
        job = await jp.submit_job(add, 1, 2)
        await within(PATIENCE, job.result())
        with anyio.fail_after(PATIENCE):
            events = [event async for event in publisher.subscribe(job)]
        assert [event.type for event in events] == ["submitted", "started", "completed"]
        with pytest.raises(JobNotFoundError):
            await within(PATIENCE, anext(publisher.subscribe("nobody")))


async def test_only_what_is_stored_is_delivered_whatever_is_published(stores: Stores) -> None:
    backend = stores.backend()
    async with EventPublisher(backend) as publisher:
        subscription = publisher.subscribe()
        await backend.enqueue_jobs([new("a")])
        [stored] = await log_of(backend)
        publisher.publish([stored])  # was delivered
        publisher.publish([replace(stored, job_id="invented", cursor="2", seq=1)])
        publisher.publish([])
        await backend.enqueue_jobs([new("end")])
        assert ids(await until(subscription, "end")) == ["a", "end"]


async def test_any_thread_may_publish(stores: Stores) -> None:
    backend = stores.backend()
    async with EventPublisher(backend) as publisher:
        subscription = publisher.subscribe()
        await backend.enqueue_jobs([new("a")])
        events = await log_of(backend)
        await anyio.to_thread.run_sync(publisher.publish, events)
        await backend.enqueue_jobs([new("end")])
        assert ids(await until(subscription, "end")) == ["a", "end"]


async def test_what_is_published_is_read_at_once_where_nobody_else_notices_it(stores: Stores) -> None:
    """A commit of which no listener and no watcher knows: ``publish`` is what brings it."""
    backend = stores.backend()
    async with EventPublisher(backend) as publisher:
        subscription = publisher.subscribe()
        await backend.enqueue_jobs([new("live")])
        assert ids(await take(subscription, 1)) == ["live"]
        publisher._stop_listening()
        await backend.enqueue_jobs([new("a")])
        await anyio.to_thread.run_sync(publisher.publish, await log_of(backend))
        assert ids(await take(subscription, 1)) == ["a"]


async def test_what_is_no_event_is_refused(stores: Stores) -> None:
    publisher = EventPublisher(stores.backend())
    with pytest.raises(BackendClosedError):
        publisher.publish([])
    async with publisher:
        for wrong in ("x", [1], [{"job_id": "a"}]):
            with pytest.raises(ConfigurationError, match="events"):
                publisher.publish(wrong)
        with pytest.raises(ConfigurationError, match="job_id"):
            publisher.subscribe(7)
    with pytest.raises(ConfigurationError, match="backend"):
        EventPublisher("jobs.db")


async def test_to_unsubscribe_ends_a_wait(stores: Stores) -> None:
    async with EventPublisher(stores.backend()) as publisher:
        subscription = publisher.subscribe()
        got: list[JobEvent] = []

        async def read() -> None:
            got.extend([event async for event in subscription])

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await comes_true(lambda: publisher.tail._subscriptions)
                publisher.unsubscribe(subscription)
        publisher.unsubscribe(subscription)
        assert got == []
        assert not publisher.tail._subscriptions


async def test_leaving_ends_every_subscription_although_others_have_the_store_open(stores: Stores) -> None:
    backend = stores.backend()
    ended: list[str] = []

    async def read(subscription: EventSubscription, name: str) -> None:
        async for _ in subscription:
            pass
        ended.append(name)

    async with backend:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                async with EventPublisher(backend) as publisher:
                    await backend.enqueue_jobs([new("a")])
                    tail = publisher.tail
                    tasks.start_soon(read, publisher.subscribe(), "all")
                    tasks.start_soon(read, publisher.subscribe("a"), "job")
                    await comes_true(lambda: len(tail._subscriptions) == 2)
        assert sorted(ended) == ["all", "job"]
        with pytest.raises(BackendClosedError):
            publisher.subscribe()
        assert await backend.count_jobs()


async def test_a_reader_that_falls_behind_misses_nothing(stores: Stores) -> None:
    backend = stores.backend()
    async with EventPublisher(backend) as publisher:
        subscription = publisher.subscribe()
        await backend.enqueue_jobs([new("first")])
        assert ids(await take(subscription, 1)) == ["first"]
        for start in range(0, 3000, 500):
            await backend.enqueue_jobs([new(f"j{i}") for i in range(start, start + 500)])
        assert ids(await take(subscription, 3000)) == [f"j{i}" for i in range(3000)]


async def test_an_error_of_the_store_is_raised_and_iterating_goes_on(stores: Stores) -> None:
    backend = FaultyBackend(stores.backend())
    async with EventPublisher(backend) as publisher:
        subscription = publisher.subscribe()
        backend.fail("read_events")
        with pytest.raises(BackendError):
            await within(PATIENCE, anext(subscription))
        await backend.enqueue_jobs([new("a")])
        assert ids(await take(subscription, 1)) == ["a"]


async def test_it_opens_what_is_closed_and_leaves_open_what_was_open(stores: Stores) -> None:
    backend = stores.backend()
    async with EventPublisher(backend):
        await backend.count_jobs()
    with pytest.raises(BackendClosedError):
        await backend.count_jobs()
    async with backend:
        async with EventPublisher(backend):
            pass
        await backend.count_jobs()


async def test_it_may_be_entered_again_and_started_several_times(stores: Stores) -> None:
    backend = stores.backend()
    publisher = EventPublisher(backend)
    for round_ in range(2):
        async with publisher:
            await publisher.start()
            await publisher.stop()
            subscription = publisher.subscribe()
            await backend.enqueue_jobs([new(f"a{round_}")])
            assert ids(await take(subscription, 1)) == [f"a{round_}"]
    await publisher.stop()


async def test_a_store_that_cannot_be_read_keeps_it_from_starting(stores: Stores) -> None:
    backend = FaultyBackend(stores.backend())
    backend.fail("last_cursor")
    publisher = EventPublisher(backend)
    with pytest.raises(BackendError):
        await publisher.start()
    with pytest.raises(BackendClosedError):
        await backend.count_jobs()
    async with publisher:
        publisher.subscribe()


# -- beside others


async def test_a_streamer_streams_and_reports_beside_it(stores: Stores) -> None:
    backend = stores.backend()
    publisher = EventPublisher(backend)
    streamer = StatusStreamer(backend, publisher, functions=[add])
    with pytest.raises(BackendClosedError):
        await anext(streamer.stream_all())
    with pytest.raises(ConfigurationError, match="event_publisher"):
        StatusStreamer(FaultyBackend(backend), publisher)
    async with publisher, JobDaemon(backend, functions=[add]), stores.processor(backend=backend) as jp:
        job = await jp.submit_job(add, 1, 2, group="g")
        with anyio.fail_after(PATIENCE):
            types = [event.type async for event in streamer.stream_job(job)]
            assert types == [event.type async for event in streamer.stream_group("g")]
            frames = b"".join([frame async for frame in streamer.subscribe_sse(job_id=job)])
        assert types == ["submitted", "started", "completed"]
        assert frames.count(b"event: completed") == frames.count(b"event: end") == 1
        assert (await streamer.poll_status(job)).result == 3
        assert list(await streamer.poll_batch([job, "nobody"])) == [job, "nobody"]


async def test_a_daemon_runs_what_another_user_of_the_backend_object_stores(stores: Stores) -> None:
    """No other process changed anything, so no watcher tells it: the commit itself has to."""
    backend = stores.backend()
    async with JobDaemon(backend, functions=[add], poll_interval=60.0):
        async with stores.processor(backend=backend, enable_daemon=False) as jp:
            for n in range(3):
                assert await (await jp.submit_job(add, n, 1)).result(timeout=PATIENCE) == n + 1


USERS = ["publisher", "daemon", "processor", "second publisher"]


@pytest.mark.parametrize("order", list(itertools.permutations(USERS))[::5], ids=" ".join)
async def test_whoever_leaves_first_the_others_see_everything_once(
    stores: Stores, anyio_backend: str, order: tuple[str, ...]
) -> None:
    """On asyncio in every order; trio's task groups are left in the order of their opening alone."""
    backend = stores.backend()
    if anyio_backend == "trio":
        order = tuple(reversed(USERS))
    before = threading.active_count()
    publishers = {"publisher": EventPublisher(backend), "second publisher": EventPublisher(backend)}
    jp = stores.processor(backend=backend, enable_daemon=False)
    daemon = JobDaemon(backend, functions=[add], poll_interval=0.02)
    users: dict[str, Any] = {**publishers, "daemon": daemon, "processor": jp}
    for name in USERS:
        await users[name].__aenter__()
    seen = {name: publisher.subscribe() for name, publisher in publishers.items()}
    present = set(USERS)
    for n, leaving in enumerate(order):
        name = f"job{n}"
        if "processor" in present:
            await jp.submit_job(add, n, 1, job_id=name)
        else:
            await backend.enqueue_jobs([new(name)])
        if stores.kind == "sqlite":
            async with stores.backend() as other:
                await other.enqueue_jobs([new(f"foreign{n}")])
        if {"processor", "daemon"} <= present:
            await within(PATIENCE, jp.wait_for_job(name))
        await backend.enqueue_jobs([new(f"end{n}")])
        log = await log_of(backend)
        for publisher, subscription in seen.items():
            if publisher in present:
                got = await until(subscription, f"end{n}")
                assert got == log[-len(got) :], "in the order of the log, without a gap"
                assert n == 0 or log[-len(got) - 1].job_id == f"end{n - 1}", "all since the last look"
        await users[leaving].__aexit__(None, None, None)
        present.discard(leaving)
    with pytest.raises(BackendClosedError):
        await backend.count_jobs()
    gc.collect()
    await comes_true(lambda: threading.active_count() <= before + 1)  # aiosqlite's threads end by themselves
    listeners: Any = backend._listeners
    assert not listeners._kept


async def test_a_wait_ends_with_its_processor_although_others_have_the_store_open(stores: Stores) -> None:
    backend = stores.backend()
    outcomes: list[str] = []

    async def wait(name: str, call: Callable[[], Any]) -> None:
        try:
            await call()
        except BackendClosedError:
            outcomes.append(name)

    async def first(stream: AsyncIterator[JobEvent]) -> None:
        async for _ in stream:
            pass

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(backend)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                async with stores.processor(backend=backend, enable_daemon=False) as jp:
                    job = await jp.submit_job(add, 1, 2)
                    tail: Any = jp.streamer._find_tail()
                    tasks.start_soon(wait, "await", job.result)
                    tasks.start_soon(wait, "drain", jp.drain)
                    tasks.start_soon(wait, "stream", lambda: first(jp.stream_job(job)))
                    await comes_true(lambda: tail._subscriptions and len(tail._waiters) == 2)
        assert sorted(outcomes) == ["await", "drain", "stream"]
