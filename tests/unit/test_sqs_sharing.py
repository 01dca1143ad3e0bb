"""Which ready jobs the claims of a process try for, alone on the store and beside others."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from asyncjobs.backends.sqs import hints, keys
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.outlook import Place
from asyncjobs.backends.sqs.ready_index import ReadyIndex
from asyncjobs.backends.sqs.sharing import draw
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.support import Hand, new
from tests.properties.sqs_directed import AGES, Process
from tests.sqs_capacity import CountingClient
from tests.unit.sqs_queues import Queue, poll, queue_of, without_threads

pytestmark = pytest.mark.anyio
SWEEP = 15


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _polls(monkeypatch: pytest.MonkeyPatch) -> None:
    without_threads(monkeypatch)


class Two:
    """Two processes with a worker each, and a third that only submits."""

    def __init__(self, one: Process, other: Process, submitter: Process, hands: tuple[Hand, Hand]) -> None:
        self.one, self.other, self.submitter = one, other, submitter
        self.hand, self.others = hands

    @property
    def queue(self) -> Queue:
        return queue_of(self.one.backend)

    async def submit(self, *jobs: Any, lost: bool = False) -> None:
        """Submit by the third process, and send the messages, unless they are lost."""
        await self.submitter.submit(*jobs)
        await self.submitter.backend.wait(0)
        if lost:
            await self.queue.call("purge_queue")
        self.one.clock.advance(1)  # after which lanes of others are found


@asynccontextmanager
async def two(**settings: object) -> AsyncGenerator[Two]:
    config, clock = sqs_server.config(**{"shards": 1} | settings), ManualClock()
    one, other, submitter = (Process(lambda of: SQSBackend(config, clock=of), clock) for _ in range(3))
    async with one, other, submitter:
        for place, process in enumerate((one, other, submitter)):
            process.backend._parts.workers.process = f"process {place}"
        hands = await one.hand(lease=AGES), await other.hand(lease=AGES)
        await one.backend.reap()
        made = Two(one, other, submitter, hands)
        for hand in hands:
            assert await hand.claim(3) == []
        yield made


# -- alone


async def test_alone_on_the_store_a_process_does_not_wait_for_messages() -> None:
    config, clock = sqs_server.config(shards=1), ManualClock()
    one, submitter = (Process(lambda of: SQSBackend(config, clock=of), clock) for _ in range(2))
    async with one, submitter:
        one.backend._parts.workers.process = "another"
        hand = await one.hand(lease=AGES)
        assert await hand.claim(10) == []
        await submitter.submit(new("a"), new("b"))
        clock.advance(1)
        assert await hand.claim(10) == ["a", "b"]
        assert (await hand.claims(8)).next_due is None


async def test_alone_on_the_store_a_process_that_knows_enough_looks_at_the_index_once_a_second() -> None:
    config, clock = sqs_server.config(shards=1), ManualClock()
    one, submitter = (Process(lambda of: SQSBackend(config, clock=of), clock) for _ in range(2))
    async with one, submitter:
        hand = await one.hand(lease=AGES)
        await one.submit(*(new(f"j{place}") for place in range(6)))
        assert await hand.claim(1) == ["j0"]
        await submitter.submit(new("urgent", priority=1))
        assert await hand.claim(2) == ["j1", "j2"]
        clock.advance(1)
        assert await hand.claim(1) == ["urgent"]
        await submitter.submit(new("last"))
        assert await hand.claim(5) == ["j3", "j4", "j5", "last"]


async def test_a_look_at_the_index_that_failed_is_made_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config, clock = sqs_server.config(shards=1), ManualClock()
    one, submitter = (Process(lambda of: SQSBackend(config, clock=of), clock) for _ in range(2))
    async with one, submitter:
        hand = await one.hand(lease=AGES)
        await one.submit(*(new(f"j{place}") for place in range(3)))
        assert await hand.claim(1) == ["j0"]
        await submitter.submit(new("urgent", priority=1))
        clock.advance(1)
        with monkeypatch.context() as away:

            async def heads(*_: object) -> list[Place]:
                raise BackendConnectionError("away", transient=True)

            away.setattr(ReadyIndex, "heads", heads)
            with pytest.raises(BackendConnectionError):
                await hand.claim(1)
        assert await hand.claim(1) == ["urgent"]


async def test_a_process_that_is_left_alone_waits_for_messages_no_more() -> None:
    async with two() as made:
        await made.submit(new("a"), lost=True)
        assert await made.hand.claim(3) == []
        await made.other.backend.deregister_worker(made.others.id)
        await made.one.backend.reap()
        assert await made.hand.claim(3) == ["a"]


async def test_workers_whose_lease_ran_out_are_no_others() -> None:
    async with two() as made:
        await made.submit(new("a"), lost=True)
        made.one.clock.advance(2 * AGES)
        await made.hand.beat()
        made.one.backend._parts.workers.met_another()
        made.one.backend._parts.workers._others_old = True
        assert await made.hand.claim(3) == ["a"]


async def test_a_process_whose_claim_was_refused_looks_for_others() -> None:
    async with two() as made:
        workers = made.one.backend._parts.workers
        workers.others = 0
        await made.submitter.submit(new("a"), new("b"))
        made.one.clock.advance(1)
        tap = made.one.tap()
        made.other.backend._parts.workers.others = 0

        async def meanwhile() -> None:
            assert await made.others.claim(1) == ["a"]

        tap.at(lambda operation, _: operation == "update_item", before=meanwhile)
        assert await made.hand.claim(1) == ["b"]
        assert await made.hand.claim(1) == []
        assert workers.others == 1


# -- beside others


async def test_a_ready_job_is_left_to_its_message() -> None:
    async with two() as made:
        await made.submit(new("a"), new("b"))
        assert await made.others.claim(3) == []
        assert await poll(made.one.backend) == 2
        assert await made.hand.claim(3) == ["a", "b"]


async def test_what_a_process_made_ready_is_its_own_until_it_sends_the_messages() -> None:
    async with two() as made:
        await made.one.submit(new("a"), new("b"), new("c", "a"))
        assert await made.others.claim(3) == []
        assert await made.hand.claim(1) == ["a"]
        await made.hand.succeed("a")
        assert await made.hand.claim(1) == ["b"]
        await made.one.backend.wait(0)
        assert await made.hand.claim(1) == [], "the message of c is on its way"
        assert await poll(made.other.backend) == 1
        assert await made.others.claim(3) == ["c"]


async def test_a_message_is_not_sent_while_a_claim_is_about_to_take_its_job() -> None:
    async with two() as made:
        await made.one.submit(new("a"))
        tap = made.one.tap()
        tap.at(lambda operation, _: operation == "update_item", before=lambda: made.one.backend.wait(0))
        assert await made.hand.claim(1) == ["a"]
        assert await made.queue.counts() == (0, 0)


async def test_jobs_that_only_one_worker_can_run_do_not_wait() -> None:
    async with two() as made:
        await made.one.submit(new("a", owner=made.hand.id))
        await made.one.backend.wait(0)
        assert await made.hand.claim(1) == ["a"]


async def test_a_job_whose_message_was_lost_is_found_when_the_claim_is_made_that_was_asked_for() -> None:
    async with two() as made:
        await made.submit(new("a"), lost=True)
        began = made.one.clock.now()
        while not (found := await made.hand.claims(3)).jobs:
            assert found.next_due is not None
            assert found.next_due > made.one.clock.now()
            made.one.clock.advance((found.next_due - made.one.clock.now()) / SECOND)
        assert made.one.clock.now() - began <= SWEEP * SECOND


async def test_what_messages_bring_comes_before_what_the_index_has() -> None:
    async with two() as made:
        await made.submit(new("lost"), lost=True)
        assert await made.hand.claim(3) == []
        made.one.clock.advance(5)
        await made.submit(new("a"), new("b"), new("c"))
        assert await poll(made.one.backend) == 3
        assert await made.hand.claim(3) == ["a", "b", "c"]
        assert await made.hand.claim(3) == []
        made.one.clock.advance(5)
        assert await made.hand.claim(3) == ["lost"]


async def test_high_priorities_overtake_within_a_second() -> None:
    async with two() as made:
        await made.submit(new("a"), new("b"), new("c"))
        assert await poll(made.one.backend) == 3
        await made.submit(new("high", priority=1), lost=True)
        assert await made.hand.claim(3) == ["high", "a", "b"]
        assert await made.others.claim(3) == []


async def test_low_priorities_wait_until_nothing_else_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "hidden_for", lambda received: 0)
    async with two() as made:
        await made.submit(new("low", priority=-1))
        assert await poll(made.one.backend) == 1
        await made.submit(new("a"))
        assert await made.hand.claim(1) == [], "the message of a is on its way"
        assert await made.queue.counts() == (2, 0), "and that of the other one goes back"
        assert await poll(made.other.backend) == 2
        assert await made.others.claim(1) == ["a"]
        made.one.clock.advance(1)
        assert await poll(made.one.backend) == 1
        assert await made.hand.claim(1) == ["low"]


async def test_with_the_queue_away_all_claim_from_the_index() -> None:
    async with two() as made:
        for process in (made.one, made.other):
            (poller,) = process.backend._parts.messages.pollers.values()
            poller._failures = 1
        ids = [f"j{place:02d}" for place in range(20)]
        await made.submit(*(new(job_id) for job_id in ids))
        random.seed(1)
        one, other = await made.hand.claim(8), await made.others.claim(8)
        assert len({*one, *other}) == 16
        assert set(one) <= set(ids[:16]), "of the head of the index, which it shares with the other one"
        assert one != ids[:8], "drawn at random"
        assert one == sorted(one), "and in the order of claims"


async def test_looking_again_costs_two_cents_a_day_at_most() -> None:
    async with two(shards=4) as made:
        table: Any = made.one.backend._parts.transitions.table
        table._client = counting = CountingClient(table._client)
        await made.one.submit(new("a"))
        assert await made.hand.claim(1) == ["a"]
        await made.hand.succeed("a")
        counting.read, written, looks = 0.0, counting.write_units, 10
        began = made.one.clock.now()
        for _ in range(looks):
            claims = await made.hand.claims(3)
            assert claims.next_due is not None
            made.one.clock.advance((claims.next_due - made.one.clock.now()) / SECOND)
        days = (made.one.clock.now() - began) / SECOND / 86_400
        assert counting.write_units == written
        dollars = counting.read * 0.125e-6 / days
        print(f"{dollars:.3f} $ a day: {dict(counting.calls)}")
        assert dollars <= 0.02


async def test_claims_of_two_workers_of_a_process_try_for_different_jobs() -> None:
    async with two() as made:
        second = await made.one.hand(lease=AGES)
        await made.one.submit(*(new(f"j{place}") for place in range(6)))
        tap = made.one.tap()
        async with anyio.create_task_group() as tasks:
            for hand in (made.hand, second):
                tasks.start_soon(hand.claim, 3)
        assert sorted([*made.hand.held, *second.held]) == [f"j{place}" for place in range(6)]
        rows = [keys.row(f"j{place}") for place in range(6)]
        assert [tap.writes[row] for row in rows] == [1] * 6


async def test_a_worker_goes_on_to_the_index_when_another_one_of_its_process_takes_what_that_knows() -> None:
    config, clock = sqs_server.config(shards=1), ManualClock()
    one, submitter = (Process(lambda of: SQSBackend(config, clock=of), clock) for _ in range(2))
    async with one, submitter:
        hands = [await one.hand(lease=AGES) for _ in range(2)]
        await one.submit(*(new(f"a{place}") for place in range(3)))
        await submitter.submit(*(new(f"b{place}") for place in range(3)))
        assert await hands[1].claim(1) == ["a0"]  # a look, so that none is due
        taken: list[str] = []

        async def meanwhile() -> None:
            taken.extend(await hands[1].claim(2))

        one.tap().at(lambda operation, _: operation == "update_item", before=meanwhile)
        assert await hands[0].claim(2) == ["a1", "a2"]
        assert taken == ["b0", "b1"]


# -- drawing


def places(*priorities: int) -> list[Place]:
    return [(keys.rank(priority, n), f"{priority}/{n}") for n, priority in enumerate(priorities)]


def test_what_there_is_room_for_is_taken_in_order() -> None:
    assert draw(places(0, 0, 1), 3, 5) == [places(0, 0, 1)[place] for place in (2, 0, 1)]
    assert draw(places(0, 0), 0, 5) == []
    assert draw([], 3, 5) == []


def test_the_first_are_shared_by_so_many_processes() -> None:
    every = places(*[0] * 100)
    random.seed(1)
    chosen = [draw(every, 10, 4) for _ in range(50)]
    assert {len(set(each)) for each in chosen} == {10}
    assert {place for each in chosen for place in each} == set(every[:40])


def test_high_priorities_are_taken_before_others_are_drawn() -> None:
    every = places(2, 0, 1, *[0] * 50)
    random.seed(1)
    assert {place[1] for place in draw(every, 5, 3)} >= {"2/0", "1/2"}
    assert {place[1] for place in draw(every, 2, 3)} == {"2/0", "1/2"}
    assert keys.priority(every[0][0]) == 2
