"""Retention in the background: what is due goes, in steps, whoever does it; and the store may fail meanwhile."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import anyio
import pytest

from asyncjobs import ConfigurationError, DaemonConfig, JobQuery, JobStateError, MemoryBackend
from asyncjobs.backends.base import AttemptEnd, ClaimRequest, NewWorker
from asyncjobs.core.requests import Keep
from asyncjobs.runtime import retention
from asyncjobs.runtime.retention import EVERY, RetentionLoop
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.conformance.support import FUNCTION, STOPPED, new
from tests.faults.stores import until
from tests.runtime.support import Held, Stores, nothing, within

pytestmark = pytest.mark.anyio

HOUR = 3600.0


class Upkeep:
    """Maintenance that keeps jobs for an hour, on a store in memory with a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = FaultyBackend(MemoryBackend(clock=self.clock))
        self.maintenance = RetentionLoop(self.store, HOUR, self.clock)

    async def finished(self, *ids: str) -> None:
        await self.store.enqueue_jobs([new(job_id) for job_id in ids])
        await self.store.cancel_jobs(ids)

    async def ids(self) -> list[str]:
        return [job.id for job in await self.store.find_jobs(JobQuery())]

    async def round(self) -> None:
        """It has looked, and waits for the next time; that time comes, and it has looked again."""
        await self.clock.wait_for_sleepers()
        self.clock.advance(EVERY)
        await self.clock.wait_for_sleepers()


@pytest.fixture
async def upkeep() -> AsyncIterator[Upkeep]:
    upkeep = Upkeep()
    async with upkeep.store:
        yield upkeep


async def test_a_job_goes_an_hour_after_it_ended(upkeep: Upkeep) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upkeep.maintenance.run)
        await upkeep.finished("a")
        await upkeep.round()
        upkeep.clock.advance(HOUR / 2)
        await upkeep.finished("b")
        await upkeep.round()
        assert await upkeep.ids() == ["a", "b"]
        upkeep.clock.advance(HOUR / 2)
        await upkeep.round()
        assert await upkeep.ids() == ["b"]
        tasks.cancel_scope.cancel()


async def test_without_a_retention_only_leftovers_are_deleted(upkeep: Upkeep) -> None:
    """Steps that no longer count go, in a store that keeps its finished jobs for ever."""
    store = upkeep.store
    inner = store.inner
    assert isinstance(inner, MemoryBackend)
    worker = await store.register_worker(NewWorker(name="w", slots=1))
    await store.enqueue_jobs([new("a"), new("b")])
    claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({FUNCTION}))
    (job,) = (await store.dequeue_jobs(claim)).jobs
    await store.write_steps([Keep(job.attempt, "x", b"1")])
    await store.cancel_jobs(["a", "b"])
    await store.update_job_status([AttemptEnd(job.attempt, STOPPED)])
    await store.retry_job("a", fresh=True)
    upkeep.clock.advance(1000 * HOUR)
    kept = inner._tables.steps
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(RetentionLoop(store, None, upkeep.clock).run)
        await upkeep.clock.wait_for_sleepers()
        assert sum(map(len, kept.values())) == 1, "a program that ends soon does not look"
        await upkeep.round()
        assert sum(map(len, kept.values())) == 0
        assert await upkeep.ids() == ["a", "b"]
        tasks.cancel_scope.cancel()


async def test_it_looks_at_once_and_then_once_a_minute(upkeep: Upkeep) -> None:
    await upkeep.finished("a")
    upkeep.clock.advance(2 * HOUR)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upkeep.maintenance.run)
        await upkeep.clock.wait_for_sleepers()
        assert await upkeep.ids() == []
        assert upkeep.store.calls["prune"] == 2, "one that removed, one that found nothing more"
        for looks in (3, 4):
            await upkeep.round()
            assert upkeep.store.calls["prune"] == looks
        tasks.cancel_scope.cancel()


async def test_while_there_is_more_it_goes_on_in_steps(upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 10)
    await upkeep.finished(*(f"j{i}" for i in range(95)))
    upkeep.clock.advance(2 * HOUR)
    assert await upkeep.maintenance.prune() == 95
    assert upkeep.store.calls["prune"] == 11


class Slow(FaultyBackend):
    """A store that takes two seconds to remove something, for so many times."""

    def __init__(self, clock: ManualClock, steps: int) -> None:
        super().__init__(MemoryBackend(clock=clock))
        self.clock = clock
        self.left = steps

    async def prune(self, before: int, limit: int) -> int:
        self.clock.advance(2.0)
        self.left -= 1
        return 1 if self.left > 0 else 0


async def test_it_pauses_as_long_as_a_step_took_and_shorter_the_longer_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock()
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(clock, "sleep", sleep)
    assert await RetentionLoop(Slow(clock, 301), HOUR, clock).prune() == 300
    assert len(pauses) == 300
    assert pauses == sorted(pauses, reverse=True)
    assert (pauses[0], pauses[20], pauses[-1]) == (2.0, 1.0, 0.25), "never without a pause"
    assert await RetentionLoop(Slow(clock, 2), HOUR, clock).prune() == 1
    assert pauses[-1] == 2.0, "each round begins politely"


