"""What a worker has in hand is written down before it is taken, however much it is, wherever the worker stops."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from asyncjobs.backends.sqs import hands, keys
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.hands import Hand
from asyncjobs.backends.sqs.table import Item, Table, Update
from asyncjobs.exceptions import BackendConnectionError
from tests import sqs_server
from tests.conformance.support import IN_PROGRESS, PENDING, SUCCESS, Store, new
from tests.conformance.support import Hand as Player
from tests.sqs_faulty_store import WrappedSQSBackend
from tests.unit.sqs_support import Dying, Process, World, Worlds, until_it_dies

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tables_in_second")]

WORKER = "w1-x"
LEASE = 10_000.0
"""Seconds: no heartbeat comes by itself."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the item of a worker hold three short ids, and a part four."""
    monkeypatch.setattr(hands, "_IN_ITEM", 6)
    monkeypatch.setattr(hands, "_IN_PART", 28)


async def registered(process: Process) -> Hand:
    item = {"beat": 0, "hand": 0, "held": [], "at": 0}
    await process.table.write(Update((keys.WORKERS, WORKER), new=True, set=item))
    return Hand(1, "one")


async def item_of(process: Process) -> Item:
    key = (keys.WORKERS, WORKER)
    return (await process.table.get([key]))[key]


async def gone(process: Process) -> Item:
    """Mark the worker as gone, as a reaper does."""
    item = await process.table.write(Update((keys.WORKERS, WORKER), set={"gone": 1}, present=("pk",)))
    assert isinstance(item, dict)
    return item


async def parts(process: Process) -> list[str]:
    return [item["sk"] for item in await process.table.query_all(keys.hand(WORKER))]


async def holds(process: Process, hand: Hand, ids: Collection[str]) -> bool:
    hand.running = dict.fromkeys(ids, 1)
    return await hands.write_down(process.table, WORKER, hand, 5)


def ids_of(first: int, end: int) -> list[str]:
    return [f"{place:02d}" for place in range(first, end)]


# -- how it is spread


