"""The faulty clients of the tests do what they are asked to, and the emulator ends with its tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from asyncjobs.backends.sqs import schema
from asyncjobs.backends.sqs import table as tables
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.table import Refused, Table, Update
from asyncjobs.exceptions import BackendConnectionError
from tests import sqs_server
from tests.sqs_faults import Faults, FaultyClient, FaultyPolls, FaultyQueue, MessageFaults

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
async def table(connected: Clients) -> str:
    name = sqs_server.config().table
    await connected.dynamodb.create_table(**schema.table_definition(name))
    return name


@pytest.fixture
async def queue(connected: Clients) -> str:
    return (await connected.sqs.create_queue(QueueName=sqs_server.config().queue_url))["QueueUrl"]


def faulty(connected: Clients, seed: int = 0, **faults: Any) -> FaultyClient:
    return FaultyClient(connected.dynamodb, Faults(**faults), seed)


async def test_an_error_before_the_write_writes_nothing(
    connected: Clients, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_PATIENCE", 0.05)
    with pytest.raises(BackendConnectionError, match="InternalServerError"):
        await Table(faulty(connected, before=1.0), table).write(Update(KEY, new=True))
    assert await Table(connected.dynamodb, table).get([KEY]) == {}


async def test_a_lost_answer_is_that_of_a_write(connected: Clients, table: str) -> None:
    client = faulty(connected, lost=1.0)
    with pytest.raises(ReadTimeoutError):
        await client.put_item(TableName=table, Item={"pk": {"S": "p"}, "sk": {"S": "s"}})
    assert list(await Table(client, table).get([KEY])) == [KEY]
    assert client.happened == {"lost": 1}


async def test_a_refusal_forgets_the_old_items_of_a_transaction_too(connected: Clients, table: str) -> None:
    plain = Table(connected.dynamodb, table)
    await plain.write(Update(KEY, new=True))
    updates = [Update(KEY, new=True), Update(("p", "t"), new=True)]
    shown = await plain.transact(updates)
    forgetful = faulty(connected, forgetful=1.0)
    assert await Table(forgetful, table).transact(updates) == shown, "what an answer does not bring is read"
    assert shown is not None
    assert shown[0] != Refused(None)
    assert forgetful.happened == {"forgetful": 1}


async def test_the_same_seed_fails_in_the_same_places(connected: Clients, table: str) -> None:
    async def places(seed: int) -> list[int]:
        client = faulty(connected, seed, before=0.3)
        failed: list[int] = []
        for place in range(30):
            try:
                await client.put_item(TableName=table, Item={"pk": {"S": "p"}, "sk": {"S": "s"}})
            except ClientError:
                failed.append(place)
        return failed

    first = await places(1)
    assert 0 < len(first) < 30
    assert await places(1) == first
    assert await places(2) != first


# -- messages


async def sent(client: Any, queue: str, count: int) -> Any:
    entries = [{"Id": str(place), "MessageBody": f"{place}"} for place in range(count)]
    return await client.send_message_batch(QueueUrl=queue, Entries=entries)


async def received(client: Any, queue: str, polls: int) -> list[list[str]]:
    found: list[list[str]] = []
    for _ in range(polls):
        answer = await client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=60)
        found.append([message["Body"] for message in answer.get("Messages", ())])
    return found


async def test_messages_come_twice_late_and_in_another_order(connected: Clients, queue: str) -> None:
    await sent(connected.sqs, queue, 10)
    client = FaultyQueue(connected.sqs, MessageFaults(duplicated=0.3, late=0.3, reordered=0.5), seed=3)
    polls = await received(client, queue, 12)
    every = [body for poll in polls for body in poll]
    assert set(every) == {str(place) for place in range(10)}
    assert len(every) > 10
    assert len(polls[0]) < 10
    assert client.happened.keys() == {"duplicated", "late", "reordered"}
    assert 0 < len(every) - 10 <= client.happened["duplicated"]


async def test_a_part_of_a_batch_is_not_sent(connected: Clients, queue: str) -> None:
    client = FaultyQueue(connected.sqs, MessageFaults(unsent=0.4), seed=1)
    answer = await sent(client, queue, 10)
    failed = {entry["Id"] for entry in answer["Failed"]}
    assert 0 < len(failed) < 10
    assert {entry["Id"] for entry in answer["Successful"]} == {str(place) for place in range(10)} - failed
    arrived = await received(connected.sqs, queue, 3)
    assert {body for poll in arrived for body in poll} == {str(place) for place in range(10)} - failed
    nothing = FaultyQueue(connected.sqs, MessageFaults(unsent=1.0))
    assert len((await sent(nothing, queue, 3))["Failed"]) == 3


async def test_receipt_handles_expire(connected: Clients, queue: str) -> None:
    await sent(connected.sqs, queue, 2)
    answer = await connected.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    handle = answer["Messages"][0]["ReceiptHandle"]
    client = FaultyQueue(connected.sqs, MessageFaults(expired=1.0))
    entries = [{"Id": "0", "ReceiptHandle": handle}]
    assert [
        entry["Id"] for entry in (await client.delete_message_batch(QueueUrl=queue, Entries=entries))["Failed"]
    ] == ["0"]
    with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
        await client.delete_message(QueueUrl=queue, ReceiptHandle=handle)


async def test_the_polls_of_a_thread_have_the_same_faults(connected: Clients, queue: str) -> None:
    await sent(connected.sqs, queue, 10)
    plain = connected.connect("sqs")
    client = FaultyPolls(plain, MessageFaults(late=0.5, expired=1.0), seed=1)
    polls: list[int] = []
    for _ in range(12):
        answer = client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=60)
        polls.append(len(answer["Messages"]))
    assert sum(polls) == 10
    assert polls[0] < 10
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        client.change_message_visibility(QueueUrl=queue, ReceiptHandle="x", VisibilityTimeout=0)
    client.close()


# -- the emulator

_PROGRAM = """
import sys
from tests import sqs_server
print(sqs_server.endpoint(), flush=True)
sys.stdin.read()
"""


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_ministack/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.slow
@pytest.mark.skipif("ASYNCJOBS_TEST_AWS_ENDPOINT" in os.environ, reason="it was started by someone else")
@pytest.mark.skipif(sqs_server.is_on_second(), reason="there are two")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_the_emulator_ends_with_the_process_that_started_it(end: signal.Signals, connected: Clients) -> None:
    root = Path(__file__).parent.parent.parent
    tests = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert tests.stdout is not None
    address = tests.stdout.readline().strip()
    assert answers(address)
    tests.send_signal(end)
    tests.communicate()
    deadline = time.monotonic() + 20
    while answers(address):  # another process, which reports nothing
        assert time.monotonic() < deadline
        time.sleep(0.05)
