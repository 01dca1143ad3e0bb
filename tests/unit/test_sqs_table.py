"""The calls on the table, against the emulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from asyncjobs.backends.sqs import schema
from asyncjobs.backends.sqs import table as tables
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.table import LIST, WORK, Item, Refused, Table, Update
from asyncjobs.exceptions import BackendConnectionError, BackendError
from tests import sqs_server
from tests.sqs_faults import Faults, FaultyClient, Wrapped, answer_of

pytestmark = pytest.mark.anyio
KEY = ("p", "s")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Store:
    """A table of its own, and its client."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.table = Table(client, name)

    def faulty(self, seed: int = 0, **faults: Any) -> tuple[Table, Counter[str]]:
        """Return the table through a client with faults, and what happened there."""
        client = FaultyClient(self.client, Faults(**faults), seed)
        return Table(client, self.name), client.happened


@pytest.fixture(scope="module")
async def clients(anyio_backend: str) -> AsyncIterator[Clients]:
    clients = await Clients.open(sqs_server.config())
    yield clients
    await clients.close()


@pytest.fixture
async def store(clients: Clients) -> Store:
    name = sqs_server.config().table
    await clients.dynamodb.create_table(**schema.table_definition(name))
    return Store(clients.dynamodb, name)


@pytest.fixture
def table(store: Store) -> Table:
    return store.table


def new(sk: str = "s", **attributes: Any) -> Update:
    return Update(("p", sk), new=True, set=attributes)


def marked(item: object) -> dict[str, Any]:
    """Return the attributes of an item, without its keys and its marks."""
    assert isinstance(item, dict)
    found: Item = item
    return {name: value for name, value in found.items() if name not in ("pk", "sk", "w", "w0")}


async def stored(table: Table, key: tuple[str, str] = KEY) -> dict[str, Any] | None:
    found = await table.get([key])
    return marked(found[key]) if found else None


# -- conditions


async def test_a_new_item_is_put_once(table: Table) -> None:
    assert marked(await table.write(new(a=1))) == {"a": 1}
    again = await table.write(new(a=2))
    assert isinstance(again, Refused)
    assert marked(again.item) == {"a": 1}
    assert await stored(table) == {"a": 1}


async def test_an_item_is_replaced_whole(table: Table) -> None:
    await table.write(new(a=1))
    await table.write(Update(KEY, new=True, replace=True, set={"b": 2}))
    assert await stored(table) == {"b": 2}


async def test_a_change_returns_the_whole_item_as_it_is_then(table: Table) -> None:
    await table.write(new(a=1, gone="x", count=3))
    change = Update(KEY, set={"b": 2}, add={"count": 2}, remove=("gone",), equal={"a": 1}, present=("count",))
    assert marked(await table.write(change)) == {"a": 1, "b": 2, "count": 5}


@pytest.mark.parametrize(
    "condition",
    [{"equal": {"a": 2}}, {"equal": {"a": 1, "b": 1}}, {"absent": ("a",)}, {"present": ("b",)}, {"absent": ("pk",)}],
    ids=["other", "one-of-two", "there", "not-there", "item-there"],
)
async def test_a_condition_that_does_not_hold_refuses_and_shows_the_item(
    table: Table, condition: dict[str, Any]
) -> None:
    await table.write(new(a=1))
    refused = await table.write(Update(KEY, set={"c": 1}, **condition))
    assert isinstance(refused, Refused)
    assert marked(refused.item) == {"a": 1}
    assert await stored(table) == {"a": 1}


async def test_a_change_of_what_is_not_there_is_refused_without_an_item(table: Table) -> None:
    assert await table.write(Update(KEY, set={"a": 1}, present=("pk",))) == Refused(None)
    assert await stored(table) is None


async def test_elements_of_lists_are_set_and_compared(table: Table) -> None:
    await table.write(new(e=[0, 0, 0]))
    settle = Update(KEY, set={"e[1]": 1}, add={"v": 1}, equal={"e[1]": 0})
    assert marked(await table.write(settle)) == {"e": [0, 1, 0], "v": 1}
    assert isinstance(await table.write(settle), Refused)


