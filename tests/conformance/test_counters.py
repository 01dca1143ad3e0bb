"""Rule 4.3: attempts, failures and interruptions are counted apart, and both kinds of trouble back off."""

from __future__ import annotations

import pytest

from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import Outcome, OutcomeKind, WaitsFor
from tests.conformance.support import (
    BOOM,
    FAILED,
    FAILURE,
    FATAL,
    PENDING,
    RELEASED,
    SKIPPED,
    Hand,
    Store,
    new,
)

pytestmark = pytest.mark.anyio

THRICE = RetryPolicy(max_retries=3, base=1.0, factor=2.0, cap=5.0, jitter=0.0)
INTERRUPTED = Outcome(OutcomeKind.INTERRUPTED)


async def counters(store: Store, job_id: str) -> tuple[int, int, int]:
    job = await store.job(job_id)
    return job.attempt, job.failures, job.interruptions


async def wait_of(store: Store, job_id: str) -> float:
    """Seconds until the job is due."""
    job = await store.job(job_id)
    assert job.run_at is not None
    assert job.waits_for is WaitsFor.TIME
    return job.run_at.timestamp() - store.clock.now() / 1_000_000


async def one_attempt(store: Store, hand: Hand, outcome: Outcome) -> None:
    store.clock.advance(10)
    await hand.run("a", outcome=outcome)


async def test_failures_are_retried_with_backoff_then_final(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=THRICE), new("b", "a"))
    for failures, wait in [(1, 2.0), (2, 4.0), (3, 5.0)]:
        await one_attempt(store, hand, FAILURE)
        assert await counters(store, "a") == (failures, failures, 0)
        assert await wait_of(store, "a") == pytest.approx(wait)
        assert await hand.claim() == []
    assert (await store.job("a")).error == BOOM, "what went wrong last, while it is retried"
    await one_attempt(store, hand, FAILURE)
    assert await store.statuses("a", "b") == [FAILED, SKIPPED]
    assert await counters(store, "a") == (4, 4, 0)
    assert [t for t in await store.types("a") if t != "started"] == ["submitted"] + ["retrying"] * 3 + ["failed"]


async def test_the_retry_is_told_with_its_delay(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=THRICE))
    await hand.run("a", outcome=FAILURE)
    event = (await store.events("a"))[-1]
    assert (event.type, event.status) == ("retrying", PENDING)
    assert event.data == {"error_type": "ValueError", "message": "boom", "delay": 2.0, "retry": 1}


async def test_the_jitter_of_the_end_spreads_the_delay(store: Store) -> None:
    hand = await store.hand()
    spread = RetryPolicy(max_retries=3, base=5.0, factor=2.0, jitter=0.5)
    await store.submit(new("a", retry=spread), new("b", retry=spread))
    await hand.claim()
    await hand.end("a", FAILURE, jitter=0.0)
    await hand.end("b", FAILURE, jitter=1.0)
    assert (await wait_of(store, "a"), await wait_of(store, "b")) == (pytest.approx(5.0), pytest.approx(15.0))


async def test_without_a_delay_it_is_ready_at_once(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=RetryPolicy(max_retries=1, base=0)))
    await hand.run("a", outcome=FAILURE)
    assert await hand.claim() == ["a"]


async def test_what_the_policy_does_not_retry_is_final(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=THRICE))
    await hand.run("a", outcome=FATAL)
    assert await store.status("a") == FAILED
    assert await counters(store, "a") == (1, 1, 0)


async def test_interruptions_are_counted_apart_and_back_off_from_one_step_less(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=THRICE, max_interruptions=3))
    for interruptions, wait in [(1, 1.0), (2, 2.0)]:
        await one_attempt(store, hand, INTERRUPTED)
        assert await counters(store, "a") == (interruptions, 0, interruptions)
        assert await wait_of(store, "a") == pytest.approx(wait)
    event = (await store.events("a"))[-1]
    assert (event.type, event.status, event.data) == ("interrupted", PENDING, {"interruptions": 2, "delay": 2.0})


async def test_interruptions_used_up_are_a_failure(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=THRICE, max_interruptions=2), new("b", "a"))
    await one_attempt(store, hand, INTERRUPTED)
    await one_attempt(store, hand, INTERRUPTED)
    assert await store.statuses("a", "b") == [FAILED, SKIPPED]
    result = (await store.backend.get_results(["a"]))["a"]
    assert result.error is not None
    assert (result.error.error_type, result.error_kind) == ("WorkerLostError", OutcomeKind.INTERRUPTED)
    assert (result.attempt, result.interruptions) == (2, 2)
    event = (await store.events("a"))[-1]
    assert (event.type, event.data["error_type"]) == ("failed", "WorkerLostError")


async def test_a_release_counts_only_as_an_attempt(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=RetryPolicy(max_retries=0), max_interruptions=1))
    for attempt in (1, 2, 3, 4):
        await hand.run("a", outcome=RELEASED)
        assert await counters(store, "a") == (attempt, 0, 0)


async def test_failures_and_interruptions_do_not_use_up_each_other(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=RetryPolicy(max_retries=1, jitter=0), max_interruptions=2))
    await one_attempt(store, hand, INTERRUPTED)
    await one_attempt(store, hand, FAILURE)
    assert await store.status("a") == PENDING
    assert await counters(store, "a") == (2, 1, 1)
    await one_attempt(store, hand, INTERRUPTED)
    assert await store.status("a") == FAILED


async def test_every_attempt_is_remembered(store: Store) -> None:
    hand = await store.hand("ada")
    await store.submit(new("a", retry=RetryPolicy(max_retries=3, jitter=0)))
    for outcome in (FAILURE, RELEASED, INTERRUPTED):
        await one_attempt(store, hand, outcome)
    store.clock.advance(10)
    await hand.claim()
    kinds = [OutcomeKind.FAILED, OutcomeKind.RELEASED, OutcomeKind.INTERRUPTED]
    attempts = await store.backend.get_attempts("a")
    assert [(a.attempt, a.outcome) for a in attempts] == list(enumerate([*kinds, None], start=1))
    assert (attempts[0].error, attempts[3].finished_at, attempts[3].worker) == (BOOM, None, "ada")
    await hand.succeed("a")
    last = (await store.backend.get_attempts("a"))[-1]
    assert (last.attempt, last.outcome, last.worker) == (4, OutcomeKind.SUCCEEDED, "ada")
    assert last.finished_at is not None
    assert (await store.job("a")).error is None, "it completed"
