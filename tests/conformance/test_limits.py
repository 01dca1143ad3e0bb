"""Rule 4.8: of a limited key, at most so many are in progress, the first by priority and submission."""

from __future__ import annotations

from random import Random

import pytest

from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import Outcome, OutcomeKind, WaitsFor
from tests.conformance.support import FAILURE, FATAL, RELEASED, STOPPED, SUCCESS, Hand, Store, new

pytestmark = pytest.mark.anyio

KEY = ("images", 1)


async def in_use(store: Store, key: str = "images") -> tuple[int, int]:
    """(capacity, in progress)."""
    limit = await store.backend.get_limit(key)
    assert limit is not None
    return limit.capacity, limit.in_progress


async def ready(store: Store) -> list[str]:
    return [job.id for job in await store.backend.get_ready_jobs()]


async def test_a_key_admits_as_many_as_it_has_room_for(store: Store) -> None:
    hand = await store.hand()
    await store.submit(*(new(f"j{i}", limit=("images", 2)) for i in range(4)), new("free"))
    assert await ready(store) == ["j0", "j1", "free"]
    assert (await store.job("j2")).waits_for is WaitsFor.LIMIT
    assert await hand.claim() == ["j0", "j1", "free"]
    assert await in_use(store) == (2, 2)
    assert await hand.claim() == []


async def test_a_key_nobody_used_is_unknown(store: Store) -> None:
    assert await store.backend.get_limit("images") is None


@pytest.mark.parametrize(
    "outcome",
    [SUCCESS, FATAL, FAILURE, STOPPED, RELEASED, Outcome(OutcomeKind.INTERRUPTED)],
    ids=lambda outcome: outcome.kind.value,
)
async def test_every_kind_of_end_frees_the_key(store: Store, outcome: Outcome) -> None:
    hand = await store.hand()
    retry = RetryPolicy(max_retries=5, base=60, jitter=0)
    await store.submit(
        new("a", limit=KEY, retry=retry), new("b", limit=KEY, priority=-1), new("c", limit=KEY, priority=-1)
    )
    assert await hand.claim() == ["a"]
    await hand.end("a", outcome)
    first = "a" if outcome is RELEASED else "b"
    assert await in_use(store) == (1, 0)
    assert await hand.claim() == [first]
    assert await in_use(store) == (1, 1)


async def test_a_reaped_attempt_frees_the_key(store: Store) -> None:
    lost, hand = await store.hand(), await store.hand()
    await store.submit(new("a", limit=KEY), new("b", limit=KEY))
    assert await lost.claim() == ["a"]
    assert await hand.claim() == []
    await store.lose(lost)
    assert await hand.claim() == ["b"]


async def test_a_cancelled_ready_job_makes_room(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", limit=KEY), new("b", limit=KEY))
    await store.backend.cancel_jobs(["a"])
    assert await hand.claim() == ["b"]


async def test_a_skipped_job_takes_no_room(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("p"), new("a", "p", limit=KEY), new("b", limit=KEY))
    assert await hand.claim() == ["p", "b"]
    await hand.fail("p")
    await hand.succeed("b")
    assert await in_use(store) == (1, 0)


async def test_priority_decides_within_the_key(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("low", limit=KEY), new("high", limit=KEY, priority=1))
    assert await ready(store) == ["high"]
    await store.submit(new("higher", limit=KEY, priority=2))
    assert await ready(store) == ["higher"], "one that was admitted but not taken yet gives way"
    for job_id in ("higher", "high", "low"):
        await hand.run(job_id)


async def test_the_last_given_capacity_counts(store: Store) -> None:
    hand = await store.hand()
    await store.submit(*(new(f"j{i}", limit=KEY) for i in range(4)))
    assert await hand.claim() == ["j0"]
    await store.submit(new("more", limit=("images", 3)))
    assert await in_use(store) == (3, 1)
    assert await hand.claim() == ["j1", "j2"]
    await store.submit(new("less", limit=("images", 2)))
    assert await in_use(store) == (2, 3), "nothing that runs is stopped"
    await hand.succeed("j0")
    assert await hand.claim() == []
    await hand.succeed("j1")
    assert await hand.claim() == ["j3"]


async def test_a_lowered_capacity_takes_back_what_was_not_started(store: Store) -> None:
    await store.submit(*(new(f"j{i}", limit=("images", 3)) for i in range(3)))
    assert await ready(store) == ["j0", "j1", "j2"]
    await store.submit(new("j3", limit=KEY))
    assert await ready(store) == ["j0"]


async def test_in_one_batch_the_last_in_order_of_submission_counts(store: Store) -> None:
    await store.submit(new("child", "parent", limit=("images", 7)), new("parent", limit=("images", 4)))
    assert await in_use(store) == (4, 0)


async def test_keys_do_not_share(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", limit=("x", 1)), new("b", limit=("y", 1)), new("c", limit=("x", 1)))
    assert await hand.claim() == ["a", "b"]


async def test_a_job_enters_its_key_when_its_dependencies_are_met(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("p"), new("first", "p", limit=KEY, priority=1), new("a", limit=KEY), new("b", limit=KEY))
    assert await ready(store) == ["p", "a"]
    await store.backend.cancel_jobs(["a"])
    assert await hand.claim() == ["p", "b"]
    await hand.succeed("p")
    assert await hand.claim() == []
    await hand.succeed("b")
    assert await hand.claim() == ["first"]


@pytest.mark.parametrize("outcome", [SUCCESS, FATAL], ids=["met", "passed"])
async def test_a_job_enters_its_key_when_a_dependency_without_one_has_ended(store: Store, outcome: Outcome) -> None:
    hand = await store.hand()
    await store.submit(new("parent"), new("child", "parent?", limit=KEY))
    await hand.run("parent", outcome=outcome)
    assert await hand.claim() == ["child"]


async def test_a_job_enters_its_key_when_it_is_due(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("late", limit=KEY, priority=1, delay=1_000_000), new("a", limit=KEY))
    store.clock.advance(1)
    assert await hand.claim() == ["late"]


async def test_under_random_load_a_key_is_never_exceeded_and_nobody_starves(store: Store) -> None:
    rng = Random(7)
    hands = [await store.hand(str(i)) for i in range(3)]
    capacity = {"x": 1, "y": 3}
    keys = [rng.choice(["x", "y"]) for _ in range(40)]
    await store.submit(*(new(f"j{i}", limit=(key, capacity[key])) for i, key in enumerate(keys)))
    held: list[tuple[Hand, str]] = []
    started: list[str] = []
    while len(started) < 40:
        hand = rng.choice(hands)
        got = await hand.claim(rng.randint(1, 3))
        started += got
        held += [(hand, job_id) for job_id in got]
        for key, most in capacity.items():
            running = sum(keys[int(job_id[1:])] == key for _, job_id in held)
            assert running <= most
            assert await in_use(store, key) == (most, running)
        rng.shuffle(held)
        for _ in range(min(len(held), rng.randint(0, 2))):
            hand, job_id = held.pop()
            await hand.succeed(job_id)
    assert len(set(started)) == 40