async def test_lists_grow_and_need_not_be_there(table: Table) -> None:
    await table.write(new())
    await table.write(Update(KEY, append={"lg": [b"a"]}))
    assert marked(await table.write(Update(KEY, append={"lg": [b"b", b"c"]}))) == {"lg": [b"a", b"b", b"c"]}


async def test_an_item_is_deleted_under_a_condition(table: Table) -> None:
    await table.write(new(a=1))
    assert isinstance(await table.write(Update(KEY, delete=True, equal={"a": 2})), Refused)
    assert await table.write(Update(KEY, delete=True, equal={"a": 1})) == {}
    assert await stored(table) is None
    assert await table.write(Update(KEY, delete=True, present=("pk",))) == Refused(None)


async def test_reserved_words_are_names_like_others(table: Table) -> None:
    await table.write(new(status="a", state=1))
    change = Update(KEY, set={"status": "b"}, equal={"state": 1}, remove=("hold",), add={"count": 1})
    assert marked(await table.write(change)) == {"status": "b", "state": 1, "count": 1}


async def test_an_unmarked_write_leaves_the_mark_and_may_change_nothing(table: Table) -> None:
    made = await table.write(new(a=1))
    changed = await table.write(Update(KEY, set={"lgd": 1}, marked=False))
    same = await table.write(Update(KEY, present=("pk",), marked=False))
    assert isinstance(made, dict)
    assert isinstance(changed, dict)
    assert changed == {**made, "lgd": 1} == same


# -- lost answers


async def test_a_write_whose_answer_was_lost_is_recognised(store: Store) -> None:
    faulty, happened = store.faulty(repeated=1.0)
    assert marked(await faulty.write(new(v=1))) == {"v": 1}
    changed = await faulty.write(Update(KEY, add={"v": 1}, set={"a": 1}, equal={"v": 1}))
    assert marked(changed) == {"v": 2, "a": 1} == await stored(store.table)
    assert await faulty.write(Update(KEY, delete=True, equal={"v": 2})) == {}
    assert happened["repeated"] == 3


async def test_it_is_recognised_when_the_refusal_does_not_bring_the_item(store: Store) -> None:
    faulty, happened = store.faulty(repeated=1.0, forgetful=1.0)
    await faulty.write(new(v=1))
    assert marked(await faulty.write(Update(KEY, set={"v": 2}, equal={"v": 1}))) == {"v": 2}
    assert happened["forgetful"] == 2


class Between(Wrapped):
    """A client that repeats each put, after another process has changed the item."""

    async def call(self, operation: str, **request: Any) -> Any:
        answer = await super().call(operation, **request)
        if operation != "put_item":
            return answer
        await Table(self.client, request["TableName"]).write(Update(KEY, set={"claimed": 1}))
        return await super().call(operation, **request)


async def test_a_new_item_is_recognised_though_others_wrote_it_since(store: Store) -> None:
    made = await Table(Between(store.client), store.name).write(new(a=1))
    assert marked(made) == {"a": 1, "claimed": 1}


async def test_a_refused_delete_that_was_the_first_try_is_a_refusal(table: Table) -> None:
    assert await table.write(Update(KEY, delete=True, equal={"v": 1})) == Refused(None)


async def test_another_ones_write_is_not_taken_for_ours(store: Store) -> None:
    await store.table.write(new(v=1))
    faulty, _ = store.faulty(repeated=1.0)
    refused = await faulty.write(new(v=1))
    assert isinstance(refused, Refused)


async def test_a_transaction_whose_answer_was_lost_is_done_once(store: Store) -> None:
    await store.table.write(new("count", v=1))
    faulty, happened = store.faulty(repeated=1.0)
    updates = [new("a"), new("b"), Update(("p", "count"), add={"v": 1}, equal={"v": 1})]
    assert await faulty.transact(updates) is None
    assert happened["repeated"] == 1
    assert await stored(store.table, ("p", "count")) == {"v": 2}


# -- transactions