async def test_ten_thousand_jobs_with_the_longest_ids_are_in_one_hand(table: World) -> None:
    process = table.process()
    hand = await registered(process)
    ids = [f"{place:05d}" + "🎬" * 507 for place in range(10_000)]
    assert await holds(process, hand, ids)
    item = await item_of(process)
    assert len(item["parts"]) == -(-10_000 // (290_000 // (5 + 4 * 507 + 5)))
    assert hands.how_many(item) == 10_000
    assert await hands.held_by(table.process().table, item) == ids
    writes = process.client.writes
    assert await holds(process, hand, [*ids, "one more"])
    assert process.client.writes == writes + 1, "no part changes"
    assert (await item_of(process))["held"] == ["one more"]
    await hands.forget(process.table, WORKER)
    assert list(await table.items()) == [keys.META]


async def test_a_few_jobs_take_one_write_and_no_part(table: World) -> None:
    process = table.process()
    hand = await registered(process)
    for count in (0, 1, 200, 3):
        writes = process.client.writes
        assert await holds(process, hand, [f"{place:036d}" for place in range(count)])
        assert process.client.writes == writes + 1
    assert await parts(process) == []
    assert "parts" not in await item_of(process)


@pytest.mark.usefixtures("small")
async def test_a_part_is_kept_while_half_of_it_is_in_hand_and_then_deleted(table: World) -> None:
    process = table.process()
    hand = await registered(process)
    await holds(process, hand, ids_of(0, 8))
    first = set(await parts(process))
    assert len(first) == 2
    await holds(process, hand, [*ids_of(2, 8), "a"])
    assert set(await parts(process)) == first
    assert (await item_of(process))["held"] == ["a"]
    await holds(process, hand, [*ids_of(3, 8), "a"])
    assert (await parts(process), (await item_of(process))["held"]) == ([*first & set(hand.parts)], ["03", "a"])
    await holds(process, hand, [])
    assert await parts(process) == []
    item = await item_of(process)
    assert (item["held"], "parts" in item, "many" in item) == ([], False, False)


# -- wherever it stops


async def life(process: Process, hand: Hand, taken: list[str]) -> None:
    """Hold more and less; ``taken`` is what has been taken and has not ended."""
    for ids in (ids_of(0, 3), ids_of(0, 8), ids_of(6, 17), ids_of(10, 12), [], ids_of(20, 30), ids_of(29, 30)):
        taken[:] = [job_id for job_id in taken if job_id in ids]
        assert await holds(process, hand, ids)
        taken[:] = ids


@pytest.mark.usefixtures("small")
async def test_whatever_write_is_the_last_of_a_worker_what_it_may_have_taken_is_found(aws: Worlds) -> None:
    at, died = 0, True
    while died:
        at += 1
        table = await aws.new()
        process = table.process()
        hand = await registered(process)
        process.client.die_at(at)
        taken: list[str] = []
        died = await until_it_dies(life(process, hand, taken))
        reaper = table.process()
        found = await hands.held_by(reaper.table, await gone(reaper))
        assert set(taken) <= set(found), at
        await hands.forget(reaper.table, WORKER)
        assert list(await table.items()) == [keys.META]
    assert at > 12


@pytest.mark.usefixtures("small")
async def test_a_reaper_that_comes_between_any_two_writes_finds_what_was_taken_and_no_more_is(aws: Worlds) -> None:
    at, reaped = 0, True
    while reaped:
        at += 1
        table, reaped = await aws.new(), False
        taken: list[str] = []
        found: list[str] = []

        async def reap(number: int, at: int = at, table: World = table, found: list[str] = found) -> None:
            nonlocal reaped
            if number == at:
                reaper, reaped = table.process(), True
                item = await gone(reaper)
                found += await hands.held_by(reaper.table, item)

        setting_up = table.process()
        hand = await registered(setting_up)
        process = table.process(meanwhile=reap)
        for ids in (ids_of(0, 3), ids_of(0, 8), ids_of(6, 17), ids_of(10, 12), []):
            taken[:] = [job_id for job_id in taken if job_id in ids]
            if not await holds(process, hand, ids):
                break
            taken[:] = ids
        if reaped:
            assert set(taken) <= set(found), at
            reaper = table.process()
            assert set(await hands.held_by(reaper.table, await item_of(reaper))) >= set(taken), "once more"
            await hands.forget(reaper.table, WORKER)
            assert not await holds(process, hand, ids_of(0, 8))
            assert list(await table.items()) == [keys.META], "it leaves nothing that nobody finds"
    assert at > 10


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("done", [True, False])
async def test_a_write_whose_answer_was_lost_loses_nothing_that_is_in_hand(
    table: World, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    process = table.process()
    hand = await registered(process)
    await holds(process, hand, ids_of(0, 8))
    write = Table.write

    async def lossy(table: Table, update: Update) -> Any:
        if done:
            await write(table, update)
        raise BackendConnectionError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", lossy)
        with pytest.raises(BackendConnectionError):
            await holds(process, hand, ids_of(4, 15))
    item = await item_of(process)
    found = set(await hands.held_by(process.table, item))
    assert found >= set(ids_of(4, 15) if done else ids_of(0, 8))
    assert await holds(process, hand, ids_of(4, 18))
    assert set(await hands.held_by(process.table, await item_of(process))) >= set(ids_of(4, 18))
    assert set(await parts(process)) == set(hand.parts)


@pytest.mark.usefixtures("small")
async def test_a_worker_that_is_refused_leaves_what_its_reaper_is_about_to_read(
    table: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, reaper = table.process(), table.process()
    hand = await registered(process)
    write = Table.write

    async def lossy(table: Table, update: Update) -> Any:
        await write(table, update)
        raise BackendConnectionError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", lossy)
        with pytest.raises(BackendConnectionError):
            await holds(process, hand, ids_of(0, 8))
    item = await gone(reaper)
    assert not await holds(process, hand, ids_of(0, 12))
    assert await hands.held_by(reaper.table, item) == ids_of(0, 8)
    assert set(await parts(reaper)) == set(item["parts"]), "the parts that nobody names are gone"


async def test_a_write_that_arrives_late_changes_nothing(table: World, monkeypatch: pytest.MonkeyPatch) -> None:
    process = table.process()
    hand = await registered(process)
    late: list[Update] = []
    write = Table.write

    async def slow(_: Table, update: Update) -> Any:
        late.append(update)
        raise BackendConnectionError("it is under way")

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", slow)
        with pytest.raises(BackendConnectionError):
            await holds(process, hand, ["a"])
    assert await holds(process, hand, ["b"])
    await write(process.table, late[0])
    assert (await item_of(process))["held"] == ["b"]


@pytest.mark.usefixtures("small")
async def test_one_that_reads_while_it_is_written_reads_it_again(table: World) -> None:
    process, reader = table.process(), table.process()
    hand = await registered(process)
    await holds(process, hand, ids_of(0, 8))
    old = await item_of(process)
    await holds(process, hand, ids_of(10, 20))
    assert await hands.held_by(reader.table, old) == ids_of(10, 20)
    await hands.forget(process.table, WORKER)
    assert await hands.held_by(reader.table, old) == [], "another process has taken everything back"


# -- a whole store


@pytest.mark.usefixtures("small")
async def test_jobs_in_parts_are_counted_finished_and_taken_back() -> None:
    config = sqs_server.config(shards=1)
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        ids = ids_of(0, 12)
        await store.submit(*(new(job_id) for job_id in ids))
        hand = await store.hand(lease=LEASE)
        assert await hand.claim() == ids
        async with store.second() as other:
            assert await other.count_jobs() == {IN_PROGRESS: 12}
            assert [worker.running for worker in await other.workers()] == [12]
            assert [job_id for job_id, _ in (await other.extend_leases(hand.id)).held] == ids
        await hand.succeed(*ids[:3])
        assert await store.lose(hand, LEASE) == ids[3:]
        assert set(await store.statuses(*ids[3:])) == {PENDING}
        second = await store.hand(lease=LEASE)
        store.clock.advance(100)
        assert await second.claim() == ids[3:]
        await store.backend.deregister_worker(second.id)
        assert set(await store.statuses(*ids[3:])) == {PENDING}
        backend: Any = store.backend
        for worker in (hand, second):
            assert await backend._parts.transitions.table.query_all(keys.hand(worker.id)) == []


async def test_others_see_that_a_worker_is_idle_with_its_next_heartbeat() -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        await store.submit(new("a"), new("b"))
        hand = await store.hand(lease=LEASE)
        assert await hand.claim() == ["a", "b"]
        async with store.second() as other:

            async def seen() -> list[int]:
                return [worker.running for worker in await other.workers()]

            await hand.succeed("a")
            assert (await hand.beat()).held == (("b", 1),)
            assert await seen() == [1]
            await hand.succeed("b")
            assert (await hand.beat()).alive
            assert await seen() == [0]
            await store.submit(new("c"))
            assert await hand.claim() == ["c"]
            assert await seen() == [1]
            await hand.succeed("c")
            await other.deregister_worker(hand.id)
        assert not (await hand.beat()).alive, "it was found dead, and what it has in hand is not written any more"


async def work(player: Player, ids: Sequence[str]) -> None:
    """Claim in two steps, with ends between them."""
    first = await player.claim(6)
    await player.ends(dict.fromkeys(first[:4], SUCCESS))
    await player.claim(len(ids))
    await player.ends(dict.fromkeys(first[4:], SUCCESS))


@pytest.mark.usefixtures("small")
async def test_whatever_write_is_the_last_of_a_daemon_its_jobs_are_taken_back() -> None:
    at, died = 0, True
    while died:
        at += 3
        config = sqs_server.config(shards=1)
        clients: list[Dying] = []

        def wrap(opened: Clients, clients: list[Dying] = clients) -> None:
            clients.append(Dying(opened.dynamodb))
            opened.dynamodb = clients[0]

        async with Store(lambda clock, config=config: SQSBackend(config, clock=clock)) as store:
            ids = ids_of(0, 11)
            await store.submit(*(new(job_id) for job_id in ids))
            dying = WrappedSQSBackend(config, clock=store.clock, wrap=wrap)
            await dying.open()
            other, store.backend = store.backend, dying
            player = await store.hand(lease=LEASE)
            clients[0].die_at(at)
            died = await until_it_dies(work(player, ids))
            clients[0].die_at(0)
            await dying.close()
            store.backend = other
            store.clock.advance(LEASE + 1)
            await other.reap()
            assert IN_PROGRESS not in await other.count_jobs()
            store.clock.advance(100)
            second = await store.hand(lease=LEASE)
            while batch := await second.claim():
                await second.succeed(*batch)
            assert {job.status.value for job in await store.jobs()} == {"completed"}
            attempts = [len(await other.get_attempts(job_id)) for job_id in ids]
            assert max(attempts) <= 2
    assert at > 15
