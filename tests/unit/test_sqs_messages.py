"""What becomes of the messages that a process has received, by what its claims make of their jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from asyncjobs.backends.sqs import hints, messages
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.claims import Claims
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.support import RELEASED, Hand, new
from tests.properties.sqs_directed import AGES, Process
from tests.sqs_faults import FaultyQueue, MessageFaults
from tests.unit.sqs_queues import Queue, poll, queue_of, table_id, wanted, without_threads

pytestmark = pytest.mark.anyio
Patch = pytest.MonkeyPatch


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _polls(monkeypatch: Patch) -> None:
    without_threads(monkeypatch)


@asynccontextmanager
async def pair(**settings: Any) -> AsyncGenerator[tuple[Process, Process, Queue]]:
    """Open a table by a process that submits, and by one that runs what messages tell it of; and their queue."""
    config = sqs_server.config(**{"shards": 1} | settings)
    submitter = Process(lambda clock: SQSBackend(config, clock=clock), clock := ManualClock())
    async with submitter, Process(lambda clock: SQSBackend(config, clock=clock), clock) as runner:
        yield submitter, runner, queue_of(runner.backend)


def want_of(process: Process) -> list[int]:
    parts = process.backend._parts
    return [wanted(poller) for poller in parts.messages.pollers.values()]


async def fed(submitter: Process, runner: Process, hand: Hand, *ids: str, room: int = 10) -> None:
    """Have messages of these jobs arrive at the runner, which had room for so many."""
    assert await hand.claim(room) == []
    await submitter.submit(*(new(job_id) for job_id in ids))
    await submitter.backend.wait(0)
    assert await poll(runner.backend) == len(ids)


# -- several workers, several claims


async def test_each_worker_of_a_process_has_its_own_room() -> None:
    async with pair() as (_, runner, _):
        one, two = await runner.hand(lease=AGES), await runner.hand(lease=AGES)
        assert await one.claim(3) == []
        assert await two.claim(2) == []
        assert want_of(runner) == [5]
        await runner.submit(new("a"), new("b"))
        assert await two.claim(2) == ["a", "b"]
        assert want_of(runner) == [3], "that the second one is full says nothing of the first"
        await runner.backend.deregister_worker(one.id)
        assert want_of(runner) == [0]


async def test_workers_poll_the_queues_that_they_serve() -> None:
    name = sqs_server.config().queue_url
    async with pair(queues={"own": name}) as (_, runner, _):
        every, own = await runner.hand(lease=AGES), await runner.hand(lease=AGES)
        assert await every.claim(3) == []
        assert await own.claim(2, queues=("own",)) == []
        assert want_of(runner) == [3, 5]


async def test_claims_that_overlap_add_up_to_the_room_of_their_worker() -> None:
    """The outcome of one job asks for its slot while a claim for three others is on its way."""
    async with pair() as (submitter, runner, _):
        hand = await runner.hand(lease=AGES)
        tap = runner.tap()

        async def meanwhile() -> None:
            parts = runner.backend._parts
            parts.messages.take(hand.wants(1))
            await parts.messages.settle(hand.wants(1), {}, messages.Looked(), ["a"])

        tap.at(lambda operation, _: operation == "query", before=meanwhile)
        assert await hand.claim(3) == []
        assert want_of(runner) == [3]
        await submitter.submit(new("b"))
        runner.clock.advance(1)
        assert await hand.claim(3) == ["b"]
        assert want_of(runner) == [2], "the next claim asks for all that is free"


async def test_a_claim_for_no_slot_leaves_messages_and_polls_alone() -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await fed(submitter, runner, hand, "a")
        assert await hand.claim(0) == []
        assert want_of(runner) == [9]
        assert await hand.claim(1) == ["a"]
        await hand.succeed("a")
        assert await queue.counts() == (0, 0)


async def test_what_a_worker_may_not_run_is_offered_to_the_others_of_its_process() -> None:
    async with pair() as (submitter, runner, queue):
        other = await runner.hand(lease=AGES, functions=["app:other"], refused=["app:work"])
        hand = await runner.hand(lease=AGES)
        assert await other.claim(1) == []
        await fed(submitter, runner, hand, "a", room=1)
        assert await other.claim(1) == []
        assert await queue.counts() == (0, 1), "it is held for the other one"
        assert await hand.claim(1) == ["a"]
        await hand.succeed("a")
        assert await queue.counts() == (0, 0)


async def test_what_no_worker_of_a_process_may_run_is_offered_to_each_of_them_once() -> None:
    async with pair() as (submitter, runner, queue):
        hands = [await runner.hand(lease=AGES, functions=["app:other"], refused=["app:work"]) for _ in range(2)]
        assert await hands[1].claim(1) == []
        await fed(submitter, runner, hands[0], "a")
        assert await hands[0].claim(1) == []
        assert runner.backend._parts.messages._received.keys() == {"a"}
        assert await hands[1].claim(1) == []
        assert await hands[0].claim(1) == []
        assert not runner.backend._parts.messages._received
        assert await queue.counts() == (0, 1), "it went back, for a second"


# -- claims that fail


async def test_a_claim_that_fails_leaves_its_messages_to_the_next(monkeypatch: Patch) -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await fed(submitter, runner, hand, "a")

        async def fail(*_: object) -> None:
            raise BackendConnectionError("DynamoDB is away")

        with monkeypatch.context() as away:
            away.setattr(Claims, "_lanes", fail)
            with pytest.raises(BackendConnectionError):
                await hand.claim(10)
        assert want_of(runner) == [9], "it goes on to poll"
        assert await hand.claim(10) == ["a"]
        await hand.succeed("a")
        assert await queue.counts() == (0, 0), "its message was kept until it had ended"


async def test_a_claim_that_is_cut_short_leaves_its_messages_to_the_next() -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await fed(submitter, runner, hand, "a")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await hand.claim(10)
        assert await hand.claim(10) == ["a"]
        await hand.succeed("a")
        assert await queue.counts() == (0, 0)


async def test_a_claim_of_a_worker_that_was_lost_leaves_its_messages_to_its_next_name() -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand()
        await fed(submitter, runner, hand, "a")
        await runner.lose(hand)
        assert (await hand.claims(10)).lost
        assert want_of(runner) == [0]
        again = await runner.hand(lease=AGES)
        assert await again.claim(10) == ["a"]
        await again.succeed("a")
        assert await queue.counts() == (0, 0)


async def test_what_no_claim_takes_goes_back(monkeypatch: Patch) -> None:
    """All slots may be full."""
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await fed(submitter, runner, hand, "a")
        await runner.backend.wait(0)
        assert await queue.counts() == (0, 1), "a claim may be about to take it"
        monkeypatch.setattr(messages, "_UNTAKEN", 0.0)
        await runner.backend.wait(0)
        assert await queue.counts() == (1, 0)


# -- what jobs are


async def test_messages_of_jobs_that_are_not_ready_are_dropped() -> None:
    """Of jobs that are unknown, were removed, run, have ended, or wait."""
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await submitter.submit(*(new(job_id) for job_id in ("removed", "cancelled", "ended", "runs")))
        assert await hand.claim(10) == ["removed", "cancelled", "ended", "runs"]
        await hand.succeed("removed", "ended", "cancelled")
        await submitter.submit(new("waits", "runs"), new("delayed", delay=60 * SECOND))
        await submitter.backend.remove_jobs(["removed"])
        names = ["unknown", "removed", "cancelled", "ended", "runs", "waits", "delayed"]
        await queue.send(*(hints.encode(table_id(runner.backend), name, "lane") for name in names))
        assert await hand.claim(10) == []
        assert await poll(runner.backend) == len(names)
        assert await hand.claim(10) == []
        assert await queue.counts() == (0, 0)


async def test_what_a_worker_may_not_run_goes_back_for_longer_each_time_and_is_deleted_at_last(
    monkeypatch: Patch,
) -> None:
    hidden: list[int] = []
    monkeypatch.setattr(hints, "hidden_for", lambda received: hidden.append(received) or 0)
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES, functions=["app:other"], refused=["app:work"])
        await fed(submitter, runner, hand, "a")
        await runner.submit(new("b", function="app:other"))
        assert await hand.claim(10) == ["b"], "it blocks no other"
        for _ in range(5):
            assert await queue.counts() == (1, 0)
            await poll(runner.backend)
            assert await hand.claim(10) == []
        assert hidden == [1, 2, 3, 4, 5]
        assert await queue.counts() == (0, 0), "the index of ready jobs has it"
        able = await runner.hand(lease=AGES)
        assert await able.claim(10) == ["a"]


async def test_what_there_is_no_room_for_goes_back_at_once() -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await fed(submitter, runner, hand, "a", "b", "c", room=3)
        await runner.submit(new("first", priority=1))
        assert await hand.claim(2) == ["first", "a"]
        assert await queue.counts() == (2, 1)


async def test_messages_that_come_twice_late_or_in_another_order_run_nothing_twice() -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        assert await hand.claim(10) == []
        await submitter.submit(new("a"), new("b"))
        await queue.send(*(hints.encode(table_id(runner.backend), job_id, "lane") for job_id in ("b", "a", "a")))
        assert await poll(runner.backend) == 3
        assert await hand.claim(10) == ["a", "b"], "in the order of claims"
        await submitter.backend.wait(0)
        await submitter.submit(new("c"))
        assert await hand.claim(8) == ["c"]
        assert await hand.claim(7) == []
        await poll(runner.backend)
        assert await hand.claim(7) == []
        await hand.succeed("a", "b", "c")
        await submitter.backend.wait(0)
        assert await hand.claim(10) == []
        while await poll(runner.backend):
            assert await hand.claim(10) == []
        assert [job.attempt for job in await runner.jobs()] == [1, 1, 1]


async def test_handles_that_expired_harm_nothing() -> None:
    """Neither where a message is to be deleted, nor kept, nor given back."""
    async with pair() as (submitter, runner, _):
        hand = await runner.hand(lease=AGES)
        parts: Any = runner.backend._parts
        parts.messages._client = faulty = FaultyQueue(parts.messages._client, MessageFaults(expired=1.0))
        await fed(submitter, runner, hand, "a", "b", "c", room=3)
        assert await hand.claim(1) == ["a"]
        assert await hand.beat()
        await hand.succeed("a")
        assert faulty.happened["expired"] == 4, "two given back, one hidden for longer, one deleted"
        assert await hand.claim(10) == ["b", "c"], "the index has them"


async def test_the_message_of_a_job_goes_with_its_attempt_also_if_it_is_released() -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await fed(submitter, runner, hand, "a")
        assert await hand.claim(10) == ["a"]
        assert await queue.counts() == (0, 1)
        await hand.ends({"a": RELEASED})
        assert await queue.counts() == (0, 0)
        await runner.backend.wait(0)
        assert await queue.counts() == (1, 0), "it is ready once more, and so is a message"


async def test_the_message_of_a_job_that_runs_for_long_is_let_go(monkeypatch: Patch) -> None:
    async with pair() as (submitter, runner, queue):
        hand = await runner.hand(lease=AGES)
        await fed(submitter, runner, hand, "a")
        assert await hand.claim(10) == ["a"]
        monkeypatch.setattr(messages, "_HIDDEN_AT_MOST", 0)
        await hand.beat()
        assert await queue.counts() == (0, 0)
        await hand.succeed("a")


# -- the dead-letter queue


async def test_a_job_whose_message_went_to_the_dead_letters_is_run(monkeypatch: Patch) -> None:
    """So does one that is received too often before a claim looks at it, or is a stranger's."""
    monkeypatch.setattr(hints, "hidden_for", lambda received: 0)
    async with pair() as (submitter, runner, queue):
        dead = await _with_dead_letters(queue, most=2)
        hand = await runner.hand(lease=AGES)
        assert await hand.claim(10) == []
        await submitter.submit(new("a"))
        await submitter.backend.wait(0)
        await queue.send("a stranger")
        for _ in range(3):  # a process that dies each time
            answer = await queue.call("receive_message", MaxNumberOfMessages=10, VisibilityTimeout=0)
        assert answer.get("Messages", []) == []
        assert await dead.counts() == (2, 0)
        runner.clock.advance(1)
        assert await hand.claim(10) == ["a"]
        await hand.succeed("a")
        assert await dead.counts() == (2, 0), "nothing there is touched"


