"""What the tests' own client counts, and what it refuses: the rules of AWS by which costs are asserted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncjobs.backends.sqs import schema, values
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.table import WORK, Refused, Table, Update
from asyncjobs.exceptions import BackendError
from tests import sqs_server
from tests.sqs_capacity import CountingClient, item_size

pytestmark = pytest.mark.anyio
KEY = ("p", "s")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def connected(anyio_backend: str) -> AsyncIterator[Clients]:
    clients = await Clients.open(sqs_server.config())
    yield clients
    await clients.close()


@pytest.fixture
async def client(connected: Clients) -> CountingClient:
    return CountingClient(connected.dynamodb)


@pytest.fixture
async def table(client: CountingClient) -> Table:
    name = sqs_server.config().table
    await client.create_table(**schema.table_definition(name))
    client.calls.clear()
    return Table(client, name)


def put(sk: str = "s", size: int = 0, **attributes: Any) -> Update:
    """Return the write of a new item of so many bytes, at least."""
    return Update(("p", sk), new=True, replace=True, set={**attributes, "b": bytes(size)})


def work(place: str = "1") -> dict[str, Any]:
    return {"wp": "R", "ws": place}


def test_sizes_are_those_of_aws() -> None:
    item = values.item({"pk": "é", "n": 1200, "m": -7, "b": b"abc", "l": ["a", 1], "d": {"k": True}})
    assert item_size(item) == (2 + 2) + (1 + 2) + (1 + 3) + (1 + 3) + (1 + 3 + 2 + 3) + (1 + 3 + 1 + 1 + 1)


async def test_a_write_costs_by_the_kb_of_the_larger_item(table: Table, client: CountingClient) -> None:
    await table.write(put(size=900))
    assert client.written == {"table": 1}
    await table.write(put(size=2500))
    assert client.written == {"table": 1 + 3}
    await table.write(Update(KEY, set={"b": b""}))
    assert client.written == {"table": 4 + 3}
    await table.write(Update(KEY, delete=True))
    assert client.written == {"table": 7 + 1}


async def test_an_index_costs_when_its_entry_comes_moves_and_goes(table: Table, client: CountingClient) -> None:
    costs: list[int] = []
    for update in (
        put(**work()),
        Update(KEY, set={"a": 1}),
        Update(KEY, set=work()),
        Update(KEY, set=work("2")),
        Update(KEY, remove=("wp", "ws")),
    ):
        client.written.clear()
        await table.write(update)
        assert client.written["table"] == 1
        costs.append(client.written["work"])
    assert costs == [1, 0, 0, 2, 1]


async def test_a_transaction_costs_twice_on_the_table_alone(table: Table, client: CountingClient) -> None:
    await table.transact([put("a", **work()), put("b", size=1500)], [Update(("p", "c"), absent=("pk",))])
    assert client.written == {"table": 2 * (1 + 2 + 1), "work": 1}
    assert client.calls == {"transact_write_items": 1}


async def test_a_refusal_costs_too(table: Table, client: CountingClient) -> None:
    await table.write(put(size=1500))
    client.written.clear()
    assert isinstance(await table.write(Update(KEY, set={"a": 1}, equal={"v": 1})), Refused)
    assert await table.transact([Update(KEY, set={"a": 1}, equal={"v": 1}), put("b")]) is not None
    assert client.written == {"table": 2 + 2 * (2 + 1)}


async def test_batches_cost_by_item(table: Table, client: CountingClient) -> None:
    await table.put_many([{"pk": "p", "sk": str(place), **work(str(place))} for place in range(30)])
    assert client.written == {"table": 30, "work": 30}
    assert client.calls == {"batch_write_item": 2}


async def test_reads_cost_by_4_kb_and_half_if_they_may_be_old(table: Table, client: CountingClient) -> None:
    await table.put_many([{"pk": "p", "sk": str(place), "b": bytes(4000), **work(str(place))} for place in range(4)])
    costs: list[float] = []
    for read in (
        table.get([("p", "0")]),
        table.get([("p", "0"), ("p", "1"), ("p", "none")], consistent=False),
        table.query("p"),
        table.query("R", index=WORK, limit=3),
        table.get([("p", "none")]),
        table.count("R", index=WORK),
    ):
        client.read = 0.0
        await read
        costs.append(client.read)
    assert costs == [1.0, 1.5, 4.0, 0.5, 1.0, 0.5]


@pytest.mark.parametrize(
    "update",
    [
        Update(("p" * 2049, "s"), new=True),
        Update(("p", "s" * 1025), new=True),
        Update(KEY, new=True, set={"wp": "é" * 1025, "ws": "1"}),
        Update(KEY, set={"wp": "R", "ws": "é" * 513}),
        Update(KEY, set={"gp": "x" * 2049, "n": 1}),
        Update(KEY, set={"lp": "", "n": 1}),
        Update(KEY, new=True, set={"b": bytes(409_600)}),
    ],
    ids=["pk", "sk", "wp", "ws", "gp", "empty", "large"],
)
async def test_what_aws_does_not_take_is_refused(table: Table, update: Update) -> None:
    with pytest.raises(BackendError, match="ValidationException"):
        await table.write(update)
    with pytest.raises(BackendError, match="ValidationException"):
        await table.transact([update, put("other")])


async def test_keys_of_the_largest_sizes_are_taken(table: Table) -> None:
    largest = Update(("é" * 1024, "é" * 512), new=True, set={"wp": "é" * 1024, "ws": "é" * 512})
    assert not isinstance(await table.write(largest), Refused)


async def test_too_many_items_of_a_call_are_refused(table: Table) -> None:
    assert await table.transact([put(f"{place}") for place in range(100)]) is None
    with pytest.raises(BackendError, match="more than 100 items"):
        await table.transact([put(f"{place}") for place in range(101)])
    with pytest.raises(BackendError, match="an item twice"):
        await table.transact([put("a"), put("a")])
