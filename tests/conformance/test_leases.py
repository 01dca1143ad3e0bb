"""Rule 4.9 and promise 8: who is gone loses what it held, and what it says later is refused."""

from __future__ import annotations

import pytest

from asyncjobs.backends.base import NewWorker
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import JobStateError
from tests.conformance.support import FAILED, IN_PROGRESS, PENDING, SKIPPED, SUCCESS, Store, new, progress

pytestmark = pytest.mark.anyio


async def test_ids_of_workers_are_never_used_again(store: Store) -> None:
    ids = {(await store.hand("same")).id for _ in range(3)}
    for hand in list(store.hands):
        await store.backend.deregister_worker(hand.id)
    ids |= {(await store.hand("same")).id for _ in range(3)}
    assert len(ids) == 6


async def test_a_worker_is_listed_as_it_registered(store: Store) -> None:
    worker = await store.backend.register_worker(NewWorker(name="ada", slots=3, queues=("x", "y")))
    await store.backend.report_refusals(worker, {"app:other": "not allowed"})
    (info,) = await store.backend.workers()
    assert (info.id, info.name, info.slots, info.queues, info.alive) == (worker, "ada", 3, ("x", "y"), True)
    assert info.refused == {"app:other": "not allowed"}
    assert info.started_at is not None
    assert info.started_at.timestamp() * 1_000_000 == store.clock.now()


