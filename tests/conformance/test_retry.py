"""Rule 4.4: the explicit retry of a job, and of what was skipped because of it."""

from __future__ import annotations

import pytest

from asyncjobs.core.retry import RetryPolicy
from asyncjobs.exceptions import JobNotFoundError, JobStateError
from asyncjobs.models import WaitsFor
from tests.conformance.support import (
    BROKEN,
    CANCELLED,
    COMPLETED,
    FAILED,
    FAILURE,
    FATAL,
    IN_PROGRESS,
    MET,
    OPEN,
    PASSED,
    PENDING,
    RELEASED,
    SKIPPED,
    Store,
    new,
)

pytestmark = pytest.mark.anyio


async def test_a_failed_job_is_pending_again_with_its_counters_at_zero(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=RetryPolicy(max_retries=1, base=0, jitter=0)))
    await hand.run("a", outcome=FAILURE)
    await hand.run("a", outcome=FAILURE)
    assert await store.status("a") == FAILED
    assert await store.backend.retry_job("a") == PENDING
    job = await store.job("a")
    assert (job.attempt, job.failures, job.interruptions, job.finished_at, job.started_at) == (2, 0, 0, None, None)
    event = (await store.events("a"))[-1]
    assert (event.type, event.status, event.data) == ("retrying", PENDING, {"by": "retry_job", "job": "a"})
    await hand.run("a", outcome=FAILURE)
    assert await store.status("a") == PENDING, "it has its retries again"
    assert [attempt.attempt for attempt in await store.backend.get_attempts("a")] == [1, 2, 3]


async def test_a_cancelled_job_is_pending_again_without_its_request(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim(1)
    await store.backend.cancel_jobs(["a", "b"])
    await hand.end("a", FATAL)
    for job_id in ("a", "b"):
        assert await store.backend.retry_job(job_id) == PENDING
        assert not (await store.job(job_id)).cancel_requested
    await hand.run("a", "b")
    assert await store.statuses("a", "b") == [COMPLETED, COMPLETED]


async def test_what_was_skipped_because_of_it_waits_for_it_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "b"), new("d", "b", "c"))
    await hand.run("a", outcome=FATAL)
    await store.backend.retry_job("a")
    assert await store.statuses("a", "b", "c", "d") == [PENDING] * 4
    assert (await store.job("d")).because is None
    assert await store.edges("d") == {"b": OPEN, "c": OPEN}
    assert await store.types("c") == ["submitted", "skipped", "retrying"]
    for job_id in "abcd":
        await hand.run(job_id)
    assert await store.status("d") == COMPLETED


async def test_a_retry_that_fails_again_skips_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "b"))
    await hand.run("a", outcome=FATAL)
    await store.backend.retry_job("a")
    await hand.run("a", outcome=FATAL)
    assert await store.statuses("b", "c") == [SKIPPED, SKIPPED]
    assert await store.types("c") == ["submitted", "skipped", "retrying", "skipped"]


async def test_a_job_with_another_broken_dependency_is_skipped_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("x"), new("b", "a", "x"), new("c", "b"))
    await hand.claim()
    await hand.fail("a")
    await hand.fail("x")
    await store.backend.retry_job("a")
    assert [((await store.job(i)).status, (await store.job(i)).because) for i in "bc"] == [(SKIPPED, "x")] * 2
    await hand.run("a")
    assert await store.edges("b") == {"a": MET, "x": BROKEN}
    await store.backend.retry_job("x")
    await hand.run("x")
    assert await hand.claim() == ["b"]


async def test_the_tip_of_a_diamond_with_another_broken_dependency_is_skipped_again_once(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("x"), new("b", "a"), new("c", "a"), new("d", "b", "c", "x"))
    await hand.claim()
    await hand.fail("a")
    await hand.fail("x")
    assert await store.backend.retry_job("a") == PENDING
    job = await store.job("d")
    assert (job.status, job.because) == (SKIPPED, "x")
    assert await store.types("d") == ["submitted", "skipped", "retrying", "skipped"]


async def test_what_was_skipped_because_of_another_job_stays(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("x"), new("b", "a", "x"))
    await hand.claim()
    await hand.fail("x")
    await hand.fail("a")
    await store.backend.retry_job("a")
    assert ((await store.job("b")).status, (await store.job("b")).because) == (SKIPPED, "x")
    await hand.run("a")
    await store.backend.retry_job("x")
    assert await store.edges("b") == {"a": MET, "x": OPEN}
    await hand.run("x")
    assert await hand.claim() == ["b"]


