"""Rule 4.14: durations are durations. A wall clock that is set neither stretches nor shortens them."""

from __future__ import annotations

import pytest

from asyncjobs.clock import to_datetime
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import SECOND
from asyncjobs.models import Outcome, OutcomeKind, WaitsFor
from tests.conformance.support import FAILURE, FATAL, PENDING, RELEASED, Hand, Store, new

pytestmark = pytest.mark.anyio

HOUR = 3600
JUMPS = pytest.mark.parametrize("jump", [-HOUR, HOUR, -7 * 24 * HOUR], ids=["back", "forwards", "back by a week"])
POLICY = RetryPolicy(base=5.0, factor=2.0, jitter=0.0)


async def not_before(store: Store, hand: Hand, job_id: str, seconds: float) -> None:
    """It is claimed after that time, and not a moment earlier."""
    store.clock.advance(seconds - 0.001)
    await hand.beat()
    assert await hand.claim() == []
    store.clock.advance(0.001)
    assert await hand.claim() == [job_id]


@JUMPS
async def test_a_delay(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("a", delay=10 * SECOND))
    store.clock.advance(4)
    store.clock.jump(jump)
    await not_before(store, hand, "a", 6)


@JUMPS
async def test_a_backoff_after_a_failure(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=POLICY))
    await hand.claim()
    assert await hand.end("a", FAILURE) == PENDING
    store.clock.jump(jump)
    await not_before(store, hand, "a", 10)


@JUMPS
async def test_a_backoff_after_an_interruption(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=POLICY))
    await hand.claim()
    assert await hand.end("a", Outcome(OutcomeKind.INTERRUPTED)) == PENDING
    store.clock.jump(jump)
    await not_before(store, hand, "a", 5)


@JUMPS
async def test_a_delay_that_its_dependencies_outlast_or_not(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("p"), new("late", "p", delay=10 * SECOND), new("over", "p", delay=2 * SECOND))
    await hand.claim()
    store.clock.advance(3)
    store.clock.jump(jump)
    await hand.succeed("p")
    assert (await store.job("late")).waits_for is WaitsFor.TIME
    assert await hand.claim() == ["over"], "its delay ended before its parent did"
    await not_before(store, hand, "late", 7)


@JUMPS
async def test_a_delay_of_a_job_that_was_skipped_and_revived(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("p"), new("child", "p", delay=10 * SECOND))
    await hand.run("p", outcome=FATAL)
    store.clock.jump(jump)
    await store.backend.retry_job("p")
    await hand.run("p")
    await not_before(store, hand, "child", 10)


@JUMPS
async def test_a_limited_job_enters_when_its_delay_is_over(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("a", delay=10 * SECOND, limit=("x", 1)))
    store.clock.jump(jump)
    await not_before(store, hand, "a", 10)


@JUMPS
async def test_a_claim_tells_when_the_next_duration_ends(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("a", delay=9 * SECOND), new("b", delay=4 * SECOND))
    store.clock.jump(jump)
    store.clock.advance(1)
    assert (await hand.claims()).next_due == store.clock.now() + 3 * SECOND


@JUMPS
async def test_durations_and_moments_come_due_each_by_its_clock(store: Store, jump: int) -> None:
    hand = await store.hand()
    await store.submit(new("moment", run_at=store.clock.now() + 10 * SECOND), new("delay", delay=10 * SECOND))
    store.clock.jump(jump)
    store.clock.advance(10)
    assert await hand.claim() == (["moment", "delay"] if jump > 0 else ["delay"])


@JUMPS
async def test_what_is_shown_is_when_it_comes_due_by_the_clock_as_it_is_now(store: Store, jump: int) -> None:
    await store.submit(new("a", delay=10 * SECOND), new("b", run_at=(moment := store.clock.now() + 20 * SECOND)))
    store.clock.jump(jump)
    assert (await store.job("a")).run_at == to_datetime(store.clock.now() + 10 * SECOND)
    assert (await store.job("b")).run_at == to_datetime(moment)
    store.clock.jump(-jump)
    assert (await store.job("a")).run_at == to_datetime(store.clock.now() + 10 * SECOND)


async def test_a_release_waits_for_nothing(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", delay=SECOND))
    store.clock.advance(1)
    await hand.claim()
    await hand.end("a", RELEASED)
    store.clock.jump(-HOUR)
    assert await hand.claim() == ["a"]


async def test_a_flood_of_durations_and_moments_is_promoted_step_by_step(store: Store) -> None:
    hand = await store.hand()
    moment = store.clock.now() + SECOND
    await store.submit(*(new(f"d{i}", delay=SECOND) for i in range(250)))
    await store.submit(*(new(f"m{i}", run_at=moment) for i in range(250)))
    store.clock.advance(1)
    claimed: list[str] = []
    while (claims := await hand.claims(1000)).jobs:
        claimed += hand.remember(claims)
        assert (claims.next_due is None) == (len(claimed) == 500), "a due job that is left is told of"
    assert len(claimed) == len(set(claimed)) == 500


@JUMPS
async def test_a_store_that_is_opened_again_goes_on_counting(store: Store, jump: int) -> None:
    await store.submit(new("a", delay=10 * SECOND))
    store.clock.advance(4)
    store.clock.jump(jump)
    await store.backend.close()
    await store.backend.open()
    hand = await store.hand()
    await not_before(store, hand, "a", 6)
