"""Promise 9: cancelling tells the truth."""

from __future__ import annotations

import pytest

from asyncjobs.core.state import Stale
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import Outcome, OutcomeKind
from tests.conformance.support import (
    BOOM,
    CANCELLED,
    COMPLETED,
    FAILED,
    FAILURE,
    FATAL,
    IN_PROGRESS,
    PENDING,
    RELEASED,
    SKIPPED,
    STOPPED,
    SUCCESS,
    Store,
    new,
)

pytestmark = pytest.mark.anyio

INTERRUPTED = Outcome(OutcomeKind.INTERRUPTED)


async def test_a_pending_job_is_cancelled_and_never_starts(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("delayed", delay=1_000_000), new("p"), new("waiting", "p"))
    cancelled = await store.backend.cancel_jobs(["a", "delayed", "waiting"])
    assert cancelled == {"a": CANCELLED, "delayed": CANCELLED, "waiting": CANCELLED}
    store.clock.advance(1)
    await hand.run("p")
    assert await hand.claim() == []
    assert await store.types("a") == ["submitted", "cancelled"]
    assert (await store.job("a")).finished_at is not None


async def test_a_job_in_progress_stays_so_with_the_request_stored(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim()
    assert await store.backend.cancel_jobs(["a"]) == {"a": IN_PROGRESS}
    assert (await store.job("a")).cancel_requested
    event = (await store.events("a"))[-1]
    assert (event.type, event.status, event.attempt) == ("cancel_requested", None, 1)
    assert (await hand.beat()).cancel_requested == (("a", 1),)


async def test_a_second_request_changes_nothing(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.backend.cancel_jobs(["a"])
    before = await store.dump()
    assert await store.backend.cancel_jobs(["a"]) == {"a": IN_PROGRESS}
    assert await store.dump() == before


@pytest.mark.parametrize("outcome", [SUCCESS, FATAL, FAILURE, RELEASED, INTERRUPTED, STOPPED])
async def test_a_stored_request_turns_every_outcome_into_cancelled(store: Store, outcome: Outcome) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "a?"))
    await hand.claim()
    await store.backend.cancel_jobs(["a"])
    assert await hand.end("a", outcome) == CANCELLED
    assert await store.statuses("b", "c") == [SKIPPED, PENDING]
    result = (await store.backend.get_results(["a"]))["a"]
    assert (result.status, result.value) == (CANCELLED, None)
    (attempt,) = await store.backend.get_attempts("a")
    assert attempt.outcome == OutcomeKind.CANCELLED


async def test_a_stored_request_turns_a_reap_into_cancelled(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.backend.cancel_jobs(["a"])
    assert list(await store.lose(hand)) == ["a"]
    assert await store.status("a") == CANCELLED


async def test_an_outcome_committed_before_it_wins(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("done"), new("failed"), new("skipped", "failed"))
    await hand.claim()
    await hand.ends({"done": SUCCESS, "failed": Outcome(OutcomeKind.FAILED, error=BOOM, retryable=False)})
    before = await store.dump()
    cancelled = await store.backend.cancel_jobs(["done", "failed", "skipped"])
    assert cancelled == {"done": COMPLETED, "failed": FAILED, "skipped": SKIPPED}
    assert await store.dump() == before


async def test_a_body_may_stop_by_itself(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.run("a", outcome=STOPPED)
    assert await store.status("a") == CANCELLED
    assert (await store.job("a")).error is None


async def test_after_it_ended_a_cancelled_attempt_is_stale(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.backend.cancel_jobs(["a"])
    await hand.end("a", STOPPED)
    assert await hand.end("a", SUCCESS) == Stale(1, CANCELLED)


async def test_unknown_ids_are_left_out(store: Store) -> None:
    await store.submit(new("a"))
    assert await store.backend.cancel_jobs(["nobody", "a"]) == {"a": CANCELLED}
    assert await store.backend.cancel_jobs([]) == {}


async def test_dependents_of_a_cancelled_job_are_decided_at_once(store: Store) -> None:
    await store.submit(new("a"), new("b", "a"), new("c", "b"), new("d", "c?"))
    await store.backend.cancel_jobs(["a"])
    assert await store.statuses("b", "c", "d") == [SKIPPED, SKIPPED, PENDING]
    assert (await store.job("c")).because == "a"


async def test_a_job_and_its_dependent_cancelled_in_one_call_are_both_cancelled(store: Store) -> None:
    await store.submit(new("a"), new("b", "a"))
    assert await store.backend.cancel_jobs(["a", "b"]) == {"a": CANCELLED, "b": CANCELLED}
    assert await store.types("b") == ["submitted", "cancelled"]


async def test_descendants_are_the_jobs_submitted_from_inside(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("stranger"))
    await hand.claim(1)
    await store.submit(new("a/1"), new("a/2"), parent=hand.held["a"])
    await hand.claim()
    await store.submit(new("a/1/1", delay=1_000_000), parent=hand.held["a/1"])
    await hand.succeed("a/2")
    assert await store.backend.cancel_jobs(["a"], descendants=True) == {
        "a": IN_PROGRESS,
        "a/1": IN_PROGRESS,
        "a/2": COMPLETED,
        "a/1/1": CANCELLED,
    }
    assert (await store.job("a/1")).cancel_requested
    assert not (await store.job("stranger")).cancel_requested


async def test_without_descendants_only_the_named(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.submit(new("a/1"), parent=hand.held["a"])
    assert await store.backend.cancel_jobs(["a"]) == {"a": IN_PROGRESS}
    assert await store.status("a/1") == PENDING


async def test_once_a_request_is_stored_what_the_attempt_submits_is_refused(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.submit(new("a/1"), parent=hand.held["a"])
    await store.backend.cancel_jobs(["a"], descendants=True)
    before = await store.dump()
    with pytest.raises(JobStateError) as caught:
        await store.submit(new("a/2"), new("a/3"), parent=hand.held["a"])
    assert (caught.value.job_id, caught.value.status) == ("a", "asked to stop")
    assert await store.dump() == before


async def test_also_a_child_that_exists_and_a_request_without_descendants(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.submit(new("a/1"), parent=hand.held["a"])
    await store.backend.cancel_jobs(["a"])
    with pytest.raises(JobStateError):
        await store.submit(new("a/1", if_exists="return"), parent=hand.held["a"])
    with pytest.raises(JobStateError):
        await store.submit(new("a/2"), parent=hand.held["a"])
    assert await store.status("a/1") == PENDING, "it was not named"


async def test_the_tree_closes_below_too(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.submit(new("a/1"), parent=hand.held["a"])
    await hand.claim()
    await hand.succeed("a")  # what it submitted goes on
    await store.backend.cancel_jobs(["a"], descendants=True)
    with pytest.raises(JobStateError):
        await store.submit(new("a/1/1"), parent=hand.held["a/1"])
    assert await hand.end("a/1", SUCCESS) == CANCELLED
    assert [job.id for job in await store.jobs()] == ["a", "a/1"]


async def test_the_attempt_after_a_retry_submits_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.backend.cancel_jobs(["a"], descendants=True)
    await hand.end("a", STOPPED)
    await store.backend.retry_job("a")
    await hand.claim()
    await store.submit(new("a/1"), parent=hand.held["a"])
    assert await store.status("a/1") == PENDING
