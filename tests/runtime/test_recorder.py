"""What a running body says is stored in order, soon, and not too often; the rest goes with its outcome."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from asyncjobs import JobEvent, JobProcessor, RetryPolicy, current_job
from asyncjobs.backends.base import AttemptRef
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.models import BodyEvent
from asyncjobs.processor import get_engine
from asyncjobs.runtime.context import JobContext
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.support import PATIENCE, Gate, Held, Stores, everything, types, until

pytestmark = pytest.mark.anyio

BODY = ("log", "output", "progress")


class Talker:
    """A body that lends its voice to the test and ends when it is let go."""

    def __init__(self) -> None:
        self.started = Gate()
        self.go = Gate()
        self._job: JobContext | None = None

    @property
    def job(self) -> JobContext:
        assert self._job is not None
        return self._job

    async def body(self) -> None:
        self._job = current_job()
        self.started.open()
        await self.go.wait()

    def sync(self) -> None:
        self._job = current_job()
        self.started.open()
        self.go.wait_sync()


class SlowStore(FaultyBackend):
    """Takes what bodies say only once it is told how that goes."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.asked = anyio.Event()
        self.answer = anyio.Event()
        self.fails = False
        self.unheld = False

    async def append_events(self, said: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        self.asked.set()
        if not self.unheld:
            await self.answer.wait()
        if self.fails:
            self.fails = False
            raise BackendConnectionError("the store is out of reach (a fault that the test asked for)")
        return await super().append_events(said)


def words(events: Sequence[JobEvent]) -> list[Any]:
    """What a body said, without what the engine did."""
    return [event.data.get("message") or event.data.get("n") or event.data["done"] for event in _of(events)]


def _of(events: Sequence[JobEvent]) -> list[JobEvent]:
    return [event for event in events if event.type in BODY]


async def stored(jp: JobProcessor, job_id: str) -> list[JobEvent]:
    page = await get_engine(jp).backend.read_events(job_id=job_id)
    return list(page.events)


async def settle() -> None:
    """Everybody has done what can be done without time passing."""
    await anyio.wait_all_tasks_blocked()


# -- how soon and how often


async def test_after_a_silence_it_is_stored_at_once_and_then_with_what_comes_within_50_ms(stores: Stores) -> None:
    clock, talker = ManualClock(), Talker()
    store = FaultyBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store) as jp:
        job = await jp.submit_job(talker.body, local=True)
        await until(jp, job, "started")
        await talker.started.wait()
        talker.job.log("at once")
        await until(jp, job, "log")
        assert store.calls["append_events"] == 1
        for n in range(1, 11):
            talker.job.emit("output", {"n": n})
        await settle()
        assert store.calls["append_events"] == 1
        clock.advance(0.05)
        await until(jp, job, *["output"] * 10)
        assert store.calls["append_events"] == 2
        await settle()
        clock.advance(10)
        await settle()
        assert store.calls["append_events"] == 2, "nobody looks while nobody speaks"
        talker.job.log("at once again")
        await until(jp, job, "log", "log")
        assert store.calls["append_events"] == 3
        talker.go.open()
        await job.result(timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_progress_is_stored_five_times_a_second_and_the_last_always(stores: Stores, threaded: bool) -> None:
    clock, talker = ManualClock(), Talker()
    async with stores.processor(clock=clock) as jp:
        job = await jp.submit_job(talker.sync if threaded else talker.body, local=True)
        await talker.started.wait()
        for n in range(0, 110, 10):
            for i in range(n, n + 10):
                talker.job.progress(i)
            await settle()
            clock.advance(0.1)
        done = words(await stored(jp, job))
        assert done == [9, 29, 49, 69, 89, 109]  # at 0.0, 0.2, … 1.0 s
        talker.job.progress(200)
        talker.go.open()
        await job.result(timeout=PATIENCE)
        events = await everything(jp.stream_job(job))
        assert words(events)[6:] == [200]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_progress_that_was_held_back_is_stored_without_another_word(stores: Stores) -> None:
    clock, talker = ManualClock(), Talker()
    store = FaultyBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store) as jp:
        job = await jp.submit_job(talker.body, local=True)
        await talker.started.wait()
        talker.job.progress(1)
        await until(jp, job, "progress")
        talker.job.progress(2)
        talker.job.log("three")
        for _ in range(3):
            await settle()
            clock.advance(0.05)
        await settle()
        assert words(await stored(jp, job)) == [1]
        assert store.calls["append_events"] == 1
        clock.advance(0.05)
        await settle()
        assert words(await stored(jp, job)) == [1, 2, "three"]
        talker.go.open()
        await job.result(timeout=PATIENCE)


