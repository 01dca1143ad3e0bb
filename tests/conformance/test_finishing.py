"""Finishing: the fence lets one outcome of the current attempt through, and nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from asyncjobs.backends.base import AttemptEnd, AttemptRef
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import Stale
from asyncjobs.models import BodyEvent, Outcome, OutcomeKind
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
    STOPPED,
    SUCCESS,
    Store,
    new,
    progress,
)

pytestmark = pytest.mark.anyio


async def test_a_success_stores_the_result(store: Store) -> None:
    hand = await store.hand("ada")
    await store.submit(new("a"))
    await hand.claim()
    store.clock.advance(2)
    assert await hand.end("a", Outcome(OutcomeKind.SUCCEEDED, value=b"\x07")) == COMPLETED
    result = (await store.backend.get_results(["a"]))["a"]
    assert (result.status, result.value, result.error, result.function) == (COMPLETED, b"\x07", None, "app:work")
    job = await store.job("a")
    assert (job.elapsed, job.worker) == (2.0, "ada")
    assert await store.types("a") == ["submitted", "started", "completed"]


async def test_a_failure_stores_the_error(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.run("a", outcome=FATAL)
    result = (await store.backend.get_results(["a"]))["a"]
    assert (result.status, result.value, result.error, result.error_kind) == (FAILED, None, BOOM, OutcomeKind.FAILED)
    assert (await store.job("a")).error == BOOM
    event = (await store.events("a"))[-1]
    assert (event.type, event.status, event.data) == ("failed", FAILED, {"error_type": "ValueError", "message": "boom"})


async def test_a_job_names_the_worker_that_holds_its_attempt_or_completed_it_and_no_other(store: Store) -> None:
    """``worker`` and ``worker_id`` agree, on every store, for every way in which an attempt can end."""
    hand, lost = await store.hand("ada"), await store.hand("bob")
    ends = {"completed": SUCCESS, "failed": FATAL, "retrying": FAILURE, "released": RELEASED, "cancelled": STOPPED}
    await store.submit(*(new(job_id, retry=RetryPolicy(max_retries=1)) for job_id in ends))
    await store.submit(new("skipped", "failed"), new("given up"), new("interrupted"))
    await store.submit(new("worn out", max_interruptions=1), new("running"))
    assert list(await store.backend.give_up(["given up"], BOOM)) == ["given up"]
    assert await hand.claim(5) == list(ends)
    await hand.ends(ends)
    assert await hand.claim(1) == ["released"]
    await hand.succeed("released")
    assert await lost.claim(2) == ["interrupted", "worn out"]
    assert await hand.claim(1) == ["running"]

    async def named() -> dict[str, tuple[str | None, str | None]]:
        return {job.id: (job.worker, job.worker_id) for job in await store.jobs() if job.worker or job.worker_id}

    by_ada = dict.fromkeys(("completed", "released", "running"), ("ada", hand.id))
    assert await named() == by_ada | dict.fromkeys(("interrupted", "worn out"), ("bob", lost.id))
    await store.lose(lost)
    assert await store.statuses("interrupted", "worn out") == [PENDING, FAILED]
    assert await named() == by_ada
    await store.backend.deregister_worker(hand.id)
    known = await named()
    known.pop("running", None)
    assert known == dict.fromkeys(("completed", "released"), ("ada", hand.id)), "also when that worker is gone"


@pytest.mark.parametrize("second", [SUCCESS, FATAL, FAILURE, RELEASED, STOPPED])
async def test_an_attempt_ends_once(store: Store, second: Outcome) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"))
    await hand.claim()
    await hand.succeed("a")
    before = await store.dump()
    assert await hand.end("a", second, (progress(1),)) == Stale(1, COMPLETED)
    assert await store.dump() == before


async def test_an_attempt_ends_once_also_within_one_call(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    ends = [AttemptEnd(hand.held["a"], SUCCESS), AttemptEnd(hand.held["a"], FATAL)]
    finished = await store.backend.update_job_status(ends)
    assert list(finished.results) == [COMPLETED, Stale(1, COMPLETED)]


async def test_an_outcome_of_a_job_that_was_removed_is_stale(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim()
    await hand.succeed("a")
    assert list(await store.backend.remove_jobs(["a"])) == ["a"]
    ends = [AttemptEnd(hand.held["a"], FATAL), AttemptEnd(hand.held["b"], SUCCESS)]
    finished = await store.backend.update_job_status(ends)
    assert list(finished.results) == [Stale(0, CANCELLED), COMPLETED], "and its neighbour in the batch is recorded"
    assert await store.types("b") == ["submitted", "started", "completed"]


async def test_an_outcome_of_a_job_that_was_never_stored_is_stale(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    unknown = AttemptEnd(AttemptRef("nowhere", 1, hand.id), SUCCESS, (progress(1),))
    finished = await store.backend.update_job_status([unknown], hand.wants())
    assert list(finished.results) == [Stale(0, CANCELLED)]
    assert [job.attempt.job_id for job in finished.claims.jobs] == ["a"], "the claim that came with it counts"


async def test_an_earlier_attempt_is_fenced_off(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    first = hand.held["a"]
    await hand.end("a", RELEASED)
    await hand.claim()
    before = await store.dump()
    finished = await store.backend.update_job_status([AttemptEnd(first, SUCCESS)])
    assert list(finished.results) == [Stale(2, IN_PROGRESS)]
    assert await store.dump() == before
    await hand.succeed("a")


async def test_another_worker_is_fenced_off(store: Store) -> None:
    hand, other = await store.hand(), await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    before = await store.dump()
    for worker in (other.id, "w999-00000000", ""):
        stolen = replace(hand.held["a"], worker=worker)
        finished = await store.backend.update_job_status([AttemptEnd(stolen, SUCCESS)])
        assert list(finished.results) == [Stale(1, IN_PROGRESS)]
    assert await store.dump() == before


async def test_a_job_that_never_was_is_stale(store: Store) -> None:
    hand = await store.hand()
    finished = await store.backend.update_job_status([AttemptEnd(AttemptRef("nobody", 1, hand.id), SUCCESS)])
    assert isinstance(finished.results[0], Stale)
    assert await store.events() == []


async def test_the_backends_own_key_may_be_missing(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    hand.held["a"] = AttemptRef("a", 1, hand.id)
    await hand.succeed("a")


async def test_the_stale_among_many_changes_nothing_of_the_others(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c"))
    await hand.claim()
    await hand.succeed("b")
    assert await hand.ends({"a": SUCCESS, "b": FATAL, "c": FATAL}) == [COMPLETED, Stale(1, COMPLETED), FAILED]


async def test_what_the_body_said_comes_before_its_end(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    said = (progress(1, 2, at=1_000_000), BodyEvent("note", {"text": "almost"}, 2_000_000))
    await hand.end("a", SUCCESS, said)
    events = await store.events("a")
    assert [(e.seq, e.type, e.status) for e in events[2:]] == [
        (3, "progress", None),
        (4, "note", None),
        (5, "completed", COMPLETED),
    ]
    assert events[3].data == {"text": "almost"}
    assert events[3].at.timestamp() == 2.0
    assert {event.attempt for event in events[1:]} == {1}


async def test_a_released_job_goes_back_uncounted(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    assert await hand.end("a", RELEASED) == PENDING
    job = await store.job("a")
    assert (job.attempt, job.failures, job.interruptions, job.run_at) == (1, 0, 0, None)
    assert await hand.claim() == ["a"]


async def test_a_finish_claims_the_next_jobs(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c"), new("d"))
    assert await hand.claim(1) == ["a"]
    finished = await store.backend.update_job_status([AttemptEnd(hand.held["a"], SUCCESS)], hand.wants(2))
    assert list(finished.results) == [COMPLETED]
    assert hand.remember(finished.claims) == ["b", "c"], "what it released is claimed with the rest, in order"


async def test_a_finish_without_a_claim_claims_nothing(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim(1)
    finished = await store.backend.update_job_status([AttemptEnd(hand.held["a"], SUCCESS)])
    assert (list(finished.claims.jobs), finished.claims.lost) == ([], False)
    assert await store.status("b") == PENDING


async def test_a_finish_that_is_stale_still_claims(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim(1)
    await hand.succeed("a")
    finished = await store.backend.update_job_status([AttemptEnd(hand.held["a"], SUCCESS)], hand.wants())
    assert hand.remember(finished.claims) == ["b"]


async def test_what_a_running_body_says_is_stored(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    assert await hand.say("a", progress(1, 4, "one"), progress(2, 4, "two")) is True
    told = (await store.job("a")).progress
    assert told is not None
    assert (told.done, told.total, told.message, told.percent) == (2, 4, "two", 50.0)
    assert await store.types("a") == ["submitted", "started", "progress", "progress"]


async def test_progress_is_that_of_the_last_attempt(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a", retry=RetryPolicy(max_retries=1)))
    await hand.claim()
    await hand.say("a", progress(3, 4))
    await hand.end("a", FAILURE)
    assert (await store.job("a")).progress is not None  # it is what it came to
    store.clock.advance(60)
    await hand.claim()
    assert (await store.job("a")).progress is None
    await hand.say("a", progress(1, 4))
    told = (await store.job("a")).progress
    assert told is not None
    assert told.percent == 25.0


async def test_what_an_ended_attempt_says_is_refused(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim()
    await hand.succeed("a")
    before = await store.dump()
    assert await hand.say("a", progress(1)) is False
    assert await store.dump() == before
    said = [(hand.held["a"], (progress(1),)), (hand.held["b"], (progress(2),)), (AttemptRef("x", 1, hand.id), ())]
    assert list(await store.backend.append_events(said)) == [False, True, False]
