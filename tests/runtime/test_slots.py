"""Slots are counted exactly: what is lent comes back, a wait that is cut short is paid back, nothing is given twice."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import JobExecutionError, JobProcessor, JobTimeoutError, as_completed, current_job, gather
from asyncjobs.runtime.attempt import RunningAttempt
from asyncjobs.runtime.slots import Slots
from asyncjobs.testing import FaultyBackend
from tests.runtime.support import COMPLETED, PATIENCE, Gate, Held, Stores, comes_true, nothing, until

pytestmark = pytest.mark.anyio

LOOPS = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


class Bench:
    """Slots without a worker: attempts are begun and ended by hand."""

    def __init__(self, count: int) -> None:
        self.freed = 0
        self.slots = Slots(count, self._freed)

    def _freed(self) -> None:
        self.freed += 1

    def begin(self, *, threaded: bool = False) -> RunningAttempt:
        running = RunningAttempt(cast("Any", None), cast("Any", None))
        running.threaded = threaded
        self.slots.begin(running)
        return running


class Wait:
    """A wait of a body in a task of its own: it may end, be cut short, and be asked whether the body goes on."""

    def __init__(self, bench: Bench, tasks: anyio.abc.TaskGroup, running: RunningAttempt) -> None:
        self._bench = bench
        self._running = running
        self._scope = anyio.CancelScope()
        self._over = anyio.Event()
        self.goes_on = False
        tasks.start_soon(self._run)

    async def _run(self) -> None:
        with self._scope:
            async with self._bench.slots.lent(self._running):
                await self._over.wait()
        self.goes_on = True

    def end(self) -> None:
        self._over.set()

    def cut_short(self) -> None:
        self._scope.cancel()


async def settled() -> None:
    await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def a_wait_whose_slot_another_has() -> AsyncIterator[tuple[Bench, Wait, RunningAttempt]]:
    """One slot, lent by a body that waits; the attempt that has it meanwhile is to be ended."""
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        parent = bench.begin()
        wait = Wait(bench, tasks, parent)
        await settled()
        assert (bench.slots.busy, bench.slots.free, bench.freed) == (0, 1, 1)
        yield bench, wait, bench.begin()
        assert wait.goes_on
        assert (bench.slots.busy, bench.slots.free) == (1, 0)
        bench.slots.end(parent)
    assert (bench.slots.busy, bench.slots.free) == (0, 1)


# -- one attempt after the other


@LOOPS
async def test_a_body_that_waited_has_its_slot_back_before_it_goes_on(anyio_backend: str) -> None:
    async with a_wait_whose_slot_another_has() as (bench, wait, child):
        wait.end()
        await settled()
        assert not wait.goes_on
        bench.slots.end(child)
        await settled()


@LOOPS
async def test_a_body_whose_wait_was_cut_short_goes_on_at_once_and_is_counted(anyio_backend: str) -> None:
    async with a_wait_whose_slot_another_has() as (bench, wait, child):
        wait.cut_short()
        await settled()
        assert wait.goes_on
        assert bench.slots.busy == 2
        bench.slots.end(child)


@LOOPS
async def test_it_goes_on_at_once_also_while_it_waits_to_have_its_slot_back(anyio_backend: str) -> None:
    async with a_wait_whose_slot_another_has() as (bench, wait, child):
        wait.end()
        await settled()
        assert not wait.goes_on
        wait.cut_short()
        await settled()
        assert wait.goes_on
        assert bench.slots.busy == 2
        bench.slots.end(child)


@LOOPS
async def test_nothing_is_claimed_or_handed_over_until_what_is_above_the_slots_is_paid_back(anyio_backend: str) -> None:
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        first, second = bench.begin(), None
        wait = Wait(bench, tasks, first)
        await settled()
        second = bench.begin()
        waits = Wait(bench, tasks, second)
        await settled()
        third = bench.begin()
        waits.end()  # wants its slot back, in order
        await settled()
        wait.cut_short()  # takes it, above the number
        await settled()
        assert bench.slots.busy == 2
        bench.slots.end(third)
        await settled()
        assert not waits.goes_on, "a slot was given that is still to be paid back"
        assert not bench.slots.may_claim()
        assert bench.slots.reserve() == 0
        bench.slots.end(first)
        await settled()
        assert waits.goes_on
        bench.slots.end(second)
    assert bench.slots.busy == 0


@LOOPS
async def test_a_body_that_ended_while_its_slot_was_lent_gives_none_back(anyio_backend: str) -> None:
    """And the wait that it left behind takes none when it is over."""
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        parent = bench.begin(threaded=True)
        wait = Wait(bench, tasks, parent)
        await settled()
        bench.slots.end(parent)
        assert (bench.slots.busy, bench.slots.limiter.total_tokens) == (0, 1)
        wait.end()
        await settled()
        assert wait.goes_on
    assert (bench.slots.busy, bench.slots.limiter.total_tokens) == (0, 1)


@LOOPS
async def test_several_waits_of_one_body_lend_one_slot_and_the_last_takes_it_back(anyio_backend: str) -> None:
    bench = Bench(2)
    async with anyio.create_task_group() as tasks:
        parent = bench.begin()
        first, second = Wait(bench, tasks, parent), Wait(bench, tasks, parent)
        await settled()
        assert bench.slots.busy == 0
        first.cut_short()
        await settled()
        assert bench.slots.busy == 0
        second.end()
        await settled()
        assert bench.slots.busy == 1
        bench.slots.end(parent)


@LOOPS
async def test_a_new_wait_while_the_slot_is_wanted_back_lends_it_again(anyio_backend: str) -> None:
    """One task of the body has to have the slot again when another one begins to wait: none is held, none given."""
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        parent = bench.begin()
        first = Wait(bench, tasks, parent)
        await settled()
        child = bench.begin()
        first.end()
        await settled()
        second = Wait(bench, tasks, parent)
        await settled()
        assert first.goes_on  # as it would have, had both waits begun at the same time
        assert bench.slots.busy == 1
        bench.slots.end(child)
        assert (bench.slots.busy, bench.slots.free) == (0, 1)
        second.end()
        await settled()
        assert bench.slots.busy == 1
        bench.slots.end(parent)
    assert bench.slots.busy == 0


@LOOPS
async def test_a_slot_that_a_claim_holds_is_handed_over_once_the_claim_is_back(anyio_backend: str) -> None:
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        parent = bench.begin()
        wait = Wait(bench, tasks, parent)
        await settled()
        reserved = bench.slots.reserve()
        assert not bench.slots.may_claim()
        wait.end()
        await settled()
        assert not wait.goes_on
        bench.freed = 0
        bench.slots.settle(reserved)  # it brought nothing
        await settled()
        assert wait.goes_on
        assert (bench.slots.busy, bench.slots.reserved, bench.freed) == (1, 0, 0)
        bench.slots.end(parent)


@LOOPS
async def test_a_thread_that_lends_its_slot_lends_a_token_with_it(anyio_backend: str) -> None:
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        parent = bench.begin(threaded=True)
        async with bench.slots.limiter:
            wait = Wait(bench, tasks, parent)
            await settled()
            assert bench.slots.limiter.available_tokens == 1
            wait.cut_short()
            await settled()
            assert bench.slots.limiter.available_tokens == 0
            bench.slots.end(parent)
        assert bench.slots.limiter.available_tokens == 1


@LOOPS
async def test_whatever_happens_in_whatever_order_every_slot_and_token_is_accounted_for(anyio_backend: str) -> None:
    for seed in range(40):
        await _random_life(random.Random(seed), seed)


async def _random_life(rng: random.Random, seed: int) -> None:
    count = rng.randint(1, 3)
    bench = Bench(count)
    slots = bench.slots
    running: list[RunningAttempt] = []
    waits: list[Wait] = []
    reserved: list[int] = []

    def check() -> None:
        assert slots.busy == sum(one.has_slot for one in running), f"seed {seed}"
        assert slots.reserved == sum(reserved), f"seed {seed}"
        lending = sum(one.threaded and not one.has_slot for one in running)
        assert slots.limiter.total_tokens == count + lending, f"seed {seed}"

    def claim() -> None:
        free = max(0, count - slots.busy - slots.reserved)
        reserved.append(slots.reserve())
        assert reserved[-1] == free

    def settle() -> None:
        limit = reserved.pop(rng.randrange(len(reserved)))
        running.extend(bench.begin(threaded=rng.random() < 0.5) for _ in range(rng.randint(0, limit)))
        slots.settle(limit)

    def end() -> None:
        slots.end(running.pop(rng.randrange(len(running))))

    async with anyio.create_task_group() as tasks:
        for _ in range(60):
            choices: list[Callable[[], object]] = [claim]
            if reserved:
                choices += [settle, settle]
            if running:
                choices += [end, lambda: waits.append(Wait(bench, tasks, rng.choice(running)))]
            if waits:
                choices += [lambda: rng.choice(waits).end(), lambda: rng.choice(waits).cut_short()]
            rng.choice(choices)()
            check()
            if rng.random() < 0.7:
                await settled()
                check()
        while reserved:
            settle()
        while running:
            end()
        for wait in waits:
            wait.end()
        await settled()
        check()
    assert (slots.busy, slots.reserved, slots.limiter.total_tokens) == (0, 0, count)


# -- in a worker


class Count:
    """How many bodies run at a time."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def body(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        self.running -= 1