async def test_a_worker_is_listed_with_what_it_runs(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim()
    assert [info.running for info in await store.backend.workers()] == [2]
    await hand.succeed("a")
    assert [info.running for info in await store.backend.workers()] == [1]


async def test_a_heartbeat_brings_the_attempts_that_the_worker_holds(store: Store) -> None:
    hand, other = await store.hand(), await store.hand()
    await store.submit(new("a"), new("b"), new("c"))
    await hand.claim(2)
    await other.claim(1)
    assert sorted((await hand.beat()).held or ()) == [("a", 1), ("b", 1)]
    await hand.succeed("a")
    await store.backend.cancel_jobs(["b"])
    lease = await hand.beat()
    assert (lease.held, lease.cancel_requested) == ((("b", 1),), (("b", 1),))
    await store.lose(hand)
    assert not (await hand.beat()).held


async def test_attempts_of_a_worker_whose_lease_ran_out_are_interrupted(store: Store) -> None:
    lost, other = await store.hand(), await store.hand()
    await store.submit(new("a"), new("b"), new("c"))
    await lost.claim(2)
    await other.claim(1)
    assert sorted(await store.lose(lost)) == ["a", "b"]
    assert await store.statuses("a", "b", "c") == [PENDING, PENDING, IN_PROGRESS]
    job = await store.job("a")
    assert (job.interruptions, job.attempt, job.worker) == (1, 1, None)
    assert await store.types("a") == ["submitted", "started", "interrupted"]
    store.clock.advance(1)
    assert await other.claim() == ["a", "b"]


async def test_a_heartbeat_renews_the_lease(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    for _ in range(5):
        store.clock.advance(14)
        assert list(await store.backend.reap()) == []
        assert (await hand.beat()).alive
    assert await store.status("a") == IN_PROGRESS


async def test_the_wall_clock_takes_no_lease(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    for jump in (7200, -14_400):
        store.clock.jump(jump)
        assert list(await store.backend.reap()) == []
    assert (await hand.beat()).alive
    await hand.succeed("a")


async def test_a_worker_whose_lease_ran_out_is_shown_dead_until_it_is_reaped(store: Store) -> None:
    hand = await store.hand()
    store.clock.advance(16)
    assert [info.alive for info in await store.backend.workers()] == [False]
    await store.lose(hand)
    assert list(await store.backend.workers()) == []


async def test_a_reaped_worker_learns_it_from_its_heartbeat_and_its_claims(store: Store) -> None:
    hand = await store.hand()
    await store.lose(hand)
    assert (await hand.beat()).alive is False
    await store.submit(new("a"))
    assert (await hand.claims()).lost
    assert await store.status("a") == PENDING
    assert list(await store.backend.workers()) == [], "the heartbeat did not bring it back"


async def test_what_a_zombie_says_is_refused(store: Store) -> None:
    zombie, other = await store.hand(), await store.hand()
    await store.submit(new("a"))
    await zombie.claim()
    await store.lose(zombie)
    for attempt, status in ((1, PENDING), (2, IN_PROGRESS)):
        before = await store.dump()
        assert await zombie.end("a", SUCCESS, (progress(1),)) == Stale(attempt, status)
        assert await zombie.say("a", progress(1)) is False
        with pytest.raises(JobStateError):
            await store.submit(new("a/1"), parent=zombie.held["a"])
        assert await store.dump() == before
        store.clock.advance(1)
        await other.claim()
    await other.succeed("a")


async def test_reaping_twice_interrupts_once(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    assert list(await store.lose(hand)) == ["a"]
    before = await store.dump()
    assert list(await store.backend.reap()) == []
    assert await store.dump() == before


async def test_interruptions_used_up_fail_the_job_and_decide_its_dependents(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", max_interruptions=1), new("b", "a"))
    await hand.claim()
    await store.lose(hand)
    assert await store.statuses("a", "b") == [FAILED, SKIPPED]


async def test_a_worker_that_leaves_in_order_leaves_nothing_held(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.backend.deregister_worker(hand.id)
    assert list(await store.backend.workers()) == []
    assert await store.types("a") == ["submitted", "started", "interrupted"]
    assert await hand.end("a", SUCCESS) == Stale(1, PENDING)


async def test_leaving_twice_is_no_error(store: Store) -> None:
    hand = await store.hand()
    await store.backend.deregister_worker(hand.id)
    await store.backend.deregister_worker(hand.id)
    assert list(await store.backend.workers()) == []


async def lost_local_job(store: Store) -> None:
    for job_id in ("a", "waiting", "ran"):
        result = (await store.backend.get_results([job_id]))[job_id]
        assert result.status == FAILED, job_id
        assert result.error is not None
        assert result.error.error_type == "LocalJobLostError"
        assert "the process that held this local callable is gone" in result.error.message
    assert await store.status("below") == SKIPPED
    assert await store.status("free") == PENDING
    (attempt,) = await store.backend.get_attempts("ran")
    assert attempt.attempt == 1
    assert list(await store.backend.get_attempts("a")) == [], "it never ran"


async def test_local_jobs_of_a_worker_that_leaves_are_given_up(store: Store) -> None:
    hand, other = await store.hand(), await store.hand()
    await store.submit(new("ran", owner=hand.id))
    await hand.claim()
    await store.submit(
        new("a", owner=hand.id),
        new("below", "a"),
        new("free"),
        new("waiting", "free", owner=hand.id),
        new("p", owner=other.id),
    )
    await store.backend.deregister_worker(hand.id)
    await lost_local_job(store)
    assert await store.status("p") == PENDING


async def test_local_jobs_of_a_worker_that_is_reaped_are_given_up(store: Store) -> None:
    hand, other = await store.hand(), await store.hand()
    await store.submit(new("ran", owner=hand.id))
    await hand.claim()
    await store.submit(
        new("a", owner=hand.id),
        new("below", "a"),
        new("free"),
        new("waiting", "free", owner=hand.id),
        new("p", owner=other.id),
    )
    assert sorted(set(await store.lose(hand))) == ["a", "ran", "waiting"]
    await lost_local_job(store)
    assert await store.status("p") == PENDING


async def test_a_local_job_submitted_for_a_worker_that_is_gone_is_given_up_by_the_next_reap(store: Store) -> None:
    hand = await store.hand()
    await store.backend.deregister_worker(hand.id)
    await store.submit(new("a", owner=hand.id))
    assert list(await store.backend.reap()) == ["a"]
    assert await store.status("a") == FAILED


async def test_a_job_given_up_can_be_retried_and_given_up_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", owner=hand.id))
    await store.backend.deregister_worker(hand.id)
    for _ in range(2):
        await store.backend.retry_job("a")
        assert await store.status("a") == PENDING
        assert list(await store.backend.reap()) == ["a"]
    result = (await store.backend.get_results(["a"]))["a"]
    assert result.error is not None
    assert result.error.error_type == "LocalJobLostError"


@pytest.mark.needs("shared")
async def test_another_object_reaps_what_a_lost_one_held(store: Store) -> None:
    await store.submit(new("a"))
    async with store.second() as other:
        theirs = Store(store.make)
        theirs.backend = other
        theirs.clock = store.clock
        hand = await theirs.hand()
        assert await hand.claim() == ["a"]
    store.clock.advance(16)
    assert list(await store.backend.reap()) == ["a"]


async def test_a_look_for_those_that_are_gone_leaves_expired_leases_alone(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    assert await hand.claim() == ["a"]
    store.clock.advance(16)
    assert list(await store.backend.reap(expired=False)) == []
    assert (await hand.beat()).alive, "it was only held up"
    assert list(await store.backend.reap()) == []
