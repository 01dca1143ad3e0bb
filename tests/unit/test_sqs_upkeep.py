"""A process that may only read: it follows the log, to which others append, and has no part in what all do for all."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor
from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.config import DaemonConfig
from asyncjobs.exceptions import BackendError
from asyncjobs.models import EventPage, JobEvent, Outcome, OutcomeKind
from asyncjobs.requests import JobQuery
from tests import sqs_server
from tests.conformance.support import SUCCESS, Store, new, progress
from tests.sqs_faults import ReadOnly
from tests.sqs_wrapped_store import WrappedSQSBackend
from tests.unit.sqs_support import Process, World, Worlds, until_it_dies

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


OF: list[dict[str, str]] = [{}, {"job_id": "a"}, {"group": "g"}]


async def page(process: Process, after: str | None = None, limit: int = 1000, **of: str) -> EventPage:
    asked: dict[str, Any] = {"job_id": None, "group": None} | of
    return await process.log.read(after, limit=limit, **asked)


def named(events: Sequence[JobEvent]) -> list[tuple[str, int]]:
    return [(event.job_id, event.seq) for event in events]


def meanwhile(reader: Process, monkeypatch: pytest.MonkeyPatch, act: Callable[[int], Awaitable[object]]) -> list[float]:
    """Have something happen in place of each pause of a reader, which is given its number; return the pauses."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await act(len(pauses))

    monkeypatch.setattr(reader.transitions.clock, "pause", pause)
    return pauses


async def nothing(_: int) -> None:
    pass


# -- the log


async def test_a_reader_sees_each_event_once_and_in_order_while_others_append(aws: Worlds) -> None:
    table = await aws.new(shards=2)
    writers, reader = [table.process() for _ in range(2)], table.reader()
    over = anyio.Event()

    async def write(process: Process, name: str) -> None:
        for i in range(8):
            await process.submit(new(f"{name}{i}", group="g"), new(f"{name}{i}-then", f"{name}{i}"))
            await process.run(f"{name}{i}", outcome=SUCCESS)
            await process.log.append()

    async def follow(found: list[JobEvent], **of: str) -> None:
        after, ended = None, False
        while not ended:
            ended = over.is_set()
            read = await page(reader, after, 7, **of)
            found += read.events
            after = read.cursor
            ended &= read.end and not read.events

    every: list[JobEvent] = []
    group: list[JobEvent] = []
    one: list[JobEvent] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, every)
        tasks.start_soon(lambda: follow(group, group="g"))
        tasks.start_soon(lambda: follow(one, job_id="x3"))
        async with anyio.create_task_group() as writing:
            for process, name in zip(writers, "xy", strict=True):
                writing.start_soon(write, process, name)
        await writers[0].log.last_cursor()
        over.set()
    complete = (await page(writers[1])).events
    assert len(complete) == 2 * 8 * (3 + 1)
    assert every == complete
    assert group == [event for event in complete if event.group == "g"]
    assert one == [event for event in complete if event.job_id == "x3"]
    assert 1 <= len(reader.client.refused) <= 3, "what each of its calls tried before any of them was refused"


@pytest.mark.parametrize("of", OF)
async def test_a_page_whose_writer_has_died_is_read_without_the_notes_that_lead_to_it(
    table: World, of: dict[str, str]
) -> None:
    writer, reader = table.process(), table.reader()
    await writer.submit(new("a", group="g"))
    await writer.log.append()
    await writer.start("a")
    writer.client.die_at(1)
    assert await until_it_dies(writer.log.append()), "its last write was that of the page"
    writer = table.process()
    row = await writer.row("a")
    assert row is not None
    assert (row.logged, len(row.pages)) == (1, 1)
    first = await page(reader, **of)
    assert (named(first.events), first.end) == ([("a", 1), ("a", 2)], True)
    await writer.end("a", SUCCESS)
    await writer.log.append()
    assert named((await page(reader, first.cursor, **of)).events) == [("a", 3)]
    assert named((await page(table.reader(), **of)).events) == [("a", 1), ("a", 2), ("a", 3)]


