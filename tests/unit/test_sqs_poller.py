"""A poll hands on the hints of this table; what is strange is counted, and never in their way."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
import pytest
from msgspec import json

from asyncjobs.backends.sqs import hints
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.hints import Kind
from asyncjobs.backends.sqs.poller import Poller
from tests.sqs_faults import FaultyPolls, MessageFaults
from tests.unit.sqs_queues import TABLE, Queue, make, queues

pytestmark = pytest.mark.anyio

STRANGER = "a letter of another program"
OTHERS = hints.encode("another table", "job", "lane")
MALFORMED = json.encode({"v": 1, "t": TABLE, "j": 7}).decode()
OLDER = json.encode({"v": 0, "t": TABLE, "j": "job", "l": "lane"}).decode()
NEWER = json.encode({"v": 2, "t": TABLE, "x": "?"}).decode()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def clients(anyio_backend: str) -> AsyncIterator[Clients]:
    async with queues() as opened:
        yield opened


@pytest.fixture
async def queue(clients: Clients) -> Queue:
    return await make(clients)


async def poll(poller: Poller, count: int = 10) -> int:
    return await anyio.to_thread.run_sync(poller.poll, count)


async def test_hints_come_with_how_often_they_were_received(queue: Queue) -> None:
    poller, brought = queue.poller(visibility=60)
    await queue.hint("a", "b")
    assert await poll(poller) == 2
    (found,) = brought
    assert sorted((each.job, each.received) for each in found) == [("a", 1), ("b", 1)]
    assert await queue.counts() == (0, 2)
    assert await poll(poller) == 0
    assert len(brought) == 1, "nothing is no news"


async def test_what_is_not_of_this_table_is_given_back_with_a_growing_delay_and_never_deleted(
    queue: Queue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[int] = []
    monkeypatch.setattr(hints, "hidden_for", lambda received: hidden.append(received) or 0)
    poller, brought = queue.poller()
    await queue.send(STRANGER, OTHERS)
    for _ in range(3):
        await poll(poller)
    assert hidden == [1, 1, 2, 2, 3, 3], "by how often each was received"
    assert await queue.counts() == (2, 0)
    assert brought == []
    assert poller.strange == {Kind.FOREIGN: 6}
    (record,) = caplog.records
    assert "of another program, or for another table" in record.getMessage()
    assert "they are given back" in record.getMessage()


async def test_of_this_table_what_cannot_be_understood_or_is_of_an_older_version_is_dropped(queue: Queue) -> None:
    poller, _ = queue.poller()
    await queue.send(MALFORMED, OLDER, hints.encode(TABLE, hints.NO_JOB, ""))
    assert await poll(poller) == 0
    assert await queue.counts() == (0, 0)
    assert poller.strange == {Kind.MALFORMED: 2}, "the one that ends a poll is not strange"


async def test_what_a_newer_version_sent_is_left_to_that(queue: Queue) -> None:
    poller, _ = queue.poller()
    await queue.send(NEWER)
    await poll(poller)
    assert await queue.counts() == (0, 1)
    assert poller.strange == {Kind.NEWER: 1}


async def test_strangers_do_not_block_hints(queue: Queue) -> None:
    """Though 25 of them stand before it, and go back each time."""
    poller, brought = queue.poller()
    await queue.send(*[STRANGER] * 25)
    await queue.hint("a")
    polls = 0
    while not brought:
        polls += 1
        await poll(poller)
        assert polls <= 3, "each of them is hidden for a while"
    assert [each.job for each in brought[0]] == ["a"]
    assert sum(await queue.counts()) == 26


async def test_a_poll_hands_on_its_hints_though_what_goes_back_has_expired(queue: Queue) -> None:
    plain = queue.clients.connect
    poller, brought = queue.poller()

    def connect() -> Any:
        return Refusing(plain("sqs"))

    poller._connect = connect
    await queue.send(STRANGER, MALFORMED)
    await queue.hint("a")
    assert await poll(poller) == 1
    assert [each.job for each in brought[0]] == ["a"]
    assert not poller.fails


class Refusing(FaultyPolls):
    """A client for which nothing can be given back or deleted."""

    def __init__(self, client: Any) -> None:
        super().__init__(client, MessageFaults())

    def call(self, operation: str, **request: Any) -> Any:
        if operation != "receive_message":
            raise ValueError(operation)
        return super().call(operation, **request)


async def test_a_queue_that_is_away_is_named_once_and_polled_again(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    poller, brought = queue.poller()
    away = True

    def connect() -> Any:
        if away:
            raise OSError("no network")
        return queue.clients.connect("sqs")

    poller._connect = connect
    await queue.hint("a")
    for _ in range(3):
        assert await poll(poller) == 0
        assert poller.fails
    [logged] = [record.getMessage() for record in caplog.records]
    assert logged.startswith("messages cannot be received, retrying: SQS ReceiveMessage on http")
    assert "could not be reached: no network" in logged
    away = False
    assert await poll(poller) == 1
    assert not poller.fails
    assert [record.getMessage() for record in caplog.records[1:]] == [f"messages are received again from {queue.url}"]
    assert len(brought) == 1


async def test_what_a_poll_brings_after_the_end_is_given_back_at_once(queue: Queue) -> None:
    poller, brought = queue.poller()
    await queue.hint("a", "b")
    assert not poller.stop(), "no poll is under way"
    await poll(poller)
    assert brought == []
    assert await queue.counts() == (2, 0)


async def test_the_thread_polls_while_there_is_room_and_ends_when_it_is_stopped(queue: Queue) -> None:
    came = threading.Event()
    jobs: list[str] = []

    def brought(found: Any) -> None:
        jobs.extend(each.job for each in found)
        came.set()

    poller = Poller(
        lambda: queue.clients.connect("sqs"),
        queue.url,
        TABLE,
        brought,
        queue.clients.server_time.now,
        wait_time=1,
        visibility=60,
    )
    await queue.hint("a", "b", "c")
    poller.want(2)
    assert await anyio.to_thread.run_sync(came.wait, 20)
    assert len(jobs) == 2, "no more than there is room for"
    came.clear()
    poller.want(1)
    assert await anyio.to_thread.run_sync(came.wait, 20)
    assert sorted(jobs) == ["a", "b", "c"]
    poller.stop()
    await anyio.to_thread.run_sync(poller.join)
    assert poller._thread is not None
    assert not poller._thread.is_alive()