async def test_a_transaction_is_all_or_nothing_and_names_what_refused_it(table: Table) -> None:
    await table.write(new("a", v=1))
    await table.write(new("b", v=7))
    updates = [new("c"), Update(("p", "a"), set={"v": 2}, equal={"v": 1}), new("b")]
    checks = [Update(("p", "nothing"), present=("pk",)), Update(("p", "free"), absent=("pk",))]
    answers = await table.transact(updates, checks)
    assert answers is not None
    assert answers[:2] == [None, None]
    assert answers[2] is not None
    assert marked(answers[2].item) == {"v": 7}
    assert answers[3:] == [Refused(None), None]
    assert set(await table.get([("p", "a"), ("p", "b"), ("p", "c")])) == {("p", "a"), ("p", "b")}
    assert await stored(table, ("p", "a")) == {"v": 1}


async def test_a_transaction_writes_changes_and_deletes_100_items(table: Table) -> None:
    await table.put_many([{"pk": "p", "sk": f"old{place}"} for place in range(2)])
    updates = [new(f"{place:03d}") for place in range(97)]
    updates += [Update(("p", "old0"), delete=True, present=("pk",)), Update(("p", "old1"), set={"a": 1})]
    assert await table.transact(updates, [Update(("p", "none"), absent=("pk",))]) is None
    assert len(await table.query_all("p")) == 98
    assert await stored(table, ("p", "old1")) == {"a": 1}