async def most_at_once(jp: JobProcessor, jobs: int = 12) -> int:
    """How many of many jobs run at a time."""
    count = Count()
    handles = [await jp.submit_job(count.body, local=True) for _ in range(jobs)]
    await gather(*handles, timeout=PATIENCE)
    return count.most


async def _ends_by_result_timeout(child: Any) -> None:
    with pytest.raises(JobTimeoutError):
        await child.result(timeout=0.01)


async def _ends_by_move_on_after(child: Any) -> None:
    with anyio.move_on_after(0.01) as scope:
        await child
    assert scope.cancelled_caught


async def _ends_by_gather_timeout(child: Any) -> None:
    with pytest.raises(JobTimeoutError):
        await gather(child, timeout=0.01)


async def _ends_by_a_failing_sibling(child: Any) -> None:
    with pytest.raises(ExceptionGroup):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child.result)
            await anyio.wait_all_tasks_blocked()
            raise ValueError


async def _ends_by_as_completed_timeout(child: Any) -> None:
    with pytest.raises(JobTimeoutError):
        async for _ in as_completed([child], timeout=0.01):
            pass


CUT_SHORT = [
    _ends_by_result_timeout,
    _ends_by_move_on_after,
    _ends_by_gather_timeout,
    _ends_by_a_failing_sibling,
    _ends_by_as_completed_timeout,
]


