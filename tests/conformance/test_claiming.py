"""Claiming: the highest priority first, then submission; each attempt once; only what the worker may run."""

from __future__ import annotations

import anyio
import pytest

from asyncjobs.backends.base import ClaimRequest
from asyncjobs.models import WaitsFor
from tests.conformance.support import FUNCTION, IN_PROGRESS, ONCE, PENDING, Hand, Store, new

pytestmark = pytest.mark.anyio

SECOND = 1_000_000


async def test_a_claimed_job_is_in_progress(store: Store) -> None:
    hand = await store.hand("ada")
    await store.submit(new("a", call=b"encoded", injects=True, timeout=2.5, group="g"))
    (claimed,) = (await hand.claims()).jobs
    assert (claimed.attempt.job_id, claimed.attempt.attempt, claimed.attempt.worker) == ("a", 1, hand.id)
    assert (claimed.function, claimed.call, claimed.injects, claimed.timeout) == (FUNCTION, b"encoded", True, 2.5)
    assert (claimed.retry, claimed.group, claimed.cancel_requested) == (ONCE, "g", False)
    assert claimed.started_at == store.clock.now()
    job = await store.job("a")
    assert (job.status, job.attempt, job.worker, job.waits_for) == (IN_PROGRESS, 1, "ada", None)
    assert await store.types("a") == ["submitted", "started"]