async def _with_dead_letters(queue: Queue, most: int) -> Queue:
    """Have what is received more often go to another queue, as 'asyncjobs aws init' does."""
    sqs = queue.clients.sqs
    url = (await sqs.create_queue(QueueName=sqs_server.config().queue_url))["QueueUrl"]
    answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    policy = f'{{"deadLetterTargetArn":"{answer["Attributes"]["QueueArn"]}","maxReceiveCount":{most}}}'
    await queue.call("set_queue_attributes", Attributes={"RedrivePolicy": policy})
    return Queue(queue.clients, url)


# -- counts


async def test_strange_messages_are_counted_where_every_process_can_read_it() -> None:
    async with pair() as (submitter, runner, queue):
        runner.backend._parts.workers.process = "another"
        hand = await runner.hand(lease=AGES)
        second = await runner.hand(lease=AGES)
        assert (await submitter.backend.health())["messages"] == {}
        await queue.send("a stranger", hints.encode("another", "a", "b"), f'{{"t":"{table_id(runner.backend)}"}}')
        assert await hand.claim(10) == []
        assert await poll(runner.backend) == 0
        await hand.beat()
        await second.beat()
        counts = {"foreign": 2, "malformed": 1}
        assert (await submitter.backend.health())["messages"] == counts, "those of a process, however many workers"
        await runner.backend.deregister_worker(hand.id)
        await runner.backend.deregister_worker(second.id)
        assert (await runner.backend.health())["messages"] == counts, "its own"