@pytest.mark.parametrize("cut_short", CUT_SHORT, ids=lambda one: one.__name__.removeprefix("_ends_by_"))
async def test_after_waits_that_were_cut_short_no_more_jobs_run_than_there_are_slots(
    stores: Stores, cut_short: Any
) -> None:
    async with stores.processor(num_workers=1) as jp:
        child = Held()

        async def parent() -> None:
            handle = await current_job().submit_job(child.body, key="child", local=True)
            for _ in range(3):
                await cut_short(handle)
            await nothing()

        assert await (await jp.submit_job(parent, local=True, max_retries=0)).result(timeout=PATIENCE) is None
        child.go.open()
        await jp.drain(timeout=PATIENCE)
        assert await most_at_once(jp) == 1


async def test_a_thread_whose_wait_timed_out_is_counted_as_busy_again(stores: Stores) -> None:
    async with stores.processor(num_workers=1) as jp:
        assert jp.daemon is not None
        slots = jp.daemon.runner.slots
        child, timed_out, go = Held(), Gate(), Gate()

        def parent() -> None:
            handle = current_job().submit_job_sync(child.body, local=True)
            for _ in range(2):
                with pytest.raises(JobTimeoutError):
                    handle.result_sync(timeout=0.05)
            timed_out.open()
            go.wait_sync()

        job = await jp.submit_job(parent, local=True, max_retries=0)
        await timed_out.wait()
        assert slots.busy == (2 if child.started.is_open else 1)
        assert slots.limiter.total_tokens == 1
        late = Held()
        handle = await jp.submit_job(late.body, local=True)
        go.open()
        await job
        assert late.starts == 0 or not child.started.is_open
        child.go.open()
        late.go.open()
        await handle
        await jp.drain(timeout=PATIENCE)
        assert (slots.busy, slots.limiter.available_tokens) == (0, 1)