async def test_optional_dependents_that_did_not_start_wait_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a?"), new("c", "a"), new("d", "c?"))
    await hand.run("a", outcome=FATAL)
    assert sorted(job.id for job in await store.backend.get_ready_jobs()) == ["b", "d"]
    await store.backend.retry_job("a")
    assert [job.id for job in await store.backend.get_ready_jobs()] == ["a"]
    assert (await store.edges("b"), await store.edges("d")) == ({"a": OPEN}, {"c": OPEN})
    assert (await store.job("d")).waits_for is WaitsFor.DEPENDENCIES
    await hand.run("a")
    assert sorted(await hand.claim()) == ["b", "c"]


async def test_jobs_that_started_stay_as_they_are(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("done", "a?"), new("runs", "a?"), new("released", "a?"))
    await hand.run("a", outcome=FATAL)
    await hand.claim()
    await hand.succeed("done")
    await hand.end("released", RELEASED)
    await store.backend.retry_job("a")
    assert await store.statuses("done", "runs", "released") == [COMPLETED, IN_PROGRESS, PENDING]
    assert await store.edges("runs") == {"a": PASSED}
    assert sorted(await hand.claim()) == ["a", "released"]
    await hand.succeed("a", "runs", "released")
    assert await store.edges("runs") == {"a": PASSED}


