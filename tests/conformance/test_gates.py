"""Gates: jobs without a function. They open when their dependencies allow it, and are ended from outside."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asyncjobs.core.gates import FUNCTION
from asyncjobs.core.requests import Answer, Question
from asyncjobs.exceptions import JobConflictError, JobNotFoundError, JobStateError
from asyncjobs.models import JobError, WaitsFor
from asyncjobs.requests import JobQuery
from tests.conformance.gates import HOUR, NO, YES, answer, ask, asking, created_at, gate, is_open, park, reject
from tests.conformance.support import CANCELLED, COMPLETED, FAILED, FATAL, PASSED, PENDING, SKIPPED, SUCCESS, Store, new

pytestmark = pytest.mark.anyio


# -- opening


async def test_a_gate_without_dependencies_is_open_at_once(store: Store) -> None:
    await store.submit(gate("g"))
    assert await is_open(store, "g")
    found = await store.job("g")
    assert (found.func, found.attempt, found.started_at, found.dependencies_met) == (FUNCTION, 0, None, True)
    assert found.gate is not None
    assert (found.gate.question, found.gate.choices, found.gate.schema) == ("g?", None, None)
    assert (found.gate.opened_at, found.gate.deadline) == (found.created_at, None)
    assert (found.gate.answered_by, found.gate.answered_at) == (None, None)
    assert await store.types("g") == ["submitted", "asked"]


async def test_it_tells_what_it_asks_and_until_when(store: Store) -> None:
    asks = Question(question="Which?", choices=("a", "b"), reject_on=("b",))
    await store.submit(gate("g", asks=asks, timeout=HOUR))
    asked = (await store.events("g"))[-1]
    found = await store.job("g")
    assert found.gate is not None
    assert found.gate.deadline is not None
    assert found.gate.opened_at is not None
    assert (found.gate.deadline - found.gate.opened_at).total_seconds() == HOUR
    assert found.run_at is None, "a deadline is no moment at which it runs"
    assert found.timeout == HOUR
    deadline = found.gate.deadline.isoformat().replace("+00:00", "Z")
    assert asked.data == {"question": "Which?", "choices": ["a", "b"], "schema": None, "deadline": deadline}
    assert asked.status is None, "it does not change the status"


async def test_it_is_never_claimed(store: Store) -> None:
    await store.submit(gate("g"))
    hand = await store.hand(functions=[FUNCTION])
    assert await hand.claim() == []
    assert await store.backend.get_ready_jobs() == []
    assert await is_open(store, "g")


async def test_it_opens_in_the_transaction_that_meets_its_dependencies(store: Store) -> None:
    await store.submit(new("a"), gate("g", "a", timeout=HOUR))
    assert not await is_open(store, "g")
    assert (await store.job("g")).waits_for is WaitsFor.DEPENDENCIES
    hand = await store.hand()
    await hand.claim()
    store.clock.advance(60)
    await hand.end("a", SUCCESS)
    assert await is_open(store, "g")
    found = await store.job("g")
    ended = await store.job("a")
    assert found.gate is not None
    assert found.gate.opened_at is not None
    assert found.gate.opened_at == ended.finished_at, "it counts from the opening"
    assert found.gate.deadline is not None
    assert (found.gate.deadline - found.gate.opened_at).total_seconds() == HOUR


async def test_it_is_skipped_when_a_dependency_fails(store: Store) -> None:
    await store.submit(new("a"), gate("g", "a"), new("b", "g"))
    hand = await store.hand()
    await hand.claim()
    await hand.end("a", FATAL)
    assert [(await store.job(job_id)).status for job_id in ("g", "b")] == [SKIPPED, SKIPPED]
    assert await store.types("g") == ["submitted", "skipped"]


async def test_it_opens_with_k_of_its_dependencies_and_once(store: Store) -> None:
    await store.submit(new("a"), new("b"), new("c"), gate("g", "a", "b", "c", require=2))
    hand = await store.hand()
    await hand.claim()
    await hand.end("a", SUCCESS)
    assert not await is_open(store, "g")
    await hand.end("b", SUCCESS)
    assert await is_open(store, "g")
    await hand.end("c", SUCCESS)
    assert await store.types("g") == ["submitted", "asked"]


async def test_a_gate_behind_a_gate(store: Store) -> None:
    await store.submit(gate("g"), gate("h", "g"), new("a", "h"))
    await answer(store, "g")
    assert await is_open(store, "h")
    await answer(store, "h")
    assert await (await store.hand()).claim() == ["a"]


async def test_one_whose_parents_have_ended_is_open_at_once(store: Store) -> None:
    await store.submit(gate("g"))
    await answer(store, "g")
    await store.submit(gate("h", "g"))
    assert await is_open(store, "h")


async def test_it_has_a_number_only_once(store: Store) -> None:
    """``if_exists="return"`` compares what is asked."""
    await store.submit(gate("g"))
    assert await store.submit(gate("g", if_exists="return")) == ["g"]
    with pytest.raises(JobConflictError):
        await store.submit(gate("g", asks=Question(question="another?"), if_exists="return"))


# -- answering


async def test_an_answer_completes_it_and_releases_its_dependents(store: Store) -> None:
    await store.submit(gate("g"), new("a", "g"))
    hand = await store.hand()
    assert await hand.claim() == []
    store.clock.advance(5)
    assert await answer(store, "g", by="ana") is COMPLETED
    found = await store.job("g")
    assert (found.status, found.waits_for, found.attempt, found.started_at) == (COMPLETED, None, 0, None)
    assert found.gate is not None
    assert (found.gate.answered_by, found.gate.answered_at) == ("ana", found.finished_at)
    result = (await store.backend.get_results(["g"]))["g"]
    assert (result.value, result.error, result.answered_by) == (YES, None, "ana")
    last = (await store.events("g"))[-1]
    assert (last.type, last.status, last.data) == ("completed", COMPLETED, {"by": "ana"})
    assert await hand.claim() == ["a"]


async def test_a_rejection_fails_it_and_skips_its_dependents(store: Store) -> None:
    await store.submit(gate("g"), new("a", "g"), new("b", "g?"))
    assert await reject(store, "g", "too dark", by="bo") is FAILED
    found = await store.job("g")
    assert (found.status, found.error) == (FAILED, JobError("RejectedError", "too dark"))
    assert found.gate is not None
    assert found.gate.answered_by == "bo"
    result = (await store.backend.get_results(["g"]))["g"]
    assert (result.value, result.error, result.answered_by) == (None, JobError("RejectedError", "too dark"), "bo")
    last = (await store.events("g"))[-1]
    assert last.data == {"error_type": "RejectedError", "message": "too dark", "by": "bo"}
    skipped = await store.job("a")
    assert (skipped.status, skipped.because) == (SKIPPED, "g")
    assert await (await store.hand()).claim() == ["b"]


async def test_it_has_no_attempts_and_counts_in_no_duration(store: Store) -> None:
    await store.submit(gate("g"), gate("h"))
    store.clock.advance(5)
    await answer(store, "g")
    await reject(store, "h")
    for job_id in ("g", "h"):
        assert await store.backend.get_attempts(job_id) == []
    assert await store.backend.get_durations(FUNCTION) == []


async def test_the_first_answer_wins(store: Store) -> None:
    await store.submit(gate("g"))
    await answer(store, "g", by="ana")
    at = (await store.job("g")).finished_at
    store.clock.advance(1)
    before = await store.dump()
    for refused in (answer(store, "g", NO, by="ana"), answer(store, "g", by="bo"), reject(store, "g", by="ana")):
        with pytest.raises(JobStateError, match="answered by 'ana'") as error:
            await refused
        assert (error.value.answered_by, error.value.answered_at) == ("ana", at)
    assert await store.dump() == before


async def test_one_that_was_rejected_tells_so(store: Store) -> None:
    await store.submit(gate("g"))
    await reject(store, "g", "no", by="bo")
    with pytest.raises(JobStateError, match="rejected by 'bo'"):
        await answer(store, "g")


async def test_the_same_answer_sent_again_is_success_and_changes_nothing(store: Store) -> None:
    await store.submit(gate("g"), gate("h"))
    await answer(store, "g", by="ana")
    await reject(store, "h", "no", by="ana")
    store.clock.advance(1)
    before = await store.dump()
    assert await answer(store, "g", by="ana") is COMPLETED
    assert await reject(store, "h", "no", by="ana") is FAILED
    assert await store.dump() == before


async def test_of_a_hundred_at_once_one_wins(store: Store) -> None:
    await store.submit(gate("g"), new("a", "g"))
    at = await created_at(store, "g")
    won: list[str] = []

    async def one(name: str) -> None:
        try:
            await store.backend.answer_gate(Answer(job_id="g", created_at=at, value=YES, by=name))
        except JobStateError:
            return
        won.append(name)

    async with anyio.create_task_group() as tasks:
        for i in range(100):
            tasks.start_soon(one, f"p{i}")
    found = await store.job("g")
    assert found.gate is not None
    assert won == [found.gate.answered_by]
    assert await store.types("g") == ["submitted", "asked", "completed"]


async def test_one_that_is_not_open_refuses(store: Store) -> None:
    await store.submit(new("a"), gate("waits", "a"), gate("cancelled"), new("job"))
    await store.backend.cancel_jobs(["cancelled"])
    before = await store.dump()
    for job_id in ("waits", "cancelled", "job", "a"):
        with pytest.raises(JobStateError):
            await answer(store, job_id)
        with pytest.raises(JobStateError):
            await reject(store, job_id)
    assert await store.dump() == before


async def test_an_answer_is_for_the_gate_that_was_looked_at(store: Store) -> None:
    await store.submit(gate("g"))
    at = await created_at(store, "g")
    for job_id, created in (("unknown", at), ("g", at + 1)):
        with pytest.raises(JobNotFoundError):
            await store.backend.answer_gate(Answer(job_id=job_id, created_at=created, value=YES))
    assert await is_open(store, "g")


async def test_a_large_answer_comes_back(store: Store) -> None:
    await store.submit(gate("g"))
    value = b"\xc6" + (2 << 20).to_bytes(4, "big") + bytes(2 << 20)
    await answer(store, "g", value)
    assert (await store.backend.get_results(["g"]))["g"].value == value


# -- deadlines


async def test_a_deadline_fails_it(store: Store) -> None:
    await store.submit(gate("g", timeout=60), new("a", "g"))
    assert await store.backend.end_due_gates() == []
    store.clock.advance(60)
    assert await store.backend.end_due_gates() == ["g"]
    found = await store.job("g")
    assert found.status is FAILED
    assert found.error is not None
    assert found.error.error_type == "AnswerTimeoutError"
    assert found.gate is not None
    assert (found.gate.answered_by, found.gate.answered_at) == (None, None)
    assert found.gate.deadline is not None
    assert (await store.job("a")).status is SKIPPED
    assert await store.backend.end_due_gates() == []
    assert await store.types("g") == ["submitted", "asked", "failed"]


async def test_or_completes_it_with_its_default(store: Store) -> None:
    await store.submit(gate("g", asks=Question(question="g?", default=YES), timeout=60), new("a", "g"))
    store.clock.advance(60)
    assert await store.backend.end_due_gates() == ["g"]
    assert (await store.backend.get_results(["g"]))["g"].value == YES
    assert await (await store.hand()).claim() == ["a"]


async def test_an_answer_at_its_deadline_is_too_late_although_nobody_ended_it_yet(store: Store) -> None:
    await store.submit(gate("g", timeout=60), gate("h", timeout=60))
    store.clock.advance(60)
    with pytest.raises(JobStateError, match="deadline"):
        await answer(store, "g")
    with pytest.raises(JobStateError, match="deadline"):
        await reject(store, "g")
    assert await is_open(store, "g")
    assert set(await store.backend.end_due_gates()) == {"g", "h"}


async def test_they_end_in_the_order_of_their_deadlines_and_in_bounded_steps(store: Store) -> None:
    await store.submit(*(gate(f"g{i:03}", timeout=1000 - i) for i in range(250)))
    store.clock.advance(2000)
    first = await store.backend.end_due_gates()
    assert list(first) == [f"g{i:03}" for i in range(249, 49, -1)]
    assert list(await store.backend.end_due_gates()) == [f"g{i:03}" for i in range(49, -1, -1)]
    assert await store.backend.end_due_gates() == []


async def test_a_deadline_follows_the_wall_clock(store: Store) -> None:
    """It is the moment that people were shown."""
    await store.submit(gate("g", timeout=HOUR), gate("h", timeout=HOUR))
    store.clock.jump(-86_400)
    store.clock.advance(2 * HOUR)
    assert await store.backend.end_due_gates() == []
    await answer(store, "h")
    store.clock.jump(86_400)
    with pytest.raises(JobStateError):
        await answer(store, "g")
    assert await store.backend.end_due_gates() == ["g"]


async def test_it_survives_that_the_store_is_closed(store: Store) -> None:
    if "persistent" not in store.backend.capabilities:
        pytest.skip("this store forgets")
    await store.submit(gate("g", timeout=60), gate("h"))
    await store.reopen()
    assert await is_open(store, "g")
    store.clock.advance(61)
    assert await store.backend.end_due_gates() == ["g"]
    assert await answer(store, "h") is COMPLETED


# -- by hand


async def test_an_open_one_is_cancelled_as_any_pending_job(store: Store) -> None:
    await store.submit(gate("g", timeout=60), new("a", "g"))
    assert await store.backend.cancel_jobs(["g"]) == {"g": CANCELLED}
    assert (await store.job("a")).status is SKIPPED
    store.clock.advance(61)
    assert await store.backend.end_due_gates() == []


@pytest.mark.parametrize("how", ["rejected", "cancelled", "expired"])
async def test_a_retry_opens_it_again(store: Store, how: str) -> None:
    await store.submit(gate("g", timeout=60), new("a", "g"))
    if how == "rejected":
        await reject(store, "g", by="bo")
    elif how == "cancelled":
        await store.backend.cancel_jobs(["g"])
    else:
        store.clock.advance(60)
        await store.backend.end_due_gates()
    store.clock.advance(100)
    assert await store.backend.retry_job("g") is PENDING
    assert await is_open(store, "g")
    found = await store.job("g")
    assert found.gate is not None
    assert found.gate.opened_at is not None
    assert found.gate.deadline is not None
    assert (found.gate.deadline - found.gate.opened_at).total_seconds() == 60
    assert (found.gate.answered_by, found.gate.answered_at, found.finished_at) == (None, None, None)
    assert (await store.types("g"))[-2:] == ["retrying", "asked"]
    assert (await store.job("a")).status is PENDING
    await answer(store, "g")
    assert await (await store.hand()).claim() == ["a"]


async def test_a_completed_one_is_not_retried(store: Store) -> None:
    await store.submit(gate("g"))
    await answer(store, "g")
    with pytest.raises(JobStateError):
        await store.backend.retry_job("g")


async def test_a_retried_optional_parent_leaves_it_open(store: Store) -> None:
    await store.submit(new("a"), gate("g", "a?"))
    hand = await store.hand()
    await hand.claim()
    await hand.end("a", FATAL)
    assert await is_open(store, "g")
    await store.backend.retry_job("a")
    assert await is_open(store, "g")
    assert await answer(store, "g") is COMPLETED


async def test_one_that_has_been_asked_does_not_wait_again_for_a_retried_optional_parent(store: Store) -> None:
    """It counts as started, as a job that ran."""
    await store.submit(new("a"), gate("rejected", "a?"), gate("cancelled", "a?"), gate("answered", "a?"))
    await (await store.hand()).run("a", outcome=FATAL)
    await reject(store, "rejected")
    await store.backend.cancel_jobs(["cancelled"])
    await answer(store, "answered")
    await store.backend.retry_job("a")
    for job_id in ("rejected", "cancelled", "answered"):
        assert await store.edges(job_id) == {"a": PASSED}
    for job_id in ("rejected", "cancelled"):
        await store.backend.retry_job(job_id)
        assert await is_open(store, job_id)


async def test_one_that_was_cancelled_before_it_was_asked_waits_again_for_it(store: Store) -> None:
    await store.submit(new("a"), new("b"), gate("g", "a?", "b"))
    hand = await store.hand()
    await hand.claim()
    await hand.end("a", FATAL)
    await store.backend.cancel_jobs(["g"])
    await store.backend.retry_job("a")
    await hand.end("b", SUCCESS)
    await store.backend.retry_job("g")
    assert (await store.job("g")).waits_for is WaitsFor.DEPENDENCIES
    await hand.run("a", outcome=FATAL)
    assert await is_open(store, "g")


async def test_a_skipped_one_waits_again_and_opens(store: Store) -> None:
    await store.submit(new("a"), gate("g", "a"))
    hand = await store.hand()
    await hand.claim()
    await hand.end("a", FATAL)
    await store.backend.retry_job("a")
    assert (await store.job("g")).waits_for is WaitsFor.DEPENDENCIES
    await hand.claim()
    await hand.end("a", SUCCESS)
    assert await is_open(store, "g")


async def test_recounting_changes_nothing(store: Store) -> None:
    await store.submit(new("a"), gate("g", "a"), gate("h"))
    before = await store.dump()
    assert await store.backend.mark_job_ready(["g", "h"]) == ["h"]
    assert await store.dump() == before


async def test_what_waits_for_answers_is_found(store: Store) -> None:
    hand, (asker,) = await asking(store, "a", group="films")
    await store.submit(gate("g", metadata={"page": 1}), gate("h", group="films"), new("b"), gate("i", "b"))
    await ask(store, asker)
    await park(store, asker, "a/q")

    async def found(**query: Any) -> list[str]:
        return [one.id for one in await store.backend.find_jobs(JobQuery(waits_for="answer", **query))]

    assert await found() == ["a", "g", "h", "a/q"]
    assert await found(order="newest", limit=2) == ["a/q", "h"]
    assert await found(group="films") == ["a", "h"]
    assert await found(parent_id="a") == ["a/q"]
    assert await found(metadata={"page": 1}) == ["g"]
    assert await found(status=PENDING, function=FUNCTION) == ["g", "h", "a/q"]
    assert await found(ids=["g", "b"]) == ["g"]
    assert await found(status=COMPLETED) == []
    assert hand


# -- removal


async def test_they_are_removed_with_what_they_belong_to(store: Store) -> None:
    hand, (asker,) = await asking(store, "a")
    await ask(store, asker)
    await hand.end("a", SUCCESS)
    store.clock.advance(HOUR)
    assert await store.backend.prune(store.clock.now()) == 2
    assert await store.backend.get_jobs(["a", "a/q"]) == []
    await store.submit(gate("a/q"))
    assert await is_open(store, "a/q")