async def test_each_job_has_its_own_rate(stores: Stores) -> None:
    clock, talkers = ManualClock(), [Talker() for _ in range(3)]
    async with stores.processor(clock=clock) as jp:
        jobs = [await jp.submit_job(talker.body, local=True) for talker in talkers]
        for talker in talkers:
            await talker.started.wait()
        for talker, job in zip(talkers, jobs, strict=True):
            talker.job.progress(1)
            clock.advance(0.05)
            await until(jp, job, "progress")
            talker.go.open()
        for job in jobs:
            await job.result(timeout=PATIENCE)


async def test_a_flood_is_stored_in_bounded_portions(stores: Stores) -> None:
    talker = Talker()
    store = SlowStore(stores.backend())
    sizes: list[int] = []
    inner = store.inner.append_events

    async def counting(said: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        sizes.append(sum(len(events) for _, events in said))
        return await inner(said)

    store.inner.append_events = counting
    store.unheld = True
    async with stores.processor(backend=store) as jp:
        job = await jp.submit_job(talker.body, local=True)
        await talker.started.wait()
        for n in range(1, 5001):
            talker.job.emit("output", {"n": n})
        with anyio.fail_after(PATIENCE):
            while sum(sizes) < 5000:
                await anyio.wait_all_tasks_blocked()
        assert max(sizes) == 2000
        talker.go.open()
        await job.result(timeout=PATIENCE)
        assert words(await everything(jp.stream_job(job))) == list(range(1, 5001))


# -- with the outcome


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "stored"])
async def test_an_outcome_waits_for_what_is_on_its_way_and_carries_it_if_that_fails(
    stores: Stores, fails: bool
) -> None:
    talker = Talker()
    store = SlowStore(stores.backend())
    async with stores.processor(backend=store) as jp:
        job = await jp.submit_job(talker.body, local=True)
        await talker.started.wait()
        talker.job.log("one")
        talker.job.progress(2)
        await store.asked.wait()
        talker.job.log("three")
        talker.job.progress(4)
        talker.job.emit("output", {"n": 5})
        talker.go.open()
        with anyio.fail_after(PATIENCE):
            while job in jp.daemon.runner.attempts.running:
                await settle()
        store.fails = fails
        store.answer.set()
        await job.result(timeout=PATIENCE)
        events = await everything(jp.stream_job(job))
        assert words(events) == (["one", "three", 4, 5] if fails else ["one", 2, "three", 4, 5])
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert events[-1].type == "completed"


@pytest.mark.slow
async def test_a_store_that_is_away_for_a_moment_is_asked_again(stores: Stores) -> None:
    """Also when the body says nothing more; less and less often."""
    clock, talker = ManualClock(), Talker()
    store = FaultyBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store) as jp:
        job = await jp.submit_job(talker.body, local=True)
        await talker.started.wait()
        for nth in (1, 2, 3):
            store.fail("append_events", nth)
        talker.job.log("kept")
        asked: list[int] = []
        for _ in range(20):
            await settle()
            asked.append(store.calls["append_events"])
            clock.advance(0.05)
        assert asked[:15] == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4]
        assert asked[-1] == 4
        assert words(await stored(jp, job)) == ["kept"]
        talker.go.open()
        await job.result(timeout=PATIENCE)


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_fails_all_of_it_is_there_in_order_at_the_end(stores: Stores, seed: int) -> None:
    """Random words with the store failing at random; held against what was said."""
    chance = random.Random(seed)
    store = FaultyBackend(stores.backend())
    said: list[tuple[str, int]] = []

    async def body() -> None:
        job = current_job()
        for n in range(1, chance.randrange(5, 120)):
            kind = chance.choice(BODY)
            if kind == "log":
                job.log(str(n))
            elif kind == "output":
                job.emit("output", {"n": n})
            else:
                job.progress(n)
            said.append((kind, n))
            for _ in range(chance.choice([0, 0, 0, 1, 5])):
                await anyio.lowlevel.checkpoint()

    for nth in chance.sample(range(1, 8), 4):
        store.fail("append_events", nth)
    async with stores.processor(backend=store) as jp:
        job = await jp.submit_job(body, local=True, max_retries=0)
        await job.result(timeout=PATIENCE)
        events = await everything(jp.stream_job(job))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    found = [(event.type, int(word)) for event, word in zip(_of(events), words(events), strict=True)]
    assert [entry for entry in found if entry[0] != "progress"] == [entry for entry in said if entry[0] != "progress"]
    assert found == sorted(found, key=lambda entry: entry[1])
    assert set(found) <= set(said)
    spoken = [n for kind, n in said if kind == "progress"]
    assert [n for kind, n in found if kind == "progress"][-1:] == spoken[-1:]


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_what_is_left_behind_by_a_body_is_heard_no_more(jp: JobProcessor, threaded: bool) -> None:
    """Its outcome was the last word; nobody would take anything more, and it would be kept for nothing."""
    talker = Talker()
    job = await jp.submit_job(talker.sync if threaded else talker.body, local=True)
    await talker.started.wait()
    talker.go.open()
    await job.result(timeout=PATIENCE)
    talker.job.log("too late")
    talker.job.progress(1)
    assert not talker.job.body_events
    assert await types(jp, job) == ["submitted", "started", "completed"]