class Counting(Wrapped):
    """A client that counts its calls."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.calls: Counter[str] = Counter()

    async def call(self, operation: str, **request: Any) -> Any:
        self.calls[operation] += 1
        return await super().call(operation, **request)


async def test_a_write_alone_is_no_transaction(store: Store) -> None:
    counting = Counting(store.client)
    table = Table(counting, store.name)
    assert await table.transact([new(a=1)]) is None
    answers = await table.transact([new(a=2)])
    assert answers is not None
    assert answers[0] is not None
    assert marked(answers[0].item) == {"a": 1}
    assert counting.calls == {"put_item": 2}


async def test_conflicts_are_waited_for(store: Store) -> None:
    faulty, happened = store.faulty(conflict=0.5, seed=3)
    assert marked(await faulty.write(new(v=0))) == {"v": 0}
    for _ in range(4):
        await faulty.write(Update(KEY, add={"v": 1}))
    assert await faulty.transact([Update(KEY, add={"v": 1}), new("other")]) is None
    assert await stored(store.table) == {"v": 5}
    assert happened["conflict"] > 2


async def test_conflicts_that_do_not_end_are_an_error_that_may_pass(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_PATIENCE", 0.05)
    faulty, _ = store.faulty(conflict=1.0)
    with pytest.raises(BackendConnectionError, match="DynamoDB UpdateItem on table .* other writers") as plain:
        await faulty.write(Update(KEY, add={"v": 1}))
    with pytest.raises(BackendConnectionError, match="DynamoDB TransactWriteItems"):
        await faulty.transact([Update(KEY, add={"v": 1}), new("other")])
    assert plain.value.transient
    assert await store.table.query_all("p") == []


async def test_a_transaction_that_cannot_be_done_says_why_at_once(store: Store) -> None:
    class Wrong(Wrapped):
        async def call(self, operation: str, **request: Any) -> Any:
            reasons = [{"Code": "None"}, {"Code": "ValidationError", "Message": "it is too large"}]
            raise answer_of("TransactionCanceledException", operation, CancellationReasons=reasons)

    with pytest.raises(BackendError, match="TransactWriteItems on table .* ValidationError: it is too large") as error:
        await Table(Wrong(store.client), store.name).transact([new("a"), new("b")])
    assert not error.value.transient


# -- throttling and batches


async def test_a_throttled_call_is_tried_again(store: Store) -> None:
    faulty, happened = store.faulty(throttled=0.5, seed=1)
    await faulty.put_many([{"pk": "p", "sk": str(place)} for place in range(60)])
    assert len(await faulty.query_all("p")) == 60
    assert len(await faulty.get([("p", str(place)) for place in range(60)])) == 60
    assert happened["throttled"] > 1


async def test_a_throttled_call_is_not_tried_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_PATIENCE", 0.05)
    faulty, _ = store.faulty(throttled=1.0)
    with pytest.raises(BackendConnectionError) as error:
        await faulty.get([KEY])
    assert error.value.transient


async def test_a_failure_of_the_server_is_seen_through_whether_it_came_before_the_write_or_after(store: Store) -> None:
    class Failing(Wrapped):
        left = 0

        async def call(self, operation: str, **request: Any) -> Any:
            answer = await super().call(operation, **request)
            self.left -= 1
            if self.left >= 0:
                raise answer_of("InternalServerError", operation, status=500, retries=2)
            return answer

    client = Failing(store.client)
    table = Table(client, store.name)

    async def failing(call: Awaitable[Any]) -> Any:
        client.left = 2
        return await call

    assert marked(await failing(table.write(new(v=1)))) == {"v": 1}
    assert marked(await failing(table.write(Update(KEY, add={"v": 1}, equal={"v": 1})))) == {"v": 2}
    assert await failing(table.transact([Update(KEY, add={"v": 1}, equal={"v": 2}), new("other")])) is None
    assert await failing(table.write(Update(KEY, delete=True, equal={"v": 3}))) == {}
    assert [item["sk"] for item in await store.table.query_all("p")] == ["other"]


async def test_batches_are_done_whole_though_half_of_each_is_left(store: Store) -> None:
    faulty, happened = store.faulty(half=0.6, seed=2)
    keys = [("p", f"{place:03d}") for place in range(60)]
    await faulty.put_many([{"pk": pk, "sk": sk, "a": None, "b": 1} for pk, sk in keys])
    found = await faulty.get([*keys, *keys, ("p", "none")])
    assert sorted(found) == keys
    assert found[keys[0]] == {"pk": "p", "sk": "000", "b": 1}
    await faulty.delete_many([*keys[1:], *keys[1:]])
    assert [item["sk"] for item in await faulty.query_all("p")] == ["000"]
    assert happened["half"] > 4


async def test_batches_of_which_nothing_is_done_are_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(Wrapped):
        async def call(self, operation: str, **request: Any) -> Any:
            name = "UnprocessedItems" if operation == "batch_write_item" else "UnprocessedKeys"
            return {"Responses": {}, name: request["RequestItems"]}

    monkeypatch.setattr(tables, "_PATIENCE", 0.05)
    table = Table(Nothing(store.client), store.name)
    with pytest.raises(BackendConnectionError, match="BatchWriteItem"):
        await table.put_many([{"pk": "p", "sk": "s"}])
    with pytest.raises(BackendConnectionError, match="BatchGetItem"):
        await table.get([("p", "s"), ("p", "t")])


async def test_many_writes_are_each_for_itself(table: Table) -> None:
    await table.write(new("007", a=1))
    answers = await table.write_all([new(f"{place:03d}") for place in range(40)])
    assert [place for place, answer in enumerate(answers) if isinstance(answer, Refused)] == [7]
    assert len(await table.query_all("p")) == 40
    assert await table.write_all([]) == []


async def test_one_that_fails_does_not_cut_the_others_short(store: Store) -> None:
    class One(Wrapped):
        async def call(self, operation: str, **request: Any) -> Any:
            if request["Item"]["sk"]["S"] == "003":
                raise answer_of("InternalServerError", operation, status=500)
            return await super().call(operation, **request)

    table = Table(One(store.client), store.name)
    with pytest.raises(BackendConnectionError, match="InternalServerError"):
        await table.write_all([new(f"{place:03d}") for place in range(40)])
    assert len(await store.table.query_all("p")) == 39


# -- queries


async def filled(table: Table) -> None:
    await table.put_many(
        [{"pk": "p", "sk": f"{kind}#{place}", "wp": "R", "ws": f"{kind}#{place}", "lp": "L", "n": place + 10 * add}
         for add, kind in enumerate("ab") for place in range(5)]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({}, "a0 a1 a2 a3 a4 b0 b1 b2 b3 b4"),
        ({"forward": False, "limit": 2}, "b4 b3"),
        ({"begins": "b#"}, "b0 b1 b2 b3 b4"),
        ({"after": "a#3"}, "a4 b0 b1 b2 b3 b4"),
        ({"before": "a#2"}, "a0 a1"),
        ({"before": "a#2", "forward": False, "limit": 1}, "a1"),
        ({"after": "a#1", "before": "a#4"}, "a2 a3"),
        ({"begins": "a#", "after": "a#2"}, "a3 a4"),
        ({"begins": "b#", "after": "a#2"}, "b0 b1 b2 b3 b4"),
        ({"begins": "a#", "before": "a#2"}, "a0 a1"),
        ({"begins": "a#", "before": "b#2"}, "a0 a1 a2 a3 a4"),
        ({"after": "b", "before": "a"}, ""),
        ({"after": "a#1", "before": "a#1"}, ""),
    ],
    ids=str,
)
@pytest.mark.parametrize("index", [None, WORK], ids=["table", "work"])
async def test_a_partition_is_read_within_bounds(table: Table, how: dict[str, Any], found: str, index: Any) -> None:
    await filled(table)
    page = await table.query("p" if index is None else "R", index=index, **how)
    assert [item["sk"].replace("#", "") for item in page.items] == found.split()


@pytest.mark.parametrize(
    ("how", "found"),
    [({"after": 3}, [4, 10, 11, 12, 13, 14]), ({"before": 2}, [0, 1]), ({"after": 3, "before": 11}, [4, 10]),
     ({"after": 3, "before": 4}, []), ({"forward": False, "limit": 2}, [14, 13])],
    ids=str,
)  # fmt: skip
async def test_numbers_are_bounds_too(table: Table, how: dict[str, Any], found: list[int]) -> None:
    await filled(table)
    assert [item["n"] for item in (await table.query("L", index=LIST, **how)).items] == found


async def test_pages_follow_each_other_and_count(table: Table) -> None:
    await filled(table)
    first = await table.query("p", limit=4)
    assert first.next is not None
    second = await table.query("p", limit=40, start=first.next)
    assert [item["sk"] for item in first.items + second.items] == [f"{k}#{p}" for k in "ab" for p in range(5)]
    assert second.next is None
    assert len(await table.query_all("p", limit=3)) == 10
    assert await table.count("L", index=LIST) == 10
    assert await table.count("nothing", index=LIST) == 0


async def test_what_has_no_key_of_an_index_is_not_in_it(table: Table) -> None:
    await table.write(Update(KEY, new=True, set={"wp": "R", "ws": "1"}))
    assert [sorted(item) for item in await table.query_all("R", index=WORK)] == [["pk", "sk", "wp", "ws"]]
    await table.write(Update(KEY, remove=("wp", "ws")))
    assert await table.query_all("R", index=WORK) == []


async def test_large_partitions_come_in_pages(table: Table) -> None:
    await table.put_many([{"pk": "p", "sk": str(place), "b": bytes(300_000)} for place in range(5)])
    page = await table.query("p")
    assert 0 < len(page.items) < 5
    assert page.next is not None
    assert len(await table.query_all("p")) == 5


async def test_an_index_may_be_old(store: Store) -> None:
    faulty, _ = store.faulty(stale=5)
    seen: set[int] = set()
    for place in range(20):
        await store.table.write(Update(("p", str(place)), new=True, set={"wp": "R", "ws": f"{place:02d}"}))
        found = await faulty.query_all("R", index=WORK, limit=7)
        assert [item["ws"] for item in found] == [f"{entry:02d}" for entry in range(len(found))]
        seen.add(place + 1 - len(found))
    assert {0, 2} <= seen <= {0, 1, 2, 3, 4}
    latest = await faulty.query("R", index=WORK, limit=2, forward=False)
    assert [int(item["ws"]) for item in latest.items] in [[top, top - 1] for top in range(15, 20)]


# -- errors


async def test_a_missing_table_names_the_call_and_the_fix(store: Store) -> None:
    with pytest.raises(BackendError, match="DynamoDB GetItem on table 'test-nothing'") as error:
        await Table(store.client, "test-nothing").get([KEY])
    assert error.value.hint is not None
    assert "asyncjobs aws init" in error.value.hint


async def test_an_item_of_one_byte_too_many_is_refused_and_not_tried_again(store: Store) -> None:
    counting = Counting(store.client)
    table = Table(counting, store.name)
    room = 409_600 - len("pkpskswb") - 1
    with pytest.raises(BackendError, match="more than 400 KiB"):
        await table.write(Update(KEY, set={"b": bytes(room)}, marked=False))
    assert counting.calls == {"update_item": 1}
