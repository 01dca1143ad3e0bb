"""What DynamoDB does not take, since it is too large, is refused before anything is stored; all else goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from asyncjobs.backends.sqs import rows, sizes, values
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.rows import Fixed, Row
from asyncjobs.backends.sqs.table import Refused, Table, Update
from asyncjobs.core.requests import Answer
from asyncjobs.core.state import JobState
from asyncjobs.exceptions import BackendError
from asyncjobs.models import BodyEvent, JobError, Outcome, OutcomeKind
from tests import sqs_server
from tests.conformance.gates import gate
from tests.conformance.support import COMPLETED, FAILED, IN_PROGRESS, Store, new, progress
from tests.sqs_capacity import CountingClient, item_size
from tests.unit.sqs_support import World

pytestmark = pytest.mark.anyio

LONG_NAME = "🎬" * 200


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    config = sqs_server.config(shards=1)
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as opened:
        yield opened


def table_of(store: Store) -> Table:
    backend: Any = store.backend
    return backend._parts.transitions.table


# -- what an item has

PLAIN = st.recursive(
    st.text() | st.binary() | st.integers(-(10**37), 10**37) | st.booleans(),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(min_size=1), some, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(min_size=1), PLAIN, max_size=4))
def test_sizes_are_counted_by_the_rules_of_dynamodb(item: dict[str, Any]) -> None:
    assert sizes.item_size(item) == item_size(values.item(item))


def of_size(size: int, pk: str) -> Update:
    item = {"pk": pk, "sk": "M", "w": "x" * 12, "w0": "x" * 12}
    return Update((pk, "M"), new=True, set={"b": b"x" * (size - sizes.item_size(item) - 1)})


@pytest.mark.parametrize("together", [False, True])
async def test_an_item_of_400_kib_is_stored_and_one_with_a_byte_more_is_refused(table: World, together: bool) -> None:
    writing = table.process().table
    beside = [Update(("beside", "M"), set={"x": 1})] if together else []
    assert not isinstance(await writing.transact([of_size(sizes.LARGEST_ITEM, "a"), *beside]), list)
    with pytest.raises(BackendError, match="more than 400 KiB") as refused:
        await writing.transact([of_size(sizes.LARGEST_ITEM + 1, "b"), *beside])
    assert (refused.value.code, refused.value.transient) == ("too-big", False)
    assert refused.value.hint
    found = await table.items()
    assert sizes.item_size(found["a", "M"]) == sizes.LARGEST_ITEM
    assert ("b", "M") not in found


@pytest.mark.parametrize("together", [False, True])
async def test_an_item_grows_to_400_kib_and_by_no_byte_more(table: World, together: bool) -> None:
    writing = table.process().table
    beside = [Update(("beside", "M"), set={"x": 1})] if together else []
    await writing.write(of_size(sizes.LARGEST_ITEM - 10, "a"))
    with pytest.raises(BackendError, match="more than 400 KiB") as refused:
        await writing.transact([Update(("a", "M"), set={"more": b"1234567"}), *beside])
    assert refused.value.code == "too-big"
    assert "more" not in (await table.items())["a", "M"]
    await writing.transact([Update(("a", "M"), set={"more": b"123456"}), *beside])
    assert sizes.item_size((await table.items())["a", "M"]) == sizes.LARGEST_ITEM


async def test_items_of_a_batch_are_refused_in_the_same_way(table: World) -> None:
    writing = table.process().table
    with pytest.raises(BackendError) as refused:
        await writing.put_many([{"pk": "a", "sk": "M", "b": b"x" * sizes.LARGEST_ITEM}])
    assert refused.value.code == "too-big"


# -- rows


def test_a_row_is_refused_from_the_first_byte_that_leaves_too_little_room() -> None:
    row = Row(state=JobState(1, "a"), fixed=Fixed(queue="q", function="f", metadata=b"x" * 1000))
    sizes.check_row(row, {"r": b"x" * (sizes.LARGEST_ROW - 1)})
    with pytest.raises(BackendError, match="its metadata has 1,000 bytes, all of its row 385,025; .* takes 385,024"):
        sizes.check_row(row, {"r": b"x" * sizes.LARGEST_ROW})
    many = replace(row, edges=(0,) * 2000)
    with pytest.raises(BackendError, match="its list of dependencies has"):
        sizes.check_row(many, {"r": b"x" * sizes.LARGEST_ROW})


FULL = {"text": "x" * (sizes.LARGEST_ROW - 400)}
"""Metadata that leave a job with a short id about as much room as there must be."""
TOO_MUCH = {"text": "x" * sizes.LARGEST_ROW}


async def row_size(store: Store, job_id: str) -> int:
    key = rows.keys.row(job_id)
    return sizes.item_size((await table_of(store).get([key]))[key])


@pytest.mark.parametrize("others", [0, 1, 120], ids=["alone", "together", "staged"])
async def test_a_submission_of_a_row_that_is_too_large_stores_nothing_and_names_what_is(
    store: Store, others: int
) -> None:
    small = [new(f"j{place}", group="g") for place in range(others)]
    with pytest.raises(BackendError) as refused:
        await store.submit(*small, new("large", group="g", metadata=TOO_MUCH))
    message = str(refused.value)
    assert "job 'large' is too large: its metadata has 385,035 bytes" in message
    assert "385,024" in message
    assert "pass large data as arguments" in message
    assert refused.value.code == "too-big"
    assert await store.jobs() == []
    assert await store.backend.list_groups() == []


async def test_a_row_that_was_accepted_has_room_for_all_that_becomes_of_it(store: Store) -> None:
    await store.submit(new("a", metadata=FULL, group="g", max_interruptions=5), new("b", "a"))
    assert sizes.LARGEST_ROW - 300 < await row_size(store, "a") <= sizes.LARGEST_ROW
    hand = await store.hand(LONG_NAME)
    for attempt in range(3):
        assert await hand.claim() == ["a"]
        for done in range(40):
            assert await hand.say("a", progress(done, 40, "🎬" * 1000))
            await store.backend.last_cursor()
        if attempt == 0:
            await store.lose(hand)
            store.clock.advance(100)
            hand = await store.hand(LONG_NAME)
        elif attempt == 1:
            error = JobError("E" * 200, "🎬" * 10_000, "🎬" * 65_536)
            assert await hand.end("a", Outcome(OutcomeKind.FAILED, error=error, retryable=False)) is FAILED
            await store.backend.retry_job("a")
    assert await hand.end("a", Outcome(OutcomeKind.SUCCEEDED, value=b"x" * 1_000_000)) is COMPLETED
    assert (await store.job("a")).metadata == FULL
    assert await hand.claim() == ["b"]
    assert await row_size(store, "a") <= sizes.LARGEST_ITEM


async def test_a_gate_that_was_accepted_has_room_for_any_answer(store: Store) -> None:
    await store.submit(replace(gate("g"), metadata=json.encode(FULL)))
    created_at = (await store.job("g")).created_at
    moment = round(created_at.timestamp() * 1_000_000)
    answer = Answer(job_id="g", created_at=moment, reason="🎬" * 2000, by=LONG_NAME)
    assert await store.backend.answer_gate(answer) is FAILED


async def test_an_outcome_that_no_item_holds_changes_nothing_so_that_a_failure_can_take_its_place(store: Store) -> None:
    await store.submit(new("a"))
    hand = await store.hand()
    await hand.claim()
    huge = JobError("ValueError", "x" * 500_000, "")
    with pytest.raises(BackendError) as refused:
        await hand.end("a", Outcome(OutcomeKind.FAILED, error=huge, retryable=False))
    assert refused.value.code == "too-big"
    assert await store.status("a") is IN_PROGRESS
    await hand.fail("a")


async def test_dependencies_with_long_ids_stand_in_as_many_items_as_they_need(store: Store) -> None:
    ids = [f"{place:03d}" + "🎬" * 511 for place in range(200)]
    await store.submit(*(new(job_id) for job_id in ids))
    await store.submit(new("child", *ids))
    edges = await store.edges("child")
    assert sorted(edges) == ids
    hand = await store.hand()
    while batch := await hand.claim():
        if batch == ["child"]:
            break
        await hand.succeed(*batch)
    assert batch == ["child"]


# -- transactions


@pytest.mark.parametrize(("count", "staged"), [(100, False), (101, True)])
async def test_a_batch_of_100_items_is_one_transaction_and_one_more_is_staged(
    store: Store, count: int, staged: bool
) -> None:
    table = table_of(store)
    await store.submit(new("first"))
    table._client = client = CountingClient(table._client)
    await store.submit(*(new(f"j{place:03d}") for place in range(count)))
    assert client.calls["transact_write_items"] == (0 if staged else 1)
    assert client.calls["put_item"] == (count + 1 if staged else 0), "the rows, and the batch"
    assert len(await store.jobs()) == count + 1


# -- workers


async def test_refusals_of_a_worker_are_cut_to_what_its_item_has_room_for(store: Store) -> None:
    hand = await store.hand()
    await store.backend.report_refusals(hand.id, {f"app:function_{place:05d}": "x" * 3000 for place in range(3000)})
    assert (await hand.beat()).alive
    (worker,) = await store.backend.workers()
    assert 40 <= len(worker.refused) < 3000
    assert list(worker.refused)[:2] == ["app:function_00000", "app:function_00001"]
    assert {len(reason) for reason in worker.refused.values()} == {500}
    assert isinstance(await table_of(store).write(Update(("W", hand.id), set={"x": 1}, equal={"x": 2})), Refused)


async def test_events_that_are_larger_than_an_item_together_are_stored(store: Store) -> None:
    await store.submit(new("a"))
    hand = await store.hand()
    await hand.claim()
    said = tuple([BodyEvent("log", {"text": "🎬" * 14_000}, place) for place in range(60)])
    assert await hand.end("a", Outcome(OutcomeKind.SUCCEEDED), said) is COMPLETED
    assert len(await store.events("a")) == 63