async def test_events_have_the_number_of_their_attempt(jp: JobProcessor) -> None:
    async def body() -> None:
        job = current_job()
        job.log(f"in {job.attempt}")
        job.progress(job.attempt)
        if job.attempt == 1:
            raise ValueError("once more")

    job = await jp.submit_job(body, local=True, retry=RetryPolicy(max_retries=1, base=0.001))
    await job.result(timeout=PATIENCE)
    events = _of(await everything(jp.stream_job(job)))
    assert [(event.type, event.attempt) for event in events] == [
        ("log", 1), ("progress", 1), ("log", 2), ("progress", 2),
    ]  # fmt: skip


async def test_what_a_store_that_is_away_misses_is_bounded_and_told(stores: Stores) -> None:
    talker = Talker()
    store = SlowStore(stores.backend())
    lines = 30_000
    async with stores.processor(backend=store) as jp:
        job = await jp.submit_job(talker.body, local=True)
        await talker.started.wait()
        talker.job.emit("output", {"n": 1})
        await store.asked.wait()
        for n in range(lines):
            talker.job.log(str(n))
        talker.go.open()
        store.answer.set()
        await job.result(timeout=PATIENCE)
        events = _of(await everything(jp.stream_job(job)))
    assert [events[0].type, events[1].data["dropped"]] == ["output", lines - 10_000]
    assert [event.data["message"] for event in events[2:]] == [str(n) for n in range(lines - 10_000, lines)]


# -- what may be said


@pytest.mark.parametrize("type", ["open", "error", "message", "reset", "bye", "end"])
async def test_the_names_of_streams_and_browsers_are_refused(jp: JobProcessor, type: str) -> None:
    async def body() -> None:
        current_job().emit(type, {})
        current_job().emit(f"job_{type}", {})

    job = await jp.submit_job(body, local=True, max_retries=0)
    await job.result(timeout=PATIENCE)
    refused, stored = (await everything(jp.stream_job(job)))[2:-1]
    assert (refused.type, refused.data["level"]) == ("log", "warning")
    assert f"emit('job_{type}', …)" in refused.data["message"]
    assert stored.type == f"job_{type}"


async def test_what_is_emitted_is_what_it_was_then(jp: JobProcessor) -> None:
    async def body() -> None:
        data: dict[str, Any] = {"list": [1, 2], "tuple": (3,)}
        current_job().emit("output", data)
        data["list"].append(object())  # later, and not to be stored at all

    job = await jp.submit_job(body, local=True, max_retries=0)
    await job.result(timeout=PATIENCE)
    [event] = _of(await everything(jp.stream_job(job)))
    assert event.data == {"list": [1, 2], "tuple": [3]}


async def test_long_texts_are_cut_and_marked(jp: JobProcessor) -> None:
    async def body() -> None:
        job = current_job()
        job.log("z" * 100_000)
        job.log("\udc80" * 10_000)
        job.progress(1, message="p" * 100_000)
        job.log("many", **{f"f{n}": "y" * 5_000 for n in range(100)}, **{"\udc80": 1})

    job = await jp.submit_job(body, local=True, max_retries=0)
    await job.result(timeout=PATIENCE)
    long, odd, progress, many = _of(await everything(jp.stream_job(job)))
    assert (len(long.data["message"]), long.data["cut"]) == (16_384, 100_000)
    assert (len(odd.data["message"]), odd.data["cut"]) == (16_384, 10_000)
    assert (len(progress.data["message"]), progress.data["cut"]) == (16_384, 100_000)
    assert (len(many.data["fields"]), many.data["fields_cut"]) == (64, 101)
    assert set(map(len, many.data["fields"].values())) == {1024}


async def test_after_a_lost_lease_new_bodies_are_heard_while_they_run(stores: Stores) -> None:
    held = Held()

    async def speaks() -> None:
        current_job().progress(1, 2)
        await held.body()

    async with stores.processor() as jp:
        assert jp.daemon is not None
        jp.daemon.runner.executor.lose()
        job = await jp.submit_job(speaks, local=True)
        with anyio.fail_after(PATIENCE):
            async with jp.streamer.reader(job_id=job, types="progress") as reader:
                while not (await reader.next()).events:
                    pass
        held.go.open()
        await job