async def test_an_error_of_the_store_is_waited_out_and_told_once(
    upkeep: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asyncjobs")
    await upkeep.finished("a")
    upkeep.clock.advance(2 * HOUR)
    for nth in (1, 2, 3):
        upkeep.store.fail("prune", nth)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upkeep.maintenance.run)
        await upkeep.round()
        await upkeep.round()
        assert await upkeep.ids() == ["a"]
        await upkeep.round()
        assert await upkeep.ids() == []
        tasks.cancel_scope.cancel()
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(",")[0] for line in told] == [
        "finished jobs cannot be removed",
        "store available again (was: finished jobs cannot be removed)",
        "1 finished job removed: retention is over",
    ]


@pytest.mark.parametrize("retention", [-1, True, "1d", float("inf")])
def test_a_retention_that_cannot_be_is_refused(retention: object) -> None:
    with pytest.raises(ConfigurationError, match=r"DaemonConfig\.retention"):
        DaemonConfig(retention=retention)


# -- as part of a processor


async def test_a_daemon_removes_what_it_is_told_to(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, retention=HOUR, lease=10 * HOUR, heartbeat=HOUR) as jp:
        handle = await jp.submit_job(nothing)
        held = Held()
        running = await jp.submit_job(held.body, local=True, depends_on=await jp.submit_job(nothing))
        await within(10, handle.result())
        await within(10, held.started.wait())
        clock.advance(2 * HOUR)
        with anyio.fail_after(10):
            while len(await jp.find_jobs()) != 2:
                clock.advance(1)  # in whichever second of the minute it looks
                await anyio.sleep(0.005)
        held.go.open()
        await within(10, running.result())
        assert len(await jp.find_jobs()) == 2


async def test_by_default_everything_is_kept(stores: Stores) -> None:
    clock = ManualClock()
    backend = FaultyBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=backend, lease=10 * HOUR, heartbeat=HOUR) as jp:
        await within(10, (await jp.submit_job(nothing)).result())
        clock.advance(1000 * HOUR)
        await until(lambda: backend.calls["prune"])
        assert len(await jp.find_jobs()) == 1


@pytest.mark.persistent
async def test_several_daemons_on_one_store_remove_each_job_once(stores: Stores) -> None:
    clock = ManualClock()
    settings = {"retention": HOUR, "lease": 10 * HOUR, "heartbeat": HOUR}
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        handles = await jp.map_jobs(nothing_with, range(400))
        await jp.cancel_jobs(JobQuery())
        keep = await jp.submit_job(nothing, delay=100 * HOUR)
        assert handles
        clock.advance(2 * HOUR)
        async with (
            stores.processor(clock=clock, **settings) as one,
            stores.processor(clock=clock, **settings) as two,
            stores.processor(clock=clock, **settings) as three,
        ):
            with anyio.fail_after(20):
                while len(await jp.find_jobs()) > 1:
                    clock.advance(1)
                    await anyio.sleep(0.005)
            for processor in (one, two, three):
                assert [job.id for job in await processor.find_jobs()] == [keep]
        jp._submitted = 0


async def nothing_with(value: object) -> None:
    pass


# -- by hand


async def test_finished_jobs_are_removed_by_id_or_by_query(stores: Stores) -> None:
    async with stores.processor() as jp:
        one, two, three = [await jp.submit_job(nothing, group=group) for group in ("g", "g", "h")]
        waits = await jp.submit_job(nothing, group="g", delay=HOUR)
        for handle in (one, two, three):
            await within(10, handle.result())
        assert await jp.remove_jobs(one) == [one]
        assert await jp.remove_jobs(JobQuery(group="g")) == [two], "what has not ended is not meant"
        assert await jp.remove_jobs([three, "nobody"]) == [three]
        with pytest.raises(JobStateError):
            await jp.remove_jobs([waits])
        assert [job.id for job in await jp.find_jobs()] == [waits]
        jp._submitted = 0


async def test_a_graph_is_removed_as_a_whole_or_not_at_all(stores: Stores) -> None:
    async with stores.processor() as jp:
        parent = await jp.submit_job(nothing, group="g")
        child = await jp.submit_job(nothing, depends_on=parent)
        await within(10, child.result())
        with pytest.raises(JobStateError) as caught:
            await jp.remove_jobs(JobQuery(group="g"))
        assert caught.value.job_id == child
        assert await jp.remove_jobs(JobQuery(group="g"), components=True) == [parent, child]
        assert await jp.find_jobs() == []


async def test_a_backup_and_less_space(stores: Stores, kind: str) -> None:
    copy = stores.path.with_name("copy.db")
    async with stores.processor() as jp:
        await within(10, (await jp.submit_job(nothing)).result())
        if kind == "memory":
            for call in (jp.backup(copy), jp.compact()):
                with pytest.raises(ConfigurationError, match="not kept in a file"):
                    await call
            return
        await jp.backup(copy)
        assert await jp.compact() >= 0
    assert copy.stat().st_size > 0
