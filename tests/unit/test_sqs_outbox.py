"""A message for each job that became ready by a write of this process, unless it is claimed here before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from msgspec import json

from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.outbox import Outbox
from tests import sqs_server
from tests.conformance.support import Store, new
from tests.properties.sqs_directed import AGES
from tests.sqs_faults import FaultyQueue, MessageFaults, Wrapped
from tests.unit.sqs_queues import queue_of, without_threads

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    without_threads(monkeypatch)
    queues = {"own": sqs_server.config().queue_url}
    config = sqs_server.config(shards=1, queues=queues)
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as opened:
        yield opened


def outbox_of(store: Store) -> Outbox:
    backend: Any = store.backend
    return backend._parts.outbox


async def sent(store: Store, queue: str = "") -> list[str]:
    """Take all messages out of the queue for jobs of a queue; return their jobs."""
    backend: Any = store.backend
    queue_, found = queue_of(backend, queue), []
    while messages := (await queue_.call("receive_message", MaxNumberOfMessages=10)).get("Messages", []):
        found += [json.decode(message["Body"])["j"] for message in messages]
    return sorted(found)


async def test_each_job_goes_to_the_queue_that_its_own_has(store: Store) -> None:
    ids = [f"j{place:02d}" for place in range(25)]
    await store.submit(*(new(job_id) for job_id in ids), new("own", queue="own"), new("later", "own"))
    await store.backend.wait(0)
    assert await sent(store) == ids
    assert await sent(store, "own") == ["own"], "what waits for others is not ready"
    await store.backend.wait(0)
    assert await sent(store) == [], "once each"


async def test_what_is_claimed_here_before_is_not_sent(store: Store) -> None:
    hand = await store.hand(lease=AGES)
    await store.submit(new("a"), new("b"), new("local", owner=hand.id))
    assert await hand.claim(1) == ["a"]
    assert "b" in outbox_of(store)
    await store.backend.wait(0)
    assert await sent(store) == ["b"], "and what no other process can run neither"


async def test_what_became_ready_by_the_end_of_another_job_is_sent(store: Store) -> None:
    hand = await store.hand(lease=AGES)
    await store.submit(new("a"), new("b", "a"), new("c", "a"))
    assert await hand.claim() == ["a"]
    await hand.succeed("a")
    await store.backend.cancel_jobs(["c"])
    await store.backend.wait(0)
    assert await sent(store) == ["b"]


async def test_what_cannot_be_sent_is_counted_and_named_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    outbox: Any = outbox_of(store)
    outbox._client = FaultyQueue(outbox._client, MessageFaults(unsent=1.0))
    await store.submit(new("a"), new("b"))
    await store.backend.wait(0)
    await store.submit(new("c"))
    await store.backend.wait(0)
    assert outbox.unsent == 3
    assert [record.getMessage() for record in caplog.records if "cannot be sent" in record.getMessage()] == [
        "messages cannot be sent, so work spreads at the pace of the sweep: InternalError"
    ]
    assert (await store.backend.health())["messages"] == {"unsent": 3}
    hand = await store.hand(lease=AGES)
    assert await hand.claim() == ["a", "b", "c"]


async def test_what_was_about_to_be_sent_when_that_was_cut_short_is_sent_once_more(store: Store) -> None:
    outbox: Any = outbox_of(store)
    outbox._client = Slow(outbox._client)
    await store.submit(new("a"), new("b"))
    with anyio.move_on_after(0.05) as scope:
        await store.backend.wait(0)
    assert scope.cancelled_caught
    outbox._client = outbox._client.client
    await store.backend.wait(0)
    assert await sent(store) == ["a", "b"]


class Slow(Wrapped):
    async def call(self, operation: str, **request: Any) -> Any:
        await anyio.sleep_forever()
