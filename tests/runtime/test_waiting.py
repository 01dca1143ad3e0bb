"""A job that waits for another lends its slot; a wait that could never end is refused."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import (
    CyclicDependencyError,
    JobExecutionError,
    JobHandle,
    JobProcessor,
    JobStateError,
    JobTimeoutError,
    RetryPolicy,
    as_completed,
    current_job,
    gather,
)
from asyncjobs.processor import get_engine
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    IN_PROGRESS,
    PATIENCE,
    PENDING,
    Gate,
    Held,
    Stores,
    add,
    comes_true,
    echo,
    fail,
    nothing,
    types,
    within,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(stores: Stores) -> AsyncIterator[JobProcessor]:
    """A processor with a single slot."""
    async with stores.processor(num_workers=1) as processor:
        yield processor


# -- one slot


async def count_down(n: int) -> int:
    if n == 0:
        return 0
    return 1 + await (await current_job().submit_job(count_down, n - 1))


def count_down_sync(n: int) -> int:
    if n == 0:
        return 0
    return 1 + current_job().submit_job_sync(count_down_sync, n - 1).result_sync()


async def count_down_mixed(n: int) -> int:
    return n and 1 + await (await current_job().submit_job(count_down_mixed_sync, n - 1))


def count_down_mixed_sync(n: int) -> int:
    return n and 1 + current_job().submit_job_sync(count_down_mixed, n - 1).result_sync()


@pytest.mark.parametrize("callee", [count_down, count_down_sync, count_down_mixed], ids=lambda f: f.__name__)
async def test_a_recursion_of_ten_in_one_slot(one: JobProcessor, callee: Any) -> None:
    assert await (await one.submit_job(callee, 10)).result(timeout=PATIENCE) == 10


async def test_the_slot_is_lent_and_not_multiplied(one: JobProcessor) -> None:
    """While one job waits, one other runs: not two."""
    child, bystander = Held(), Held()

    async def parent() -> None:
        await (await current_job().submit_job(child.body, local=True))

    job = await one.submit_job(parent, local=True)
    await child.started.wait()
    late = await one.submit_job(bystander.body, local=True)
    assert await late.status() is PENDING
    assert (await one.why(late)).code == "slots"
    child.go.open()
    await bystander.started.wait()
    bystander.go.open()
    await job
    await late


async def test_a_job_that_waited_is_not_starved_by_new_jobs(one: JobProcessor) -> None:
    order: list[str] = []

    async def child() -> None:
        order.append("child")

    async def parent() -> None:
        await (await current_job().submit_job(child, priority=1, local=True))
        order.append("parent")

    async def later() -> None:
        order.append("later")

    async with one.batch() as batch:
        job = batch.submit_job(parent, local=True)
        for _ in range(10):
            batch.submit_job(later, local=True)
    await job
    await one.drain(timeout=PATIENCE)
    # The claim that goes with the child's outcome may be faster; the slot after that is the parent's.
    assert order[0] == "child"
    assert order.index("parent") <= 2


async def test_waiting_for_what_has_ended_already_does_not_lend(one: JobProcessor) -> None:
    done = await one.submit_job(echo, 3)
    await done

    async def body() -> int:
        return await one.handle(done.id)

    assert await (await one.submit_job(body, local=True)) == 3


# -- several waits at once


async def test_gather_inside_a_job_in_one_slot(one: JobProcessor) -> None:
    async def body() -> list[int]:
        job = current_job()
        return await gather(*[await job.submit_job(echo, i) for i in range(5)])

    assert await (await one.submit_job(body, local=True)).result(timeout=PATIENCE) == [0, 1, 2, 3, 4]


async def test_as_completed_inside_a_job_in_one_slot(one: JobProcessor) -> None:
    async def body() -> list[int]:
        job = current_job()
        handles = [await job.submit_job(echo, i) for i in range(4)]
        return sorted([await handle async for handle in as_completed(handles)])

    assert await (await one.submit_job(body, local=True)).result(timeout=PATIENCE) == [0, 1, 2, 3]


async def test_several_waits_at_once_in_one_body_lend_one_slot(one: JobProcessor) -> None:
    running = most = 0

    async def child(value: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        return value

    async def body() -> list[int]:
        job = current_job()
        found: list[int] = []

        async def wait_for(handle: JobHandle[int]) -> None:
            found.append(await handle)

        async with anyio.create_task_group() as tasks:
            for i in range(4):
                tasks.start_soon(wait_for, await job.submit_job(child, i, local=True))
        return sorted(found)

    assert await (await one.submit_job(body, local=True)).result(timeout=PATIENCE) == [0, 1, 2, 3]
    assert most == 1


async def test_a_wait_that_times_out_takes_the_slot_again(one: JobProcessor) -> None:
    async def body() -> str:
        child = await current_job().submit_job(nothing, delay=3600)
        with pytest.raises(JobTimeoutError):
            await child.result(timeout=0.01)
        await child.cancel()
        return "went on"

    assert await (await one.submit_job(body, local=True)).result(timeout=PATIENCE) == "went on"
    assert await (await one.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3


async def test_a_child_that_fails_is_an_error_in_the_body(one: JobProcessor) -> None:
    async def body() -> str:
        try:
            await (await current_job().submit_job(fail, "child broke", max_retries=0))
        except JobExecutionError as error:
            return error.message
        return "?"

    assert await (await one.submit_job(body, local=True)).result(timeout=PATIENCE) == "child broke"


# -- waiting for oneself


async def test_waiting_for_oneself_is_refused(one: JobProcessor) -> None:
    async def body() -> None:
        await one.handle(current_job().id)

    with pytest.raises(JobExecutionError, match="job 'me' would wait for itself"):
        await (await one.submit_job(body, job_id="me", local=True, max_retries=0)).result(timeout=PATIENCE)


async def test_waiting_for_a_job_that_depends_on_the_waiting_one_is_refused(jp: JobProcessor) -> None:
    go = Gate()

    async def body() -> None:
        await go.wait()
        await jp.handle("grandchild")

    job = await jp.submit_job(body, job_id="me", local=True, max_retries=0)
    await jp.submit_job(nothing, job_id="child", depends_on="me")
    await jp.submit_job(nothing, job_id="grandchild", depends_on="child")
    go.open()
    with pytest.raises(JobExecutionError) as caught:
        await job.result(timeout=PATIENCE)
    assert caught.value.error_type.endswith("CyclicDependencyError")
    assert "me → child → grandchild → me" in caught.value.message


async def test_waiting_in_a_thread_for_a_job_that_depends_on_the_waiting_one_is_refused(jp: JobProcessor) -> None:
    go = Gate()

    def body() -> None:
        go.wait_sync()
        jp.handle("child").result_sync()

    job = await jp.submit_job(body, job_id="me", local=True, max_retries=0)
    await jp.submit_job(nothing, job_id="child", depends_on="me")
    go.open()
    with pytest.raises(JobExecutionError, match="CyclicDependencyError"):
        await job.result(timeout=PATIENCE)


async def test_two_jobs_that_wait_for_each_other_are_refused(jp: JobProcessor) -> None:
    ready = {"a": Gate(), "b": Gate()}
    refused: list[Sequence[str]] = []

    async def body(me: str, other: str) -> str:
        ready[me].open()
        await ready[other].wait()
        try:
            await jp.handle(other)
        except CyclicDependencyError as error:
            refused.append(error.path)
            return "refused"
        return "waited"

    jobs = [
        await jp.submit_job(body, me, other, job_id=me, local=True, max_retries=0)
        for me, other in (("a", "b"), ("b", "a"))
    ]
    assert sorted(await within(PATIENCE, gather(*jobs))) == ["refused", "waited"]
    assert [set(path) for path in refused] == [{"a", "b"}]


async def test_waiting_twice_at_once_keeps_both_edges(jp: JobProcessor) -> None:
    """A body that waits for x and y at once, and stops waiting for x, still waits for y."""
    y_may_wait, waiting = Gate(), Gate()
    x = Held()

    async def y() -> str:
        await y_may_wait.wait()
        try:
            await jp.handle("main").result(timeout=PATIENCE)
        except CyclicDependencyError:
            return "refused"
        return "hung"

    async def main() -> Any:
        found: list[Any] = []

        async def wait_for(job_id: str) -> None:
            found.append(await jp.handle(job_id))
            if job_id == "x":
                y_may_wait.open()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for, "x")
            tasks.start_soon(wait_for, "y")
            waiting.open()
        return found

    await jp.submit_job(x.body, job_id="x", local=True)
    await jp.submit_job(y, job_id="y", local=True, max_retries=0)
    job = await jp.submit_job(main, job_id="main", local=True, max_retries=0)
    await waiting.wait()
    await comes_true(lambda: "main" in get_engine(jp)._parts.waiting.waits)
    x.go.open()
    assert await job.result(timeout=PATIENCE) == [None, "refused"]


# -- told to stop while waiting


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_a_waiting_job_is_released_at_once_when_the_processor_stops(stores: Stores, threaded: bool) -> None:
    waiting, stopped = Gate(), []

    async def body() -> None:
        child = await current_job().submit_job(nothing, delay=3600, key="child")
        waiting.open()
        await child

    def body_sync() -> None:
        child = current_job().submit_job_sync(nothing, delay=3600, key="child")
        waiting.open()
        try:
            child.result_sync()
        except BodyStopped:
            stopped.append(True)
            raise

    async with stores.processor(shutdown_timeout=60) as jp:
        await jp.submit_job(body_sync if threaded else body, job_id="p", local=True)
        await waiting.wait()
        await comes_true(lambda: "p" in get_engine(jp)._parts.waiting.waits)
    # It did not take the 60 s. Its owner is gone, and it was local: that is why it has ended.
    async with stores.processor(enable_daemon=False) as jp:
        assert "released" in await types(jp, "p")
        assert (await jp.get_job("p")).failures == 0
        assert await jp.get_status("p/child") is PENDING
    assert stopped == ([True] if threaded else [])


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_cancelling_a_waiting_job_ends_its_wait(jp: JobProcessor, threaded: bool) -> None:
    async def body() -> None:
        await (await current_job().submit_job(nothing, delay=3600))

    def body_sync() -> None:
        current_job().submit_job_sync(nothing, delay=3600).result_sync()

    job = await jp.submit_job(body_sync if threaded else body, job_id="p", local=True)
    await comes_true(lambda: "p" in get_engine(jp)._parts.waiting.waits)
    assert await job.cancel() is IN_PROGRESS
    assert (await jp.wait_for_job(job, timeout=PATIENCE)).status is CANCELLED


async def test_result_sync_outside_of_a_job_is_refused(jp: JobProcessor) -> None:
    handle = await jp.submit_job(nothing)
    with pytest.raises(JobStateError, match="result_sync"):
        handle.result_sync()


# -- slots under load


@pytest.mark.parametrize("slots", [1, 3])
async def test_bodies_never_run_in_more_than_the_slots_under_random_load(stores: Stores, slots: int) -> None:
    """Async and threaded bodies, fast ones, failing ones, and ones that wait for children."""
    import random

    rng = random.Random(7)
    lock = threading.Lock()
    active = most = 0

    class inside:
        def __enter__(self) -> None:
            nonlocal active, most
            with lock:
                active += 1
                most = max(most, active)

        def __exit__(self, *_: object) -> None:
            nonlocal active
            with lock:
                active -= 1

    async def leaf() -> None:
        with inside():
            await anyio.lowlevel.checkpoint()

    def leaf_sync() -> None:
        with inside():
            pass

    async def branch() -> None:
        with inside():
            first = await current_job().submit_job(leaf, local=True)
            second = await current_job().submit_job(leaf_sync, local=True)
        await gather(first, second)
        with inside():
            await anyio.lowlevel.checkpoint()

    def branch_sync() -> None:
        with inside():
            child = current_job().submit_job_sync(leaf_sync, local=True)
        child.result_sync()
        with inside():
            pass

    async def flaky() -> None:
        with inside():
            await anyio.lowlevel.checkpoint()
            if current_job().attempt == 1:
                raise ValueError("once")

    bodies = [leaf, leaf_sync, branch, branch_sync, flaky]
    async with stores.processor(num_workers=slots) as jp:
        for _ in range(10):
            async with jp.batch() as batch:
                for _ in range(6):
                    batch.submit_job(rng.choice(bodies), local=True, retry=RetryPolicy(base=0.0))
        await jp.drain(timeout=50)
        counted = jp.daemon.runner.slots
        assert {job.status for job in await jp.find_jobs()} == {COMPLETED}
        assert counted.busy == 0  # free counts a claim on its way, too
        assert counted.limiter.borrowed_tokens == 0
        assert counted.limiter.total_tokens == slots
    assert 1 <= most <= slots


async def test_a_limit_by_key_is_never_exceeded_over_200_jobs(stores: Stores) -> None:
    active = most = 0

    async def body() -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await anyio.lowlevel.checkpoint()
        active -= 1

    async with stores.processor(num_workers=32) as jp:
        async with jp.batch() as batch:
            for i in range(200):
                batch.submit_job(body, limit=("images", 3), priority=i % 3, local=True)
        await jp.drain(timeout=50)
        limit = await get_engine(jp).backend.get_limit("images")
        assert limit is not None
        assert (limit.capacity, limit.in_progress) == (3, 0)
    assert most == 3


# -- wake-ups that must not be lost


@pytest.fixture
async def sending(stores: Stores) -> AsyncIterator[JobProcessor]:
    """A processor that sends its outcomes and claims: its store does not ask (``test_group_member`` has what asks)."""
    async with stores.processor(backend=FaultyBackend(stores.backend())) as processor:
        yield processor


async def test_a_finish_whose_claim_found_too_few_slots_is_followed_by_another_claim(sending: JobProcessor) -> None:
    """The scheduler's claim is under way and holds every free slot; the store sees it before the outcome that releases
    two jobs. The outcome's own claim has one slot. Somebody must come back for the other job."""
    jp, backend = sending, get_engine(sending).backend
    slots = jp.daemon.runner.slots
    held = Held(1)
    parent = await jp.submit_job(held.body, local=True)
    sibling = Held()
    first = await jp.submit_job(sibling.body, depends_on=parent, priority=1, local=True)
    child = await jp.submit_job(echo, parent)
    await held.started.wait()
    finished, claimed = Gate(), anyio.Event()
    dequeue, update = backend.dequeue_jobs, backend.update_job_status

    async def slow_dequeue(claim: Any) -> Any:
        claims = await dequeue(claim)  # the store has answered: nothing is ready
        claimed.set()
        await finished.wait()  # and the answer is on its way
        backend.dequeue_jobs = dequeue
        return claims

    async def watched_update(ends: Any, claim: Any = None) -> Any:
        try:
            return await update(ends, claim)
        finally:
            finished.open()

    backend.dequeue_jobs = slow_dequeue
    backend.update_job_status = watched_update
    slots.freed()
    await claimed.wait()
    assert slots.free == 0
    held.go.open()
    assert await child.result(timeout=PATIENCE) == 1
    sibling.go.open()
    await first


async def test_a_submission_while_a_claim_holds_every_slot_is_taken_once_it_is_back(sending: JobProcessor) -> None:
    jp, backend = sending, get_engine(sending).backend
    held = Held(1)
    first = await jp.submit_job(held.body, local=True)
    await held.started.wait()
    written, answered = anyio.Event(), Gate()
    update = backend.update_job_status

    async def slow_update(ends: Any, claim: Any = None) -> Any:
        finished = await update(ends, claim)  # stored; its claim found nothing
        written.set()
        await answered.wait()
        return finished

    backend.update_job_status = slow_update
    held.go.open()
    await written.wait()
    assert jp.daemon.runner.slots.free == 0
    second = await jp.submit_job(echo, 2)
    for _ in range(20):
        await anyio.lowlevel.checkpoint()  # the scheduler hears of it, and has no slot to claim for
    answered.open()
    assert await second.result(timeout=PATIENCE) == 2
    await first


async def test_a_delayed_job_comes_due_although_nothing_else_happens(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        job = await jp.submit_job(echo, 5, delay=60)
        await (await jp.submit_job(nothing))
        assert await job.status() is PENDING
        for _ in range(30):
            await anyio.lowlevel.checkpoint()
        clock.advance(61)
        assert await job.result() == 5
