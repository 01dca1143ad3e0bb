"""Jobs that are revived with any number of others: wherever that ends half-way, others go on with it, or undo it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from asyncjobs.backends.sqs import batches, reviving
from asyncjobs.clock import from_datetime
from asyncjobs.core.requests import Answer, AskedGate, Question
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import EdgeState
from tests import sqs_server
from tests.conformance.gates import ask, asking, is_open, reject
from tests.conformance.support import COMPLETED, FATAL, PENDING, SKIPPED, SUCCESS, Hand, new
from tests.unit.sqs_mortal import Mortal, every_write, owed, play
from tests.unit.sqs_support import EVERY, until_it_dies

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tables_in_second")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> AsyncIterator[Mortal]:
    async with Mortal(sqs_server.config(shards=1)) as opened:
        yield opened


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few jobs are many."""
    monkeypatch.setattr(reviving, "_IN_ONE", 4)
    monkeypatch.setattr(batches, "SLICE", 3)


STEP = min(EVERY, 3)
GATE = "a/q"
DIRECT = ["b0", "b1"]
BELOW = ["c0", "c1"]


async def rejected(store: Mortal, *, question: Question | None = None) -> None:
    """A question was rejected, and its body has failed, with jobs that depend on the answer, and jobs below those."""
    hand, (attempt,) = await asking(store, "a")
    await ask(store, attempt, asks=question)
    await store.submit(
        *(new(job_id, GATE, group="g") for job_id in DIRECT),
        *(new(below, direct, group="g") for below, direct in zip(BELOW, DIRECT, strict=True)),
    )
    await reject(store, GATE)
    await hand.end("a", FATAL)
    assert set(await store.statuses(*DIRECT, *BELOW)) == {SKIPPED}


async def ask_again(store: Mortal) -> AskedGate:
    """Retry the job; its body asks again."""
    await store.backend.retry_job("a")
    hand = await store.hand()
    assert await hand.claim() == ["a"]
    return await ask(store, hand.held["a"])


async def answer_to(store: Mortal) -> Answer:
    return Answer(job_id=GATE, created_at=from_datetime((await store.job(GATE)).created_at), value=b"\xc3")


async def all_wait_or_none(store: Mortal) -> bool:
    """Return whether the question is open; then all wait for its answer, and else none does."""
    asked = await is_open(store, GATE)
    assert set(await store.statuses(*DIRECT, *BELOW)) == {PENDING if asked else SKIPPED}
    edges = {edge.state for edge in await store.backend.get_dependencies([*DIRECT, *BELOW])}
    assert edges == {EdgeState.OPEN if asked else EdgeState.BROKEN}
    return asked


# -- a question that is asked again


async def test_a_question_with_150_dependents_is_asked_again_in_steps(store: Mortal) -> None:
    many = [f"d{place:03d}" for place in range(150)]
    hand, (attempt,) = await asking(store, "a")
    await ask(store, attempt)
    await store.submit(*(new(job_id, GATE) for job_id in many))
    await reject(store, GATE)
    await hand.end("a", FATAL)
    assert (await ask_again(store)).status is PENDING
    assert await is_open(store, GATE)
    assert set(await store.statuses(*many)) == {PENDING}
    assert owed([item for item in await store.items() if item["pk"].startswith("B#")]) == []
    assert (await store.types("a"))[-2:] == ["started", "asked"]
    assert (await store.types(GATE))[-2:] == ["retrying", "asked"]


async def test_a_fresh_retry_asks_again_what_was_answered_and_what_waits_for_that_waits_again(
    store: Mortal, few: None
) -> None:
    hand, (attempt,) = await asking(store, "a")
    await ask(store, attempt)
    await store.submit(new("other"), *(new(job_id, GATE, "other") for job_id in DIRECT + BELOW))
    await store.backend.answer_gate(await answer_to(store))
    await hand.end("a", FATAL)
    assert {edge.state for edge in await store.backend.get_dependencies(["b0"])} == {EdgeState.MET, EdgeState.OPEN}
    await store.backend.retry_job("a", fresh=True)
    hand = await store.hand()
    assert "a" in await hand.claim()
    await ask(store, hand.held["a"])
    assert await is_open(store, GATE)
    edges = await store.backend.get_dependencies([*DIRECT, *BELOW])
    assert {edge.state for edge in edges} == {EdgeState.OPEN}


