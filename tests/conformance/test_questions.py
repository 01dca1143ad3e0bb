"""Questions of running bodies: their gates, the jobs that are parked on these, and what a retry does to both."""

from __future__ import annotations

import pytest

from asyncjobs.backends.base import AttemptEnd
from asyncjobs.core.requests import Question
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import JobConflictError, JobStateError
from asyncjobs.models import BodyEvent, Outcome, OutcomeKind, WaitsFor
from tests.conformance.gates import HOUR, answer, ask, asking, gate, is_open, park, reject
from tests.conformance.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    FAILURE,
    FATAL,
    IN_PROGRESS,
    MET,
    OPEN,
    PENDING,
    RELEASED,
    SKIPPED,
    STOPPED,
    SUCCESS,
    Store,
    new,
)

pytestmark = pytest.mark.anyio


# -- asking inside a body


async def test_the_gate_of_a_question_is_a_child_and_open_at_once(store: Store) -> None:
    _, (asker,) = await asking(store, "a")
    asked = await ask(store, asker)
    assert (asked.job_id, asked.status) == ("a/q", PENDING)
    assert await is_open(store, "a/q")
    assert (await store.job("a/q")).parent_id == "a"
    assert (await store.job("a")).status is IN_PROGRESS


async def test_a_later_attempt_finds_it_and_its_answer_as_first_asked(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    first = await ask(store, asker)
    await hand.end("a", FAILURE)
    assert await is_open(store, "a/q"), "its job goes on"
    await hand.claim()
    again = await ask(store, hand.held["a"], asks=Question(question="other words?"))
    assert again == first
    await answer(store, "a/q")
    assert (await ask(store, hand.held["a"])).status is COMPLETED
    assert await store.types("a/q") == ["submitted", "asked", "completed"]


async def test_an_attempt_that_is_over_asks_nothing(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await hand.end("a", RELEASED)
    before = await store.dump()
    with pytest.raises(JobStateError):
        await ask(store, asker)
    assert await store.dump() == before
    await hand.claim()
    await store.backend.cancel_jobs(["a"])
    with pytest.raises(JobStateError):
        await ask(store, hand.held["a"])


async def test_a_name_of_another_job_is_refused(store: Store) -> None:
    _, (asker, other) = await asking(store, "a", "b")
    await store.submit(new("a/job"), parent=asker)
    await store.submit(gate("a/gate"), parent=asker)
    before = await store.dump()
    for key in ("job", "gate"):
        with pytest.raises(JobConflictError):
            await ask(store, asker, key)
    assert await store.dump() == before
    assert other


@pytest.mark.parametrize("outcome", [SUCCESS, FATAL, STOPPED], ids=lambda outcome: outcome.kind.value)
async def test_its_open_gates_end_with_the_job_that_asked(store: Store, outcome: Outcome) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker, "one")
    await ask(store, asker, "two")
    await ask(store, asker, "done")
    await answer(store, "a/done")
    await store.submit(gate("a/mine"), parent=asker)
    await store.submit(new("b", "a/one"))
    await hand.end("a", outcome)
    ends = {key: (await store.job(f"a/{key}")).status for key in ("one", "two", "done", "mine")}
    assert ends == {"one": CANCELLED, "two": CANCELLED, "done": COMPLETED, "mine": PENDING}
    assert await is_open(store, "a/mine"), "one that it submitted outlives it, as children do"
    assert (await store.job("b")).status is SKIPPED


async def test_so_they_do_when_it_is_reaped_for_the_last_time_or_given_up(store: Store) -> None:
    hand, (asker,) = await asking(store, "a", max_interruptions=1)
    await ask(store, asker)
    await store.hand("other")
    await store.lose(hand)
    assert (await store.job("a")).status is FAILED
    assert (await store.job("a/q")).status is CANCELLED


async def test_and_stay_open_while_it_is_tried_again(store: Store) -> None:
    hand, (asker,) = await asking(store, "a", max_interruptions=3)
    await ask(store, asker)
    for outcome in (FAILURE, RELEASED, Outcome(OutcomeKind.INTERRUPTED)):
        await hand.end("a", outcome)
        assert await is_open(store, "a/q")
        store.clock.advance(HOUR)
        await hand.beat()
        await hand.claim()


# -- parking


async def test_a_parked_job_waits_for_its_gate_alone(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    assert await park(store, asker, "a/q") is PENDING
    found = await store.job("a")
    assert (found.status, found.waits_for, found.parked, found.interruptions) == (PENDING, WaitsFor.ANSWER, "a/q", 0)
    assert (found.failures, found.worker, found.dependencies_met) == (0, None, True)
    last = (await store.events("a"))[-1]
    assert (last.type, last.data) == ("released", {"gate": "a/q"})
    assert await hand.claim() == []
    assert list(await store.backend.get_dependencies(["a"])) == []


@pytest.mark.parametrize("how", ["answered", "rejected", "cancelled", "expired"])
async def test_whoever_ends_the_gate_makes_it_ready(store: Store, how: str) -> None:
    hand, (asker, other) = await asking(store, "a", "b")
    await ask(store, asker, timeout=60)
    await ask(store, other)
    await park(store, asker, "a/q")
    await park(store, other, "b/q")
    if how == "answered":
        await answer(store, "a/q")
    elif how == "rejected":
        await reject(store, "a/q")
    elif how == "cancelled":
        await store.backend.cancel_jobs(["a/q"])
    else:
        store.clock.advance(60)
        await hand.beat()
        await store.backend.end_due_gates()
    found = await store.job("a")
    assert (found.waits_for, found.parked) == (WaitsFor.WORKER, None)
    assert (await store.job("b")).parked == "b/q"
    assert await hand.claim() == ["a"]


async def test_parking_on_a_gate_that_has_ended_is_a_plain_release(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await answer(store, "a/q")
    assert await park(store, asker, "a/q") is PENDING
    assert (await store.job("a")).parked is None
    assert (await store.events("a"))[-1].data == {}
    assert await hand.claim() == ["a"]


async def test_or_on_one_that_it_did_not_ask(store: Store) -> None:
    hand, (asker, other) = await asking(store, "a", "b")
    await store.submit(gate("g"))
    await ask(store, other)
    for gate_id in ("g", "b/q", "unknown"):
        assert await park(store, hand.held["a"], gate_id) is PENDING
        assert (await store.job("a")).parked is None
        await hand.claim()
    assert asker


async def test_only_the_attempt_in_progress_parks(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await hand.end("a", FAILURE)
    assert isinstance(await park(store, asker, "a/q"), Stale)
    assert (await store.job("a")).parked is None


async def test_a_request_to_cancel_wins_over_parking(store: Store) -> None:
    _, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await store.backend.cancel_jobs(["a"])
    assert await park(store, asker, "a/q") is CANCELLED
    assert (await store.job("a/q")).status is CANCELLED


async def test_a_parked_job_is_cancelled_with_its_gate(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await park(store, asker, "a/q")
    await store.backend.cancel_jobs(["a"])
    assert [(await store.job(job_id)).status for job_id in ("a", "a/q")] == [CANCELLED, CANCELLED]
    assert (await store.job("a")).parked is None
    await store.backend.retry_job("a")
    assert await hand.claim() == ["a"]


async def test_a_parked_job_frees_its_limit_and_waits_for_it_again(store: Store) -> None:
    hand, (asker,) = await asking(store, "a", limit=("k", 1))
    await store.submit(new("b", limit=("k", 1)))
    await ask(store, asker)
    assert await hand.claim() == [], "one that waits holds it"
    await park(store, asker, "a/q")
    assert await hand.claim() == ["b"]
    await answer(store, "a/q")
    assert (await store.job("a")).waits_for is WaitsFor.LIMIT
    await hand.end("b", SUCCESS)
    assert await hand.claim() == ["a"]


async def test_what_the_body_reported_last_comes_before_its_parking(store: Store) -> None:
    _, (asker,) = await asking(store, "a")
    await ask(store, asker)
    said = BodyEvent("output", {"text": "wait"}, store.clock.now())
    await store.backend.update_job_status([AttemptEnd(asker, RELEASED, (said,), parked_on="a/q")])
    assert (await store.types("a"))[-2:] == ["output", "released"]


# -- retrying the job that asked


async def test_given_answers_stay_and_other_questions_are_asked_again(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    for key in ("yes", "no", "late", "open"):
        await ask(store, asker, key, timeout=60 if key == "late" else None)
    await answer(store, "a/yes")
    await reject(store, "a/no")
    store.clock.advance(60)
    await hand.beat()
    await store.backend.end_due_gates()
    await hand.end("a", FATAL)
    await store.backend.retry_job("a")
    assert not await is_open(store, "a/no"), "they open when the body asks"
    await hand.claim()
    asked = {key: (await ask(store, hand.held["a"], key)).status for key in ("yes", "no", "late", "open")}
    assert asked == {"yes": COMPLETED, "no": PENDING, "late": PENDING, "open": PENDING}
    for key in ("no", "late", "open"):
        assert await is_open(store, f"a/{key}")
        assert (await store.types(f"a/{key}"))[-2:] == ["retrying", "asked"]


async def test_after_a_fresh_retry_every_question_is_asked_again(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker, "yes")
    await answer(store, "a/yes", by="ana")
    await hand.end("a", FATAL)
    await store.backend.retry_job("a", fresh=True)
    await hand.claim()
    assert (await ask(store, hand.held["a"], "yes")).status is PENDING
    found = await store.job("a/yes")
    assert found.gate is not None
    assert found.gate.answered_by is None
    assert (await store.backend.get_results(["a/yes"]))["a/yes"].value is None
    await reject(store, "a/yes", "no")
    assert (await store.backend.get_results(["a/yes"]))["a/yes"].value is None
    assert (await ask(store, hand.held["a"], "yes")).status is FAILED, "within one generation it stays as it ended"


@pytest.mark.parametrize("sizes", [(10, 5000, 10, 5000), (5000, 10, 5000)], ids=["small-first", "large-first"])
async def test_of_a_question_asked_again_the_last_answer_is_read(store: Store, sizes: tuple[int, ...]) -> None:
    """Wherever a store keeps answers of these sizes."""
    hand, _ = await asking(store, "a")
    for number, size in enumerate(sizes):
        value = b"%d" % number * size
        await ask(store, hand.held["a"])
        await answer(store, "a/q", value=value)
        assert (await store.backend.get_results(["a/q"]))["a/q"].value == value
        await hand.end("a", FATAL)
        await store.backend.retry_job("a", fresh=True)
        await hand.claim()


async def test_what_depends_on_a_question_waits_for_it_again(store: Store) -> None:
    """But for what has started. Another cause of a skip stays one."""
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await store.submit(new("b"), new("runs", "a/q"), new("ready", "a/q"), gate("asks", "a/q"))
    await store.submit(new("skipped", "a/q", "b"), new("two", "a/q", "b", require=2), new("later", "a/q"))
    await answer(store, "a/q")
    await hand.claim(2)
    assert await store.statuses("b", "runs") == [IN_PROGRESS, IN_PROGRESS]
    await hand.ends({"b": FATAL, "a": FATAL})
    await store.backend.retry_job("a", fresh=True)
    assert "a" in await hand.claim(1)
    before = {job_id: await store.types(job_id) for job_id in ("skipped", "two", "ready")}
    await ask(store, hand.held["a"])
    assert await is_open(store, "asks")
    assert await store.statuses("runs", "skipped", "two") == [IN_PROGRESS, SKIPPED, SKIPPED]
    assert {job_id: (await store.job(job_id)).waits_for for job_id in ("ready", "later")} == {
        "ready": WaitsFor.DEPENDENCIES,
        "later": WaitsFor.DEPENDENCIES,
    }
    assert {job_id: await store.types(job_id) for job_id in before} == before
    states = {job_id: (await store.edges(job_id))["a/q"] for job_id in ("runs", "asks", "ready", "skipped", "two")}
    assert states == {"runs": MET, "asks": MET, "ready": OPEN, "skipped": OPEN, "two": OPEN}
    await answer(store, "a/q")
    assert await hand.claim() == ["ready", "later"]


async def test_dependents_of_a_cancelled_question_are_revived_with_it(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await store.submit(new("b", "a/q"), new("c", "b"))
    await hand.end("a", FATAL)
    assert await store.statuses("b", "c") == [SKIPPED, SKIPPED]
    await store.backend.retry_job("a")
    assert await store.statuses("b", "c") == [SKIPPED, SKIPPED], "until it is asked again"
    await hand.claim()
    await ask(store, hand.held["a"])
    assert await store.statuses("b", "c") == [PENDING, PENDING]
    assert (await store.events("a/q"))[-2].data == {"by": "ask", "job": "a"}
    assert [(await store.events(job_id))[-1].data for job_id in ("b", "c")] == [{"by": "ask", "job": "a/q"}] * 2


async def test_a_gate_whose_asker_has_ended_is_not_retried(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await hand.end("a", FATAL)
    with pytest.raises(JobStateError) as error:
        await store.backend.retry_job("a/q")
    assert "'a'" in (error.value.hint or "")


async def test_one_whose_asker_goes_on_is(store: Store) -> None:
    _, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await reject(store, "a/q")
    await store.backend.retry_job("a/q")
    assert await is_open(store, "a/q")
    assert (await ask(store, asker)).status is PENDING


async def test_the_second_end_of_a_question_is_noted_and_wakes_as_the_first(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await reject(store, "a/q")
    await store.backend.retry_job("a/q")
    await park(store, asker, "a/q")
    assert await hand.claim() == []
    await answer(store, "a/q")
    assert await hand.claim() == ["a"]
    assert (await store.types("a")).count("answered") == 2
