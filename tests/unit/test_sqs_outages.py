"""AWS that is away, or takes no credentials of this process, is logged once for all calls, and once when it is over."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from botocore.exceptions import EndpointConnectionError

from asyncjobs import BackendConnectionError, BackendError, SQSConfig
from asyncjobs.backends.sqs import outages
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.outages import Outages
from asyncjobs.backends.sqs.table import Table
from tests import sqs_server
from tests.sqs_answers import Answering, Refusal

pytestmark = pytest.mark.anyio

GOOD = Refusal("", "", 200)
EXPIRED = Refusal("ExpiredTokenException", "too old")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    sqs_server.endpoint()
    opened = await Clients.open(SQSConfig(region="us-east-1", endpoint_url="http://127.0.0.1:9", bucket="values"))
    opened.outages.begin()
    yield opened
    await opened.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def failing(table: Table, error: type[BackendError] = BackendError) -> BackendError:
    with pytest.raises(error) as info:
        await table.get([("a", "b")])
    return info.value


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"])
async def test_credentials_that_are_not_taken_are_logged_once_for_all_calls(
    clients: Clients, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    answering = Answering(lambda *_: Refusal(code, "not any more"))
    answering.attach_to(clients)
    table = Table(clients.dynamodb, "jobs")
    assert (await failing(table)).logged, "so no loop logs it"
    thread: Any = clients.connect("dynamodb")
    queue: Any = clients.connect("sqs", 1)
    for call in (thread.list_tables, queue.list_queues):
        with pytest.raises(Exception, match="not any more"):
            call()
    [line] = warnings(caplog)
    assert line.startswith(f"AWS refuses the credentials of this process (this is logged once): {code}")
    assert "renew them; this process goes on by itself when it finds new ones" in line
    answering.decide = lambda *_: GOOD
    thread.list_tables()
    await table.get([("a", "b")])
    assert warnings(caplog)[1:] == ["resumed: AWS accepts the credentials of this process again"]
    for client in (thread, queue):
        client.close()


async def test_a_service_that_is_away_is_logged_once_for_all_calls(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(clients.dynamodb, "jobs")
    assert (await failing(table, BackendConnectionError)).logged
    assert (await failing(table, BackendConnectionError)).logged
    polling: Any = clients.connect("sqs", 1)
    for _ in range(2):
        with pytest.raises(EndpointConnectionError) as info:
            polling.list_queues()
        assert outages.LOGGED in vars(info.value)
    dynamodb, sqs = warnings(caplog)
    assert dynamodb.startswith("DynamoDB cannot be reached (this is logged once): ")
    assert sqs.startswith("SQS cannot be reached (this is logged once): ")
    assert sqs.endswith("; work spreads at the pace of the sweep")
    answering = Answering(lambda *_: GOOD)
    answering.attach_to(clients)
    await table.get([("a", "b")])
    await table.get([("a", "b")])
    assert warnings(caplog)[2:] == ["resumed: DynamoDB can be reached again"]
    polling.close()


async def test_what_is_wrong_at_the_opening_is_not_logged(clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    opening = await Clients.open(SQSConfig(region="us-east-1", endpoint_url="http://127.0.0.1:9"))
    assert not (await failing(Table(opening.dynamodb, "jobs"), BackendConnectionError)).logged
    await opening.close()
    assert warnings(caplog) == []


async def test_a_call_that_fails_while_others_are_answered_is_no_outage(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    """One answer that does not come is logged by the loop that made the call."""
    sent, goes_on = anyio.Event(), anyio.Event()

    async def slow(request: Any, **_: object) -> None:
        if b"slow" in request.body:
            sent.set()
            await goes_on.wait()
            raise ConnectionResetError("cut")

    clients.dynamodb.meta.events.register_first("before-send", slow)
    found: list[BackendError] = []

    async def call() -> None:
        found.append(await failing(Table(clients.dynamodb, "slow"), BackendConnectionError))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await sent.wait()
        Answering(lambda *_: GOOD).attach_to(clients)
        await Table(clients.dynamodb, "jobs").get([("a", "b")])
        goes_on.set()
    assert not found[0].logged
    assert warnings(caplog) == []


class Fake:
    """What answers are given to, in any order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.outages = Outages()
        self.outages.begin()
        monkeypatch.setattr(outages.time, "monotonic", lambda: self.now)

    def failed(self, sent: float, at: float) -> bool:
        self.now = at
        return self.outages._failed("dynamodb", sent, "no route")

    def worked(self, sent: float, at: float) -> None:
        self.now = at
        self.outages._worked("dynamodb", sent)


async def test_what_was_on_its_way_neither_ends_an_outage_nor_begins_it_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = Fake(monkeypatch)
    assert fake.failed(101, at=110)
    fake.worked(105, at=111)
    assert len(warnings(caplog)) == 1, "its answer was on its way when the other one failed"
    fake.worked(112, at=113)
    assert len(warnings(caplog)) == 2
    assert fake.failed(108, at=118), "it was sent before the end of what was logged"
    assert len(warnings(caplog)) == 2
    assert fake.failed(120, at=130)
    assert len(warnings(caplog)) == 3