async def test_one_job_is_claimed_as_one_of_a_batch_would_be(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", priority=1))
    claimed = await store.backend.dequeue_job(hand.wants(limit=5))
    assert claimed is not None
    assert claimed.attempt.job_id == "b"
    assert await store.statuses("a", "b") == [PENDING, IN_PROGRESS]
    assert await store.types("b") == ["submitted", "started"]


async def test_one_job_is_claimed_only_while_there_is_one_that_the_worker_may_take(store: Store) -> None:
    hand = await store.hand()
    assert await store.backend.dequeue_job(hand.wants()) is None, "nothing is stored"
    await store.submit(new("other", function="app:other"), new("elsewhere", queue="q"), new("a"), new("child", "a"))
    wants = hand.wants(limit=0, queues=("default",))
    claimed = await store.backend.dequeue_job(wants)
    assert claimed is not None
    assert claimed.attempt.job_id == "a"
    assert await store.backend.dequeue_job(wants) is None
    await store.submit(new("b"))
    await store.backend.deregister_worker(hand.id)
    assert await store.backend.dequeue_job(wants) is None, "the worker is registered no more"


async def test_a_claim_says_how_its_job_is_isolated(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", isolation="process"), new("b"))
    isolation = {job.attempt.job_id: job.isolation for job in (await hand.claims()).jobs}
    assert isolation == {"a": "process", "b": "thread"}


async def test_priority_first_then_submission(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", priority=1), new("c", priority=-1), new("d"), new("e", priority=1))
    assert await hand.claim() == ["b", "e", "a", "d", "c"]


async def test_the_order_holds_over_queues_and_functions(store: Store) -> None:
    hand = await store.hand(functions=("app:f", "app:g"))
    await store.submit(
        new("a", function="app:f", queue="x"),
        new("b", function="app:g", queue="x", priority=2),
        new("c", function="app:f", queue="y", priority=1),
        new("d", function="app:g", queue="y"),
    )
    assert await hand.claim(3) == ["b", "c", "a"]
    assert await hand.claim(3) == ["d"]


async def test_no_more_than_the_limit(store: Store) -> None:
    hand = await store.hand()
    await store.submit(*(new(f"j{i}") for i in range(5)))
    assert await hand.claim(2) == ["j0", "j1"]
    assert await hand.claim(0) == []
    assert await hand.claim(9) == ["j2", "j3", "j4"]


async def test_a_job_is_given_out_once(store: Store) -> None:
    one, other = await store.hand(), await store.hand()
    await store.submit(new("a"))
    assert await one.claim() == ["a"]
    assert await other.claim() == []


async def test_concurrent_claims_share_what_there_is(store: Store) -> None:
    hands = [await store.hand() for _ in range(4)]
    await store.submit(*(new(f"j{i}") for i in range(4)))
    got: list[str] = []

    async def take(hand: Hand) -> None:
        got.extend(await hand.claim(1))

    async with anyio.create_task_group() as group:
        for hand in hands:
            group.start_soon(take, hand)
    assert sorted(got) == ["j0", "j1", "j2", "j3"]
    assert [await store.types(f"j{i}") for i in range(4)] == [["submitted", "started"]] * 4


async def test_only_from_its_queues(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", queue="x"), new("b", queue="y"), new("c", queue="z"))
    assert await hand.claim(queues=("y", "x")) == ["a", "b"]
    assert await hand.claim(queues=("other",)) == []
    assert await hand.claim(queues=None) == ["c"]


async def test_functions_it_was_not_told_of_are_reported_and_left(store: Store) -> None:
    hand = await store.hand(functions=("app:f",), refused=("app:refused",))
    await store.submit(
        new("a", function="app:g"),
        new("b", function="app:refused"),
        new("c", function="app:f"),
        new("d", function="app:g"),
        new("e", "c", function="app:later"),
        new("f", function="app:elsewhere", queue="x"),
    )
    claims = await hand.claims(queues=("default",))
    assert hand.remember(claims) == ["c"]
    assert claims.unknown == ("app:g",), "not what is refused, not ready, or in another queue"
    assert await store.statuses("a", "b", "d") == [PENDING] * 3


async def test_an_owned_job_goes_to_its_owner_alone(store: Store) -> None:
    owner, other = await store.hand(), await store.hand()
    await store.submit(new("a", owner=owner.id), new("b"))
    claims = await other.claims()
    assert other.remember(claims) == ["b"]
    assert claims.unknown == ()
    assert await owner.claim() == ["a"]


async def test_a_worker_that_is_not_registered_gets_nothing(store: Store) -> None:
    await store.submit(new("a"))
    hand = await store.hand()
    await store.backend.deregister_worker(hand.id)
    claims = await hand.claims()
    assert (claims.lost, list(claims.jobs)) == (True, [])
    nobody = await store.backend.dequeue_jobs(
        ClaimRequest(worker="w999-00000000", limit=1, functions=frozenset({FUNCTION}))
    )
    assert (nobody.lost, list(nobody.jobs)) == (True, [])
    assert await store.status("a") == PENDING


async def test_a_delayed_job_is_claimed_when_it_is_due(store: Store) -> None:
    hand = await store.hand()
    due = store.clock.now() + 5 * SECOND
    await store.submit(new("a", run_at=due), new("b"))
    claims = await hand.claims()
    assert hand.remember(claims) == ["b"]
    assert claims.next_due == due
    store.clock.advance(5)
    claims = await hand.claims()
    assert hand.remember(claims) == ["a"]
    assert claims.next_due is None


async def test_a_due_job_comes_in_its_order(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("late", priority=1, delay=SECOND), new("a"), new("b", delay=SECOND))
    store.clock.advance(1)
    assert await hand.claim() == ["late", "a", "b"]


async def test_the_earliest_due_job_is_told_even_if_others_come_later(store: Store) -> None:
    hand = await store.hand()
    now = store.clock.now()
    await store.submit(new("a", run_at=now + 9 * SECOND), new("b", run_at=now + 4 * SECOND))
    assert (await hand.claims()).next_due == now + 4 * SECOND


async def test_a_flood_of_due_jobs_is_promoted_step_by_step(store: Store) -> None:
    hand = await store.hand()
    await store.submit(*(new(f"j{i}", delay=SECOND) for i in range(450)))
    store.clock.advance(1)
    claimed: list[str] = []
    while (claims := await hand.claims(1000)).jobs:
        claimed += hand.remember(claims)
        assert (claims.next_due is None) == (len(claimed) == 450), "a due job that is left is told of"
    assert len(claimed) == len(set(claimed)) == 450


async def test_a_delayed_job_waits_for_its_dependencies_first(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a", delay=10 * SECOND))
    assert (await store.job("b")).waits_for is WaitsFor.DEPENDENCIES
    await hand.run("a")
    assert (await store.job("b")).waits_for is WaitsFor.TIME
    store.clock.advance(10)
    assert await hand.claim() == ["b"]


async def test_the_wall_clock_decides_whether_a_moment_has_come(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", run_at=store.clock.now() + 3600 * SECOND))
    store.clock.jump(-3600)
    store.clock.advance(3601)
    await hand.beat()
    assert await hand.claim() == []
    store.clock.jump(3600)
    assert await hand.claim() == ["a"]