async def test_a_wait_in_a_process_of_its_own_that_timed_out_is_counted_as_busy_again(
    stores: Stores, anyio_backend: str
) -> None:
    from tests.runtime import isolated

    async with stores.processor(num_workers=1) as jp:
        job = await jp.submit_job(isolated.stop_waiting, isolation="process", max_retries=0)
        await job.result(timeout=PATIENCE)
        await jp.drain(timeout=PATIENCE)
        assert await most_at_once(jp) == 1


async def test_a_body_that_leaves_a_wait_behind_leaves_its_slot(stores: Stores, anyio_backend: str) -> None:
    """A task of asyncio that outlives its body and waits for a job goes on waiting, and counts for nothing."""
    if anyio_backend != "asyncio":
        pytest.skip("trio has no tasks without a nursery")
    import asyncio

    async with stores.processor(num_workers=1) as jp:
        left: list[asyncio.Task[Any]] = []
        child = Held("late")

        async def parent() -> None:
            handle = await current_job().submit_job(child.body, local=True)
            left.append(asyncio.create_task(handle.result()))
            await child.started.wait()

        await (await jp.submit_job(parent, local=True, max_retries=0)).result(timeout=PATIENCE)
        child.go.open()
        assert await left[0] == "late"
        assert await most_at_once(jp) == 1


async def test_an_outcome_that_cannot_be_written_holds_no_slots_meanwhile(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store, num_workers=2) as jp:
        assert jp.daemon is not None
        other = Held()
        other.go.open()

        class UntilAnotherRuns:
            """Between two tries to write the outcome, another job takes a slot."""

            async def sleep(self, seconds: float) -> None:
                await other.started.wait()

        jp.daemon.runner.recorder.outcomes._clock = cast("Any", UntilAnotherRuns())
        store.fail("update_job_status")
        first = await jp.submit_job(nothing)
        second = await jp.submit_job(other.body, local=True)
        await gather(first, second, timeout=PATIENCE)


async def test_an_attempt_lost_while_its_slot_was_lent_is_counted_until_its_body_ends(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stores.processor(num_workers=1) as jp:
        assert jp.daemon is not None
        runner = jp.daemon.runner
        end, after = runner.slots.end, list[int]()

        def noted(running: RunningAttempt) -> None:
            end(running)
            after.append(runner.slots.busy)  # a moment only: they are claimed again

        monkeypatch.setattr(runner.slots, "end", noted)
        child = Held()

        async def parent() -> None:
            handle = await current_job().submit_job(child.body, key="child", local=True)
            await handle

        job = await jp.submit_job(parent, local=True, max_retries=0, job_id="p")
        await child.started.wait()
        runner.executor.lose()
        await until(jp, "p", "started")
        await comes_true(lambda: 0 in after)
        child.go.open()
        await job.cancel()


async def test_a_body_that_fails_right_after_its_wait_was_cut_short_is_not_counted_twice(stores: Stores) -> None:
    async with stores.processor(num_workers=1) as jp:
        child = Held()

        async def parent() -> None:
            handle = await current_job().submit_job(child.body, key="child", local=True)
            await handle.result(timeout=0.01)  # JobTimeoutError is the body's failure

        job = await jp.submit_job(parent, local=True, max_retries=0)
        with pytest.raises(JobExecutionError, match="took longer"):
            await job.result(timeout=PATIENCE)
        child.go.open()
        await jp.drain(timeout=PATIENCE)
        assert {one.status for one in await jp.find_jobs()} >= {COMPLETED}
        assert await most_at_once(jp) == 1


async def test_what_ended_in_time_is_given_although_the_time_ran_out_while_the_slot_was_not_back(
    stores: Stores,
) -> None:
    async with stores.processor(num_workers=1) as jp:
        blocker = Held()

        async def parent() -> str:
            child = await current_job().submit_job(nothing, priority=2, local=True)
            await current_job().submit_job(blocker.body, priority=1, local=True)
            await child.result(timeout=0.3)
            return "in time"

        assert await (await jp.submit_job(parent, local=True, max_retries=0)).result(timeout=PATIENCE) == "in time"
        blocker.go.open()
        await jp.drain(timeout=PATIENCE)