@pytest.mark.slow
@pytest.mark.parametrize("cancelled", [False, True], ids=["asker lives", "asker is over"])
async def test_every_write_of_asking_again_is_the_last_of_its_process(few: None, cancelled: bool) -> None:
    """Others complete it while the body may ask once more; when it is over, nothing waits for an answer."""

    async def prepare(store: Mortal) -> None:
        await rejected(store)
        await store.backend.retry_job("a")
        store.clock.advance(61)
        await store.backend.reap()  # a process of its own would leave the job to a message for the other worker

    async def act(store: Mortal) -> None:
        hand = await store.hand()
        assert await hand.claim() == ["a"]
        await ask(store, hand.held["a"])

    async def first(store: Mortal) -> None:
        if cancelled:
            await store.backend.cancel_jobs(["a"])

    async def check(store: Mortal, _: bool) -> None:
        asked = await all_wait_or_none(store)
        if cancelled:
            assert not asked
            return
        hand = await store.hand()
        store.clock.advance(60)
        assert await hand.claim() == ["a"]
        await ask(store, hand.held["a"])
        assert await all_wait_or_none(store)
        await store.backend.answer_gate(await answer_to(store))
        await hand.end("a", SUCCESS)
        await play(hand, {})
        assert set(await store.statuses("a", GATE, *DIRECT, *BELOW)) == {COMPLETED}

    assert await every_write(prepare, act, check, 3, STEP, before=first) > 2


@pytest.mark.slow
@pytest.mark.parametrize("cancelled", [False, True], ids=["asker lives", "asker is over"])
async def test_every_write_of_who_goes_on_with_it_is_the_last_of_its_process_too(few: None, cancelled: bool) -> None:
    async def prepare(store: Mortal) -> None:
        await rejected(store)
        await store.backend.retry_job("a")
        hand = await store.hand()
        await hand.claim()
        store.dynamodb.die_at(3)
        assert await until_it_dies(ask(store, hand.held["a"]))
        store.dynamodb.die_at(0)
        assert len(set(await store.statuses(*DIRECT, *BELOW))) == 2, "half of them wait again"
        if cancelled:
            await store.backend.cancel_jobs(["a"])
        store.clock.advance(100)

    async def act(store: Mortal) -> None:
        for _ in range(3):
            await store.backend.reap()
            store.clock.advance(61)

    async def check(store: Mortal, _: bool) -> None:
        assert await all_wait_or_none(store) is not cancelled

    assert await every_write(prepare, act, check, 1, STEP) > 2


async def test_a_question_is_not_opened_again_once_its_body_is_over(store: Mortal, few: None) -> None:
    """Whenever that is: before the writes of the retry, or between any two of them."""
    await rejected(store)
    for at in range(1, 30):
        await store.backend.retry_job("a")
        hand = await store.hand()
        await hand.claim()
        was_over = False

        async def end(write: int, at: int = at, hand: Hand = hand) -> None:
            nonlocal was_over
            if write == at:
                was_over = True
                store.dynamodb.meanwhile(None)
                await hand.end("a", FATAL)

        store.dynamodb.meanwhile(end)
        refused: JobStateError | None = None
        try:
            await store.backend.retry_job(GATE)
        except JobStateError as error:
            refused = error
        store.dynamodb.meanwhile(None)
        if not was_over:
            assert refused is None
            assert await all_wait_or_none(store)
            return
        store.clock.advance(20)
        await store.backend.reap()  # what it had opened just before, and was then cancelled, is left to a sweep
        assert not await is_open(store, GATE)
        assert not await all_wait_or_none(store)
        assert not [item for item in await store.items() if "ow" in item or item["pk"].startswith("B#")]
    raise AssertionError("the retry has no end")


async def test_a_large_question_is_asked_again_with_all_that_it_says(store: Mortal, few: None) -> None:
    question = Question(question="🎬" * 30_000)
    await rejected(store, question=question)
    await ask_again(store)
    assert await all_wait_or_none(store)
    asked = [event for event in await store.events(GATE) if event.type == "asked"]
    assert [event.data["question"] for event in asked] == [question.question] * 2


async def test_asking_what_is_open_or_answered_costs_no_more_than_before(store: Mortal) -> None:
    _, (attempt,) = await asking(store, "a")
    await ask(store, attempt)
    client = store.count_calls()
    await ask(store, attempt)
    assert client.calls["update_item"] == 1, "the asker's log"
    assert client.calls["transact_write_items"] == 0
    await store.backend.answer_gate(await answer_to(store))
    client = store.count_calls()
    assert (await ask(store, attempt)).status is COMPLETED
    assert client.calls.keys() <= {"get_item", "batch_get_item"}
