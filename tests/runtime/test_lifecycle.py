"""Timeouts, delays, order, queues, retries: when an attempt starts, and what becomes of a failed one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from asyncjobs import (
    DaemonConfig,
    JobExecutionError,
    JobNotFoundError,
    JobProcessor,
    JobStateError,
    Limit,
    RetryPolicy,
    current_job,
    job,
)
from asyncjobs.models import EventType, OutcomeKind
from asyncjobs.testing import ManualClock
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PATIENCE,
    PENDING,
    SKIPPED,
    Gate,
    Held,
    Stores,
    add,
    echo,
    fail,
    fail_sync,
    nothing,
    types,
    until,
)

pytestmark = pytest.mark.anyio

AT_ONCE = RetryPolicy(base=0.0)


# -- timeout


async def test_an_async_body_that_takes_too_long_is_cancelled(jp: JobProcessor) -> None:
    held = Held()
    handle = await jp.submit_job(held.body, timeout=0.02, max_retries=0, local=True)
    with pytest.raises(JobExecutionError, match=r"longer than its timeout of 0.02 s") as caught:
        await handle
    assert caught.value.error_type == "TimeoutError"
    assert held.was_cancelled


async def test_a_body_within_its_timeout_is_left_alone(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(echo, 1, timeout=60)) == 1


async def test_a_timeout_is_a_failure_that_is_retried(jp: JobProcessor) -> None:
    async def body() -> str:
        if current_job().attempt == 1:
            await anyio.sleep_forever()
        return "second"

    handle = await jp.submit_job(body, timeout=0.02, retry=AT_ONCE, local=True)
    assert await handle == "second"
    assert (await jp.get_job(handle)).failures == 1


async def test_never_on_timeouterror_keeps_a_timeout_from_being_retried(jp: JobProcessor) -> None:
    handle = await jp.submit_job(
        anyio.sleep_forever, timeout=0.02, retry=RetryPolicy(base=0.0, never_on=[TimeoutError]), local=True
    )
    assert (await jp.wait_for_job(handle)).status is FAILED
    assert (await jp.get_job(handle)).attempt == 1


async def test_a_thread_is_told_of_its_timeout_keeps_its_slot_and_ends_failed(stores: Stores) -> None:
    told, go = Gate(), Gate()

    def body() -> str:
        while not current_job().cancelled:
            current_job().run_sync(anyio.sleep, 0)
        told.open()
        go.wait_sync()
        return "too late"

    async with stores.processor(num_workers=1) as jp:
        with pytest.warns(RuntimeWarning, match="cannot stop the plain function"):
            handle = await jp.submit_job(body, timeout=0.02, max_retries=0, local=True)
        await told.wait()
        next_one = await jp.submit_job(nothing)
        assert await handle.status() == "in_progress"
        assert (await jp.why(next_one)).code == "slots"
        go.open()
        with pytest.raises(JobExecutionError, match="longer than its timeout"):
            await handle
        await next_one


async def test_timeouterror_of_the_bodys_own_is_only_an_error(jp: JobProcessor) -> None:
    async def body() -> None:
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    with pytest.raises(JobExecutionError) as caught:
        await (await jp.submit_job(body, timeout=60, max_retries=0, local=True))
    assert caught.value.error_type == "TimeoutError"
    assert "longer than its timeout" not in caught.value.message


# -- delay, run_at


@pytest.mark.parametrize("option", ["delay", "timedelta", "run_at", "run_at elsewhere"])
async def test_a_job_does_not_start_before_it_is_due(stores: Stores, option: str) -> None:
    clock = ManualClock()
    due = datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    options: dict[str, dict[str, Any]] = {
        "delay": {"delay": 60},
        "timedelta": {"delay": timedelta(minutes=1)},
        "run_at": {"run_at": due},
        "run_at elsewhere": {"run_at": due.astimezone()},
    }
    async with stores.processor(clock=clock) as jp:
        handle = await jp.submit_job(echo, 1, **options[option])
        assert (await jp.get_job(handle)).run_at == due
        clock.advance(59)
        await (await jp.submit_job(nothing))  # the scheduler has looked, and left it
        assert await handle.status() is PENDING
        clock.advance(1.1)
        assert await handle == 1


async def test_run_at_in_the_past_is_now(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(echo, 1, run_at=datetime(2000, 1, 1, tzinfo=UTC))) == 1


async def test_a_job_that_is_due_is_not_waited_for(stores: Stores) -> None:
    """It came due between the claim that left it and the look at the clock."""
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        scheduler, slots = jp.daemon.runner.scheduler, jp.daemon.runner.slots
        with anyio.fail_after(PATIENCE):
            while slots.free == 0:  # the first claim is on its way
                await anyio.sleep(0.001)
        for ago in (0, 1, 5_000_000):
            scheduler._next_due = clock.now() - ago
            assert scheduler._until_due() == 0.0
        scheduler._next_due = clock.now() + 1_000_000
        assert scheduler._until_due() == pytest.approx(1.0, abs=0.01)


async def test_an_earlier_one_that_comes_later_is_not_missed(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        late = await jp.submit_job(nothing, delay=100)
        early = await jp.submit_job(nothing, delay=10)
        clock.advance(11)
        await early
        assert await late.status() is PENDING
        clock.advance(100)
        await late


# -- order, queues


async def test_priority_first_then_submission(stores: Stores) -> None:
    order: list[str] = []

    async def body(name: str) -> None:
        order.append(name)

    async with stores.processor(num_workers=1) as jp:
        async with jp.batch() as batch:
            for name, priority in [("a", 0), ("b", 5), ("c", -1), ("d", 5), ("e", 0)]:
                batch.submit_job(body, name, priority=priority, local=True)
        await jp.drain(timeout=PATIENCE)
    assert order == ["b", "d", "a", "e", "c"]


async def test_a_daemon_serves_only_its_queues(stores: Stores) -> None:
    async with stores.processor(queues=("fast", "default")) as jp:
        slow = await jp.submit_job(echo, 1, queue="slow")
        assert await (await jp.submit_job(echo, 2, queue="fast")) == 2
        assert await (await jp.submit_job(echo, 3)) == 3
        assert await slow.status() is PENDING
    async with stores.processor(queues=("slow",)) as jp:
        assert await jp.handle(slow.id) == 1


# -- limits


async def test_the_limit_is_freed_by_every_kind_of_end(stores: Stores) -> None:
    async with stores.processor(num_workers=8) as jp:
        held = Held()
        async with jp.batch() as batch:
            first = batch.submit_job(held.body, limit=("k", 1), local=True)
            failing = batch.submit_job(fail, limit=("k", 1), max_retries=0)
            retried = batch.submit_job(fail, limit=Limit("k", 1), max_retries=1, retry=RetryPolicy(1, base=0.0))
            last = batch.submit_job(nothing, limit=("k", 1))
        await held.started.wait()
        assert [await h.status() for h in (failing, retried, last)] == [PENDING] * 3
        assert (await jp.why(last)).code == "limit"
        await first.cancel()
        await jp.drain(timeout=PATIENCE)
        assert [await h.status() for h in (first, failing, retried, last)] == [CANCELLED, FAILED, FAILED, COMPLETED]


async def test_the_last_given_capacity_counts(stores: Stores) -> None:
    async with stores.processor(num_workers=8) as jp:
        held = [Held() for _ in range(3)]
        jobs = [await jp.submit_job(h.body, limit=("k", 1), local=True) for h in held[:2]]
        await held[0].started.wait()
        assert not held[1].started.is_open
        jobs.append(await jp.submit_job(held[2].body, limit=("k", 3), local=True))
        for h in held:
            await h.started.wait()
            h.go.open()
        await jp.drain(timeout=PATIENCE)


# -- retries


async def test_retries_wait_for_their_backoff_and_record_it(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        handle = await jp.submit_job(fail, "broken", retry=RetryPolicy(max_retries=2, jitter=0.0))
        cursor = None
        for retry, delay in ((1, 2.0), (2, 4.0)):
            event = (await until(jp, handle, "retrying", after=cursor))[-1]
            cursor = event.cursor
            assert event.data == {"error_type": "ValueError", "message": "broken", "delay": delay, "retry": retry}
            waiting = await jp.get_job(handle)
            assert waiting.run_at == event.at + timedelta(seconds=delay)
            assert (await jp.why(handle)).code == "retry_backoff"
            clock.advance(delay + 0.01)
        ended = await jp.wait_for_job(handle, timeout=None)
        assert (ended.status, ended.attempt, ended.failures) == (FAILED, 3, 3)


async def test_jitter_spreads_the_backoff(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        jobs = await jp.map_jobs(fail, map(str, range(20)), retry=RetryPolicy(jitter=0.5))
        delays = {(await until(jp, handle, "retrying"))[-1].data["delay"] for handle in jobs}
        assert len(delays) > 10
        assert all(1.0 <= delay <= 3.0 for delay in delays)


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [
        (RetryPolicy(max_retries=0), 1),
        (RetryPolicy(max_retries=2), 3),
        (RetryPolicy(max_retries=2, on=[ValueError]), 3),
        (RetryPolicy(max_retries=2, on=[Exception]), 3),
        (RetryPolicy(max_retries=2, on=["ValueError"]), 3),
        (RetryPolicy(max_retries=2, on=[KeyError]), 1),
        (RetryPolicy(max_retries=2, never_on=[ValueError]), 1),
        (RetryPolicy(max_retries=2, never_on=["Exception"]), 1),
        (RetryPolicy(max_retries=2, on=[Exception], never_on=[ValueError]), 1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("callee", [fail, fail_sync])
async def test_which_failures_are_retried_and_how_often(
    jp: JobProcessor, callee: Any, policy: RetryPolicy, attempts: int
) -> None:
    from msgspec.structs import replace

    handle = await jp.submit_job(callee, retry=replace(policy, base=0.0))
    ended = await jp.wait_for_job(handle, timeout=PATIENCE)
    assert ended.status is FAILED
    assert len(await jp.get_attempts(handle)) == attempts


@job(max_retries=1, retry=AT_ONCE, queue="special", priority=7, timeout=50.0, limit=("marked", 2))
async def marked() -> None:
    raise ValueError("marked")


async def test_job_leaves_defaults_that_the_call_site_overrides(jp: JobProcessor) -> None:
    handle = await jp.submit_job(marked)
    stored = await jp.wait_for_job(handle, timeout=PATIENCE)
    assert (stored.queue, stored.priority, stored.timeout, stored.limit) == ("special", 7, 50.0, "marked")
    assert stored.attempt == 2
    other = await jp.submit_job(marked, queue="default", priority=1, max_retries=0, timeout=9)
    stored = await jp.wait_for_job(other, timeout=PATIENCE)
    assert (stored.queue, stored.priority, stored.timeout, stored.attempt) == ("default", 1, 9.0, 1)
    with pytest.raises(ValueError, match="marked"):
        await marked()  # the function itself stays as it is


async def test_each_attempt_keeps_its_error_with_a_traceback(jp: JobProcessor) -> None:
    async def body() -> None:
        raise KeyError(f"attempt {current_job().attempt}")

    handle = await jp.submit_job(body, max_retries=1, retry=RetryPolicy(1, base=0.0), local=True)
    with pytest.raises(JobExecutionError) as caught:
        await handle
    attempts = await jp.get_attempts(handle)
    assert [(a.attempt, a.outcome, a.error and a.error.message) for a in attempts] == [
        (1, OutcomeKind.FAILED, "'attempt 1'"),
        (2, OutcomeKind.FAILED, "'attempt 2'"),
    ]
    for attempt in attempts:
        assert attempt.error is not None
        assert attempt.error.error_type == "KeyError"
        text = attempt.error.traceback_text or ""
        assert re.search(r'test_lifecycle.py", line \d+, in body', text)
        assert "runtime/attempt.py" not in text  # our own frames tell nobody anything
        assert attempt.started_at <= (attempt.finished_at or attempt.started_at)
    error = caught.value
    assert (error.job_id, error.attempt, error.error_type, error.message) == (handle, 2, "KeyError", "'attempt 2'")
    assert (error.traceback_text or "?").rstrip() in error.__notes__[0]
    assert (await jp.get_job(handle)).error == attempts[1].error


async def test_a_chained_exception_keeps_its_cause(jp: JobProcessor) -> None:
    def body() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise RuntimeError("outer") from error

    handle = await jp.submit_job(body, max_retries=0, local=True)
    with pytest.raises(JobExecutionError, match="RuntimeError: outer") as caught:
        await handle
    assert "KeyError: 'inner'" in (caught.value.traceback_text or "")
    assert "direct cause" in (caught.value.traceback_text or "")


# -- retry_job


async def test_retry_job_runs_a_failed_job_again_with_fresh_counters(jp: JobProcessor) -> None:
    broken = [True]

    async def body() -> str:
        if broken:
            raise ValueError
        return f"attempt {current_job().attempt}"

    handle = await jp.submit_job(body, retry=RetryPolicy(1, base=0.0), local=True)
    await jp.wait_for_job(handle, timeout=PATIENCE)
    broken.clear()
    assert await handle.retry() is PENDING
    assert await handle == "attempt 3"  # attempts are counted on: they fence
    stored = await jp.get_job(handle)
    assert (stored.failures, stored.error, stored.cancel_requested) == (0, None, False)
    assert (await types(jp, handle))[-3:] == [EventType.RETRYING, EventType.STARTED, EventType.COMPLETED]


async def test_retry_job_runs_a_cancelled_job(jp: JobProcessor) -> None:
    handle = await jp.submit_job(add, 1, 2, delay=3600)
    await handle.cancel()
    assert await jp.retry_job(handle) is PENDING
    assert await handle == 3


async def test_what_retry_job_refuses(jp: JobProcessor) -> None:
    done = await jp.submit_job(nothing)
    await done
    waiting = await jp.submit_job(nothing, delay=3600)
    root = await jp.submit_job(fail, job_id="root", max_retries=0)
    skipped = await jp.submit_job(nothing, depends_on=root)
    await jp.wait_for_job(skipped)
    for handle, status in ((done, COMPLETED), (waiting, PENDING), (skipped, SKIPPED)):
        with pytest.raises(JobStateError) as caught:
            await jp.retry_job(handle)
        assert caught.value.status == status
        assert await handle.status() is status
    assert caught.value.hint == "retry 'root' instead"
    with pytest.raises(JobNotFoundError):
        await jp.retry_job("nobody")


async def test_two_broken_parents_must_both_be_retried(jp: JobProcessor) -> None:
    broken = {"a", "b"}

    async def body(name: str) -> str:
        if name in broken:
            raise ValueError(name)
        return name

    a = await jp.submit_job(body, "a", max_retries=0, local=True)
    b = await jp.submit_job(body, "b", max_retries=0, local=True)
    await jp.wait_for_job(a)
    await jp.wait_for_job(b)
    child = await jp.submit_job(add, a, b)
    assert await child.status() is SKIPPED
    broken.clear()
    first, second = (a, b) if (await jp.get_job(child)).because == a else (b, a)
    await first.retry()
    await first
    assert await child.status() is SKIPPED  # the other parent is still broken
    await second.retry()
    assert await child == "ab"


def test_the_default_number_of_slots() -> None:
    assert DaemonConfig().num_workers == 32