async def test_a_surplus_dependency_does_not_hold_what_is_ready_without_it(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a", "b", require=1))
    await hand.claim()
    await hand.ends({"a": FATAL})
    await hand.succeed("b")
    await store.backend.retry_job("a")
    assert await store.edges("c") == {"a": OPEN, "b": MET}
    assert sorted(await hand.claim()) == ["a", "c"]


async def test_a_retried_job_waits_for_its_own_dependencies(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"))
    await store.backend.cancel_jobs(["b"])
    assert await store.backend.retry_job("b") == PENDING
    assert await hand.claim() == ["a"]
    await hand.succeed("a")
    assert await hand.claim() == ["b"]


async def test_a_retried_job_whose_dependency_failed_meanwhile_is_skipped(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "b"))
    await store.backend.cancel_jobs(["b"])
    await hand.run("a", outcome=FATAL)
    assert await store.backend.retry_job("b") == SKIPPED
    assert [(await store.job(i)).because for i in "bc"] == ["a", "a"]
    await store.backend.retry_job("a")
    assert await store.statuses("a", "b", "c") == [PENDING] * 3


async def test_a_retried_job_goes_at_once(store: Store) -> None:
    await store.submit(new("a", delay=3_600_000_000))
    await store.backend.cancel_jobs(["a"])
    await store.backend.retry_job("a")
    assert [job.id for job in await store.backend.get_ready_jobs()] == ["a"]


async def test_a_skipped_job_keeps_the_moment_it_was_meant_for(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a", delay=3_600_000_000))
    await hand.run("a", outcome=FATAL)
    await store.backend.retry_job("a")
    await hand.run("a")
    assert (await store.job("b")).waits_for is WaitsFor.TIME


async def test_only_failed_and_cancelled_jobs_are_retried(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("pending", priority=-1), new("done"), new("runs"), new("failed"), new("skipped", "failed"))
    assert await hand.claim(3) == ["done", "runs", "failed"]
    await hand.succeed("done")
    await hand.fail("failed")
    before = await store.dump()
    for job_id, status in [("pending", PENDING), ("runs", IN_PROGRESS), ("done", COMPLETED), ("skipped", SKIPPED)]:
        with pytest.raises(JobStateError) as refused:
            await store.backend.retry_job(job_id)
        assert (refused.value.job_id, refused.value.status) == (job_id, status)
    assert "failed" in (refused.value.hint or ""), "a skipped job's hint names the cause"
    assert await store.dump() == before


async def test_an_unknown_job_is_not_found(store: Store) -> None:
    with pytest.raises(JobNotFoundError) as refused:
        await store.backend.retry_job("nobody")
    assert refused.value.job_id == "nobody"


async def test_dependents_that_were_cancelled_stay_cancelled(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "b"))
    await store.backend.cancel_jobs(["b"])
    await hand.run("a", outcome=FATAL)
    await store.backend.retry_job("a")
    assert await store.statuses("b", "c") == [CANCELLED, SKIPPED]
    assert (await store.job("c")).because == "b"


async def test_a_child_with_require_revives_when_any_of_its_broken_parents_is_retried(store: Store) -> None:
    for number, retried in enumerate(("p1", "p2")):
        hand = await store.hand()
        p0, p1, p2, child = (f"{number}{name}" for name in ("p0", "p1", "p2", "child"))
        await store.submit(new(p0), new(p1), new(p2), new(child, p0, p1, p2, require=2))
        await hand.claim()
        await hand.succeed(p0)
        await hand.fail(p1)
        await hand.fail(p2)
        assert await store.status(child) == SKIPPED
        await store.backend.retry_job(f"{number}{retried}")
        assert ((await store.job(child)).status, (await store.job(child)).because) == (PENDING, None)
        await hand.run(f"{number}{retried}")
        assert await hand.claim() == [child], "two of three are met"
        await hand.succeed(child)


async def test_so_does_what_was_skipped_after_it(store: Store) -> None:
    hand = await store.hand()
    await store.submit(
        new("p1"), new("p2"), new("child", "p1", "p2", require=1), new("below", "child"), new("lowest", "below")
    )
    await hand.claim()
    await hand.fail("p1")
    await hand.fail("p2")
    cause = (await store.job("lowest")).because
    other = "p1" if cause == "p2" else "p2"
    await store.backend.retry_job(other)
    assert await store.statuses("child", "below", "lowest") == [PENDING] * 3
    for job_id in (other, "child", "below", "lowest"):
        await hand.run(job_id)


async def test_an_optional_parent_that_a_child_with_require_lacks_is_a_cause_too(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("p1"), new("p2"), new("child", "p1?", "p2", require=2))
    await hand.claim()
    await hand.fail("p2")
    await hand.fail("p1")
    assert (await store.job("child")).because == "p2"
    await store.backend.retry_job("p1")
    assert ((await store.job("child")).status, (await store.job("child")).because) == (SKIPPED, "p2"), "p2 still lacks"
    await hand.run("p1")
    await store.backend.retry_job("p2")
    await hand.run("p2")
    assert await hand.claim() == ["child"]


async def test_a_child_with_require_that_still_cannot_be_reached_is_skipped_again_with_the_cause_that_is_left(
    store: Store,
) -> None:
    hand = await store.hand()
    await store.submit(new("p1"), new("p2"), new("child", "p1", "p2", require=2), new("below", "child"))
    await hand.claim()
    await hand.fail("p1")
    await hand.fail("p2")
    await store.backend.retry_job("p1")
    told = [((await store.job(job_id)).status, (await store.job(job_id)).because) for job_id in ("child", "below")]
    assert told == [(SKIPPED, "p2")] * 2
    await hand.run("p1")
    await store.backend.retry_job("p2")
    await hand.run("p2")
    await hand.run("child")
    await hand.run("below")


async def test_a_plain_child_below_it_with_a_broken_parent_of_its_own_stays_skipped(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("p1"), new("p2"), new("x"), new("child", "p1", "p2", require=1), new("below", "child", "x"))
    await hand.claim()
    await hand.fail("x")
    await hand.fail("p1")
    await hand.fail("p2")
    await store.backend.retry_job("p1")
    assert await store.status("child") == PENDING
    assert ((await store.job("below")).status, (await store.job("below")).because) == (SKIPPED, "x")
    await hand.run("p1")
    await hand.run("child")
    await store.backend.retry_job("x")
    await hand.run("x")
    assert await hand.claim() == ["below"]


async def test_so_does_one_whose_parents_ended_in_one_batch(store: Store) -> None:
    """It was skipped because of ``x``, before ``p`` decided on its other parent: what becomes of ``p`` is no matter."""
    hand = await store.hand()
    await store.submit(new("x"), new("p"), new("child", "x", "p", require=1), new("below", "x", "child"))
    await hand.claim()
    await hand.ends({"x": FATAL, "p": FATAL})
    await store.backend.retry_job("p")
    assert await store.statuses("child", "below") == [PENDING, SKIPPED]
    assert await store.types("below") == ["submitted", "skipped"]


async def test_a_parent_that_was_cancelled_is_a_cause_like_one_that_failed(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("p1"), new("p2"), new("child", "p1", "p2", require=1))
    await store.backend.cancel_jobs(["p1"])
    await store.backend.cancel_jobs(["p2"])
    for job_id in ("p1", "p2"):
        await store.backend.retry_job(job_id)
        assert await store.status("child") == PENDING
        await store.backend.cancel_jobs([job_id])
        assert await store.status("child") == SKIPPED
    await store.backend.retry_job("p1")
    await hand.run("p1")
    assert await hand.claim() == ["child"]