@pytest.mark.parametrize("of", OF[1:])
async def test_a_log_does_not_end_for_a_reader_before_the_last_event_of_what_it_asked_for(
    table: World, monkeypatch: pytest.MonkeyPatch, of: dict[str, str]
) -> None:
    writer, reader = table.process(), table.reader()
    await writer.submit(new("a", group="g"))
    await writer.log.append()
    await writer.run("a", outcome=SUCCESS)

    async def append(pauses: int) -> None:
        if pauses == 3:
            await writer.log.append()

    pauses = meanwhile(reader, monkeypatch, append)
    first = await page(reader, **of)
    assert (named(first.events), first.end, pauses) == ([("a", 1)], False, []), "what there is, at once"
    second = await page(reader, first.cursor, **of)
    assert (named(second.events), second.end, len(pauses)) == ([("a", 2), ("a", 3)], True, 3)


async def test_a_reader_goes_without_what_nobody_appends_after_a_while_and_says_so_once(
    table: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = table.process(), table.reader()
    await writer.submit(new("a"))
    pauses = meanwhile(reader, monkeypatch, nothing)
    with caplog.at_level(logging.WARNING):
        read = await page(reader, job_id="a")
        assert (read.events, read.end, sum(pauses)) == ([], True, 15)
        assert (await page(reader, job_id="a")).end
        assert sum(pauses) == 15, "it does not wait for them again"
    (said,) = caplog.messages
    assert "leaves upkeep to others" in said
    assert "asyncjobs aws policy" in said
    await writer.log.append()
    await writer.start("a")
    assert named((await page(reader, job_id="a")).events) == [("a", 1)]
    assert not (await page(reader, "1025", job_id="a")).events
    assert sum(pauses) == 30, "one that appended may do so again"


async def test_a_reader_notices_what_others_have_appended_and_that_alone(table: World) -> None:
    writer, reader = table.process(), table.reader()
    assert not await reader.log.head_moved()
    await writer.submit(new("a"))
    assert not await reader.log.head_moved()
    await writer.log.append()
    assert await reader.log.head_moved()
    assert not await reader.log.head_moved()
    assert await reader.log.last_cursor() == "1025"


async def test_a_permission_that_is_granted_is_noticed_within_a_minute(table: World) -> None:
    writer, reader = table.process(), table.reader()
    await writer.submit(new("a"))
    assert (await page(reader)).events == []
    assert len(reader.client.refused) == 1
    table.clock.advance(59)
    assert (await page(reader)).events == []
    assert len(reader.client.refused) == 1
    reader.table._client = reader.client.client
    table.clock.advance(2)
    assert named((await page(reader)).events) == [("a", 1)]


async def test_what_is_not_upkeep_is_refused_and_names_the_policy(table: World) -> None:
    reader = table.reader()
    for _ in range(2):
        with pytest.raises(BackendError, match="is not permitted") as refused:
            await reader.submit(new("a"))
        assert refused.value.code == "permission"
        assert "asyncjobs aws policy" in (refused.value.hint or "")


# -- a whole store


def read_only(clients: Clients) -> None:
    clients.dynamodb, clients.sqs = ReadOnly(clients.dynamodb), ReadOnly(clients.sqs)


READS: dict[str, Callable[[JobBackend], Awaitable[Any]]] = {
    "get_jobs": lambda store: store.get_jobs(["a"]),
    "get_results": lambda store: store.get_results(["a"]),
    "get_attempts": lambda store: store.get_attempts("a"),
    "find_jobs": lambda store: store.find_jobs(JobQuery()),
    "find_ids": lambda store: store.find_ids("a"),
    "get_call": lambda store: store.get_call("a"),
    "count_jobs": lambda store: store.count_jobs(),
    "count_jobs of a group": lambda store: store.count_jobs("g"),
    "list_groups": lambda store: store.list_groups(),
    "get_durations": lambda store: store.get_durations("app:work"),
    "has_unfinished": lambda store: store.has_unfinished("g"),
    "get_dependencies": lambda store: store.get_dependencies(["a", "b"]),
    "get_dependent_jobs": lambda store: store.get_dependent_jobs(["a"]),
    "get_ready_jobs": lambda store: store.get_ready_jobs(),
    "get_limit": lambda store: store.get_limit("key"),
    "get_lanes": lambda store: store.get_lanes(),
    "read_events": lambda store: store.read_events(),
    "read_events of a group": lambda store: store.read_events(group="g"),
    "last_cursor": lambda store: store.last_cursor(),
    "read_steps": lambda store: store.read_steps("a"),
    "count_steps": lambda store: store.count_steps("a"),
    "workers": lambda store: store.workers(),
}


async def test_every_question_is_answered_as_to_a_worker() -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        await store.submit(new("a", group="g"), new("b", "a", group="g", limit=("key", 1)))
        hand = await store.hand()
        await hand.claim()
        await hand.keep("a", step=b"1")
        await hand.say("a", progress(1))
        await hand.end("a", Outcome(OutcomeKind.SUCCEEDED, value=b"1"))
        async with store.second() as worker:
            wanted = {name: await read(worker) for name, read in READS.items()}
        reader = WrappedSQSBackend(config, clock=store.clock, wrap=read_only)
        await reader.open()
        try:
            found = {name: await read(reader) for name, read in READS.items()}
            assert found == wanted
            assert {name for name in dir(reader) if name.startswith(("get_", "find_", "count_", "read_"))} <= {
                *(name.split(" ")[0] for name in READS),
                *("find_job", "get_job", "get_result", "find_gates", "read_step"),
            }
            assert await reader.health()
        finally:
            await reader.close()


async def test_a_reader_has_no_part_in_what_is_due() -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        dead = await store.hand()
        await store.submit(new("a"), new("later", run_at=store.clock.now() + 10_000_000))
        await dead.claim()
        store.clock.advance(1000)
        reader = WrappedSQSBackend(config, clock=store.clock, wrap=read_only)
        await reader.open()
        try:
            assert await reader.reap() == []
            assert await reader.end_due_gates() == []
            assert not await reader.wait(0)
        finally:
            await reader.close()
        assert await store.backend.reap() == ["a"]


def double(number: int) -> int:
    return 2 * number


async def test_a_program_follows_a_job_and_a_group_that_another_program_runs(caplog: pytest.LogCaptureFixture) -> None:
    config = sqs_server.config()
    watching = JobProcessor(WrappedSQSBackend(config, wrap=read_only), enable_daemon=False)
    working = JobProcessor(SQSBackend(config), daemon=DaemonConfig(num_workers=2))
    async with working, watching:
        jobs = [await working.submit_job(double, number, group="g") for number in range(3)]
        with anyio.fail_after(50):
            one = [event async for event in watching.stream_job(jobs[0].id)]
            group = [event async for event in watching.stream_group("g")]
            frames = [frame async for frame in watching.subscribe_sse(group="g")]
            resumed = [event async for event in watching.stream_group("g", group[3].cursor)]
            assert await watching.get_result(jobs[2].id) == 4
        assert [event.type for event in one] == ["submitted", "started", "completed"]
        assert sorted(event.type for event in group) == ["completed"] * 3 + ["started"] * 3 + ["submitted"] * 3
        assert resumed == group[4:]
        assert sum(frame.startswith(b"id: ") or b"\nid: " in frame for frame in frames) >= 1
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in said if "leaves upkeep to others" in line]) == 1
    assert not [line for line in said if "not permitted" in line and "leaves upkeep" not in line]


async def test_a_stream_of_everything_resumes_at_any_event() -> None:
    async with JobProcessor(SQSBackend(sqs_server.config())) as jp:
        await (await jp.submit_job(double, 1))
        with anyio.fail_after(20):
            seen: list[JobEvent] = []
            async for event in jp.stream_all():
                seen.append(event)
                if len(seen) == 3:
                    break
            for place in range(2):
                async for event in jp.stream_all(seen[place].cursor):
                    assert event == seen[place + 1]
                    break
