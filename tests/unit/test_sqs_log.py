"""The log of the SQS store: one order of all events, made afterwards by any number of processes, of which some die."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from msgspec import msgpack

from asyncjobs.backends.sqs import keys, log, log_head
from asyncjobs.backends.sqs.removal import Removal
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Update
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import BodyEvent, EventPage, JobEvent
from tests.conformance.support import FATAL, SUCCESS, new, progress
from tests.unit.sqs_lag import LaggingClient
from tests.unit.sqs_support import Process, World, Worlds, until_it_dies

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tables_in_second")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def page(process: Process, after: str | None = None, limit: int = 1000, **of: str | None) -> EventPage:
    asked: dict[str, Any] = {"job_id": None, "group": None} | of
    return await process.log.read(after, limit=limit, **asked)


async def everything(process: Process, after: str | None = None, limit: int = 1000, **of: str | None) -> list[JobEvent]:
    """Read to the end, page by page."""
    found: list[JobEvent] = []
    while True:
        read = await page(process, after, limit, **of)
        assert len(read.events) <= limit
        assert read.events or read.end
        found += read.events
        after = read.cursor
        if read.end:
            return found


def named(events: Sequence[JobEvent]) -> list[tuple[str, int]]:
    return [(event.job_id, event.seq) for event in events]


def each_once(events: Sequence[JobEvent], jobs: int) -> None:
    """Assert that there are the events of so many jobs, those of each from 1 on in order, and that cursors grow."""
    by_job: dict[str, list[int]] = {}
    for event in events:
        by_job.setdefault(event.job_id, []).append(event.seq)
    assert len(by_job) == jobs
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_job.values()), by_job
    cursors = [int(event.cursor) for event in events]
    assert cursors == sorted(set(cursors))


async def unlogged(table: World) -> list[str]:
    """Return the jobs that stand in the index of those with events that are not in the log."""
    return [item["id"] for item in (await table.items()).values() if "gp" in item]


def said(count: int, size: int = 0) -> list[BodyEvent]:
    return [progress(i, message=f"{i}" + "x" * size) for i in range(count)]


# -- one process


async def test_own_events_have_the_order_in_which_they_were_written(table: World) -> None:
    process = table.process()
    live: list[JobEvent] = []
    process.listeners.add(live.extend)
    await process.submit(new("child", "parent"), new("parent"), new("skipped", "child"), new("alone"))
    await process.start("parent")
    await process.cancel("alone")
    await process.say("parent", *said(3))
    await process.end("parent", FATAL)
    await process.retry("parent")
    found = await everything(process)
    assert named(found) == named(live)
    assert [event.data for event in found] == [event.data for event in live]
    assert await unlogged(table) == []


async def test_nothing_is_written_when_everything_is_in_the_log(table: World) -> None:
    process = table.process()
    await process.submit(new("a", group="g"), new("b"))
    await process.log.last_cursor()
    writes = process.client.writes
    for of in (page(process), page(process, job_id="a"), page(process, group="g")):
        assert (await of).end
    assert await process.log.append() == 0
    assert process.client.writes == writes


async def test_notes_that_another_process_has_made_are_not_made_again(table: World) -> None:
    one, other = table.process(), table.process()
    await one.submit(*(new(f"j{i}", group="g") for i in range(20)))
    await one.log.last_cursor()
    await other.submit(new("a"))
    before = other.client.writes
    assert len(await everything(other)) == 21
    assert other.client.writes == before + 2, "its page, and its note"


async def test_a_page_of_many_jobs_is_divided(table: World) -> None:
    process = table.process()
    await process.submit(*(new(f"j{i}") for i in range(250)))
    found = await everything(process, limit=1000)
    each_once(found, 250)
    assert [event.job_id for event in found] == [f"j{i}" for i in range(250)]
    assert int(found[-1].cursor) == 3 * 1024 + 52


async def test_long_ids_and_groups_have_room(table: World) -> None:
    process = table.process()
    ids = [f"{i}" + "🎬" * 500 for i in range(120)]
    await process.submit(*(new(job_id, group=job_id) for job_id in ids))
    each_once(await everything(process), 120)
    assert named(await everything(process, group=ids[70])) == [(ids[70], 1)]
    assert named(await everything(process, job_id=ids[119])) == [(ids[119], 1)]


# -- many events of one job


async def test_many_events_of_a_body_are_read_in_pages_without_reading_all(table: World) -> None:
    process = table.process()
    await process.submit(new("a"), new("b"))
    await process.start("a")
    for _ in range(4):
        await process.say("a", *said(700, 100))
    found = await everything(process, limit=400, job_id="a")
    assert len(found) == 2802
    each_once(found, 1)
    assert [event.data["message"][:3].rstrip("x") for event in found[2:]] == [str(i) for i in range(700)] * 4
    reader = table.process()
    middle = await page(reader, found[1500].cursor, 10, job_id="a")
    assert named(middle.events) == named(found[1501:1511])
    assert reader.client.read < 500_000, "of 4 chunks of 150 kB, which take a third more on the way, it needs one"


async def test_an_event_that_is_larger_than_an_item_comes_back(table: World) -> None:
    process = table.process()
    await process.submit(new("a"))
    await process.start("a")
    large = {"blob": "ä" * 900_000, "n": 1}
    await process.say("a", BodyEvent("log", large, 1), *said(2))
    await process.say("a", *[BodyEvent("log", {"blob": "y" * 50_000, "i": i}, 1) for i in range(100)])
    found = await everything(table.process(), job_id="a")
    each_once(found, 1)
    assert found[2].data == large
    assert [event.data["i"] for event in found[5:]] == list(range(100))
    assert {len(event.data["blob"]) for event in found[5:]} == {50_000}


async def test_a_page_of_large_events_ends_early(table: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_SIZE", 400_000)
    monkeypatch.setattr(log, "_SLICE", 4)
    process = table.process()
    await process.submit(new("a"))
    await process.start("a")
    await process.say("a", *[BodyEvent("log", {"blob": "y" * 50_000, "i": i}, 1) for i in range(40)])
    first = await page(process, job_id="a")
    assert not first.end
    assert len(first.events) < 15
    assert named(await everything(process, job_id="a")) == [("a", seq) for seq in range(1, 43)]


async def test_what_cannot_be_read_is_marked_and_leaves_no_hole(table: World) -> None:
    process = table.process()
    await process.submit(new("a"))
    await process.start("a")
    await process.say("a", *said(4, 300))
    await process.say("a", BodyEvent("log", {"blob": "y" * 100_000}, 1))
    row = await process.row("a")
    assert row is not None
    await process.table.write(Update(keys.row("a"), set={"lg[1]": b"\xc1"}))
    await process.table.write(Update((row.partition, keys.chunk(3)), set={"ev[2]": msgpack.encode([5, "log"])}))
    parts = [key for key in await table.items() if key[0] == row.partition and key[1].startswith("V#")]
    await process.table.delete_many(parts)
    found = await everything(process)
    assert named(found) == [("a", seq) for seq in range(1, 8)]
    marked = {event.seq: event.data["unreadable"] for event in found if "unreadable" in event.data}
    assert list(marked) == [2, 5, 7]
    assert "event (" in marked[2]
    assert "event data (" in marked[7]


# -- several processes


async def test_of_several_writers_and_appenders_every_event_is_in_the_log_once(aws: Worlds) -> None:
    table = await aws.new(shards=3)
    processes = [table.process() for _ in range(4)]
    appenders = [table.process() for _ in range(3)]
    over = anyio.Event()

    async def write(process: Process, name: str) -> None:
        for i in range(8):
            first, second = f"{name}{i}", f"{name}{i}-then"
            await process.submit(new(first), new(second, first, group="g"))
            await process.start(first)
            await process.say(first, *said(3, 100))
            await process.end(first, SUCCESS)
            await page(process, job_id=second)

    async def append(process: Process) -> None:
        while not over.is_set():
            await process.log.append()

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as writing:
            for place, process in enumerate(processes):
                writing.start_soon(write, process, f"w{place}-")
            for process in appenders:
                tasks.start_soon(append, process)
        over.set()
    reader = table.process()
    found = await everything(reader, limit=7)
    each_once(found, 64)
    assert len(found) == 4 * 8 * (6 + 1)
    assert await unlogged(table) == []
    for place in range(0, len(found), 17):
        assert await everything(reader, found[place].cursor) == found[place + 1 :]
    assert await everything(reader, limit=3, group="g") == [event for event in found if event.group == "g"]


async def test_an_event_comes_behind_those_of_dependencies_that_others_wrote(table: World) -> None:
    one, two, three = (table.process() for _ in range(3))
    await one.submit(new("a"), new("b", "a"), new("c", "b"), new("d", "c?"))
    await two.run("a", outcome=SUCCESS)
    await one.run("b", outcome=FATAL)  # skips c
    await three.run("d", outcome=SUCCESS)
    found = named(await everything(three, job_id="d"))
    every = named(await everything(three))
    assert found == [("d", 1), ("d", 2), ("d", 3)]
    for first, second in ((("a", 3), ("b", 2)), (("b", 3), ("c", 2)), (("c", 2), ("d", 2))):
        assert every.index(first) < every.index(second)
    each_once(await everything(one), 4)


async def test_what_others_wrote_comes_behind_own_events_that_decided_it(table: World) -> None:
    one, other = table.process(), table.process()
    await one.submit(new("a"), new("b", "a"), new("c", "b"), new("x"))
    await one.run("x", outcome=SUCCESS)
    await one.run("a", outcome=SUCCESS)
    await other.run("b", outcome=SUCCESS)
    await one.run("c", outcome=SUCCESS)
    every = named(await everything(one))
    for first, second in ((("x", 3), ("a", 2)), (("a", 3), ("b", 2)), (("b", 3), ("c", 2))):
        assert every.index(first) < every.index(second)
    each_once(await everything(other), 4)


async def test_own_events_whose_answers_were_lost_come_behind_those_that_decided_them(table: World) -> None:
    """This process learns by reading that it has done these: as of what others wrote, it knows no order of them."""
    process = table.process()
    await process.submit(new("p"), new("q"), new("a", "p", "q?", require=1), new("b", "a"))
    await process.run("p", outcome=SUCCESS)
    await process.start("a")
    notify, process.transitions.notify = process.transitions.notify, lambda events: None
    await process.end("a", SUCCESS)
    await process.start("b")
    process.transitions.notify = notify
    await process.end("b", SUCCESS)
    await process.run("q", outcome=SUCCESS)
    every = named(await everything(process))
    for first, second in ((("p", 3), ("a", 2)), (("a", 3), ("b", 2)), (("a", 2), ("q", 3))):
        assert every.index(first) < every.index(second)
    each_once(await everything(process), 4)


async def history(process: Process) -> None:
    await process.submit(*(new(f"j{i}", group="g") for i in range(3)), new("child", "j0", "j1?"))
    await process.run("j0", outcome=SUCCESS)
    await process.start("j1")
    await process.say("j1", *said(5, 200))


async def append_twice(appender: Process, writer: Process) -> None:
    await appender.log.append()
    await writer.say("j1", *said(2))
    await appender.log.append()


async def complete(process: Process, found: Sequence[JobEvent]) -> None:
    """Assert that these are all events of all jobs."""
    rows = await process.rows(*{event.job_id for event in found})
    each_once(found, len(rows))
    assert len(found) == sum(row.state.seq for row in rows.values())


@pytest.mark.parametrize("pages_in_row", [30, 1])
async def test_an_appender_may_die_at_any_of_its_writes(
    aws: Worlds, monkeypatch: pytest.MonkeyPatch, pages_in_row: int
) -> None:
    monkeypatch.setattr(log_head, "_IN_ROW", pages_in_row)
    died, at = True, 0
    while died:
        at += 1
        table = await aws.new()
        writer, appender, other = table.process(), table.process(at), table.process()
        await history(writer)

        died = await until_it_dies(append_twice(appender, writer))
        await writer.end("j1", SUCCESS)
        await writer.start("j2")
        found = await everything(other, limit=5)
        assert {event.job_id for event in found} == {"j0", "j1", "j2", "child"}
        await complete(other, found)
        reader = table.process()
        assert await everything(reader) == await everything(writer) == found
        for job_id in ("j0", "j1", "child"):
            assert await everything(reader, job_id=job_id) == [event for event in found if event.job_id == job_id]
        assert await everything(reader, group="g") == [event for event in found if event.group == "g"]
        assert await unlogged(table) == []
    assert at >= 10


async def test_of_two_that_append_the_same_one_wins_and_the_other_goes_on(table: World) -> None:
    writer, first = table.process(), table.process()
    await history(writer)

    async def meanwhile(number: int) -> None:
        if number == 1:  # the page of the second one is about to be put
            assert await first.log.append() == 12
            await writer.run("j2", outcome=SUCCESS)

    second = table.process(meanwhile=meanwhile)
    assert named(await everything(second, job_id="j2")) == [("j2", 1), ("j2", 2), ("j2", 3)]
    await complete(writer, await everything(writer))
    assert [event.seq for event in await everything(writer) if event.job_id == "j2"] == [1, 2, 3]


@pytest.mark.parametrize("of", [{}, {"job_id": "a"}, {"group": "g"}])
async def test_a_reader_for_whom_another_process_appends_gets_that_too(
    table: World, monkeypatch: pytest.MonkeyPatch, of: dict[str, str]
) -> None:
    writer, appender, reader = table.process(), table.process(), table.process()
    await writer.submit(new("a", group="g"))
    missing = reader.log._append_missing

    async def appended_meanwhile(row: Row | None, group: str | None) -> int:
        await appender.log.append()
        return await missing(row, group)

    monkeypatch.setattr(reader.log, "_append_missing", appended_meanwhile)
    read = await page(reader, **of)
    assert (named(read.events), read.end) == ([("a", 1)], True)


@pytest.mark.parametrize("of", [{}, {"group": "g"}, {"job_id": "a"}])
async def test_a_reader_does_not_wait_until_others_have_stopped_writing(
    table: World, monkeypatch: pytest.MonkeyPatch, of: dict[str, str]
) -> None:
    writer, reader = table.process(), table.process()
    await writer.submit(new("a", group="g"))
    await writer.start("a")
    missing = reader.log._append_missing
    looks = 0

    async def written_meanwhile(row: Row | None, group: str | None) -> int:
        nonlocal looks
        looks += 1
        if looks <= 20:
            await writer.say("a", *said(1))
        return await missing((await reader.row("a")) if row is not None else None, group)

    monkeypatch.setattr(reader.log, "_append_missing", written_meanwhile)
    first = await page(reader, **of)
    assert first.events
    assert not first.end
    assert looks < 5, "for as long as others write"
    rest = await everything(reader, first.cursor, **of)
    assert [event.seq for event in (*first.events, *rest)] == list(range(1, 23))


async def test_a_job_in_many_pages_is_read_from_any_of_them(table: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_head, "_IN_ROW", 3)
    process = table.process()
    await process.submit(new("a", group="g"), new("b"))
    await process.start("a")
    for _ in range(13):
        await process.say("a", *said(1))
        await process.log.append()
    await process.end("a", SUCCESS)
    found = await everything(process)
    mine = [event for event in found if event.job_id == "a"]
    assert len(mine) == 16
    row = await process.row("a")
    assert row is not None
    assert len(row.pages) <= 3
    reader = table.process()
    for place, event in enumerate(found):
        behind = [each for each in mine if each in found[place + 1 :]]
        assert await everything(reader, event.cursor, limit=9, job_id="a") == behind
    assert await everything(reader, limit=3, group="g") == mine


async def test_the_end_of_a_long_log_is_found_without_walking_over_it(table: World) -> None:
    process = table.process()
    await process.submit(new("a"))
    await process.start("a")
    for _ in range(40):
        await process.say("a", *said(1))
        await process.log.append()
    other = table.process()
    assert await other.log.last_cursor() == await process.log.last_cursor()
    assert other.client.reads <= 14
    reads = other.client.reads
    await other.log.last_cursor()
    assert other.client.reads == reads + 2, "the index, and whether there is another page"


async def test_a_reader_of_a_job_gets_what_another_process_has_just_written(table: World) -> None:
    one, two = table.process(), table.process()
    await one.submit(new("a", group="g"))
    assert (await page(two, job_id="a")).end
    await one.start("a")
    assert named((await page(two, job_id="a")).events) == [("a", 1), ("a", 2)]
    await one.end("a", SUCCESS)
    assert named((await page(two, group="g")).events) == [("a", 1), ("a", 2), ("a", 3)]
    assert (await page(two, group="nobody")).events == []
    assert (await page(two, job_id="a", group="nobody")).events == []
    assert (await page(two, job_id="nobody")).end


async def test_a_process_notices_what_others_write_once(table: World) -> None:
    one, two = table.process(), table.process()
    await one.submit(new("a"))
    assert not await one.log.head_moved(), "it wrote that itself"
    await two.log.head_moved()
    assert not await two.log.head_moved()
    await one.start("a")
    assert await two.log.head_moved(), "it stands in the index, and is appended"
    assert not await two.log.head_moved()
    await one.end("a", SUCCESS)
    await one.log.append()
    assert await two.log.head_moved(), "there is another page"
    assert not await two.log.head_moved()


# -- cursors


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", " 1", "²", "9" * 30, "1027", "2049", "3000"])
async def test_what_is_no_cursor_of_this_log_is_refused(table: World, cursor: str) -> None:
    process = table.process()
    await process.submit(new("a"), new("b"))
    with pytest.raises(ConfigurationError):
        await page(process, cursor)


async def test_a_cursor_of_another_process_is_known_here(table: World) -> None:
    one, two = table.process(), table.process()
    await one.submit(new("a"))
    await two.log.last_cursor()
    cursor = None
    for place in range(5):
        await one.submit(new(f"j{place}"))
        cursor = await one.log.last_cursor()
    assert (await page(two, cursor)).events == []
    assert (await page(two, "1024")).events != [], "the beginning of a page"


# -- removed jobs


async def test_a_removed_job_leaves_a_hole_and_readers_below_it_are_told(table: World) -> None:
    process = table.process()
    removal = Removal(process.transitions, process.known, process.log.highest)
    await process.submit(new("a", group="g"), new("b", group="g"))
    behind = (await page(process)).cursor
    await process.run("a", outcome=SUCCESS)
    last_of_a = (await everything(process))[-1].cursor
    await process.submit(new("c", group="g"))
    assert await removal.remove(["a"], components=False) == ["a"]
    assert named(await everything(process, limit=1)) == [("b", 1), ("c", 1)]
    assert named(await everything(process, group="g")) == [("b", 1), ("c", 1)]
    assert await everything(process, job_id="a") == []
    assert (await page(process, behind)).lost
    assert not (await page(process, last_of_a)).lost
    assert not (await page(process)).lost
    await process.submit(new("a"))
    assert named(await everything(process, job_id="a")) == [("a", 1)]
    assert named(await everything(table.process())) == [("b", 1), ("c", 1), ("a", 1)]


async def test_what_was_removed_before_it_was_in_the_log_counts_as_lost(table: World) -> None:
    one, two = table.process(), table.process()
    removal = Removal(two.transitions, two.known, two.log.highest)
    start = await two.log.last_cursor()
    await one.submit(new("a"))
    await one.run("a", outcome=SUCCESS)
    assert await removal.remove(["a"], components=False) == ["a"]
    read = await page(one, start)
    assert (read.events, read.end, read.lost) == ([], True, True)


async def test_an_index_that_lags_hides_others_for_a_while_and_own_events_never(table: World) -> None:
    one, two = table.process(), table.process()
    lagging = LaggingClient(two.client, two.table.name)
    two.table._client = lagging
    await lagging.freeze()
    await one.submit(new("theirs"))
    await two.submit(new("own"))
    first = await page(two)
    assert named(first.events) == [("own", 1)]
    assert named((await page(two, job_id="theirs")).events) == [("theirs", 1)], "a job is asked for by its row"
    lagging.thaw()
    await one.start("theirs")
    assert named(await everything(two, first.cursor)) == [("theirs", 1), ("theirs", 2)]
    await lagging.freeze()
    each_once(await everything(two), 2)
