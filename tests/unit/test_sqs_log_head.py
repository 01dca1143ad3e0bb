"""One of many processes puts the next page of the log, and the notes of a page are made once."""

from __future__ import annotations

import anyio
import pytest

from asyncjobs.backends.sqs import log_appender, log_head, log_pages
from tests.conformance.support import new
from tests.unit.sqs_support import World, until_it_dies
from tests.unit.test_sqs_log import each_once, everything, unlogged

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_notes_of_a_page_are_made_once_though_others_wait_for_them(table: World) -> None:
    """They leave it to its writer, as long as that makes some; else each would write what the others write."""
    writer, others = table.process(), [table.process() for _ in range(3)]
    await writer.submit(*(new(f"j{place:02d}") for place in range(60)))
    for place, other in enumerate(others):
        await other.submit(new(f"other{place}"))
    async with anyio.create_task_group() as tasks:

        async def meanwhile(number: int) -> None:
            if number == 3:  # the page is there, and a note
                for other in others:
                    other.client.writes = 0
                    tasks.start_soon(other.log.append)

        writer.client.meanwhile(meanwhile)
        await writer.log.append()
    written = writer.client.writes + sum(other.client.writes for other in others)
    pages, most_tries = 4, 3 + 2 + 1
    assert written <= 63 + pages + most_tries + log_head._AT_ONCE
    each_once(await everything(table.process()), 63)
    assert await unlogged(table) == []


async def test_the_notes_of_a_page_whose_writer_died_are_made_by_all_who_come_next(table: World) -> None:
    writer, others = table.process(dies_at=0), [table.process() for _ in range(3)]
    await writer.submit(*(new(f"j{place:02d}") for place in range(60)))
    for place, other in enumerate(others):
        await other.submit(new(f"other{place}"))
    writer.client.die_at(10)
    assert await until_it_dies(writer.log.append())
    async with anyio.create_task_group() as tasks:
        for other in others:
            other.client.writes = 0
            tasks.start_soon(other.log.append)
    shares = [other.client.writes for other in others]
    assert sum(shares) <= 2 * 60, "each makes some of those that are left, and not all of them"
    each_once(await everything(table.process()), 63)
    assert await unlogged(table) == []


async def test_of_many_that_look_the_one_that_put_the_last_page_puts_the_next(table: World) -> None:
    every = [table.process() for _ in range(4)]
    for process in every:
        await process.log.head_moved(1.0)
    await every[0].submit(new("first"))
    assert not await every[0].log.head_moved(1.0), "it has seen no page come, and puts one"
    assert await unlogged(table) == []
    for place, process in enumerate(every):
        await process.submit(new(f"j{place}"))
        await process.log.head_moved(1.0)
    assert await unlogged(table) == ["j0", "j1", "j2", "j3"], "each has only just seen where the log ends"
    table.clock.advance(4)
    for process in (every[2], every[0], every[1], every[3]):
        await process.log.head_moved(1.0)
    assert await unlogged(table) == []
    puts = 1
    for _ in range(8):
        await every[1].submit(new(f"more{puts}"))
        table.clock.advance(1)
        puts += 1
        for process in every:
            await process.log.head_moved(1.0)
        assert await unlogged(table) == []
    assert every[2].log._head.known[1], "and no other one"
    await every[1].submit(new("last"))
    assert await every[3].log.head_moved(1.0) is False
    assert await every[3].log.head_moved() is True, "who has no patience does it at once"


async def test_what_has_no_room_in_a_page_does_not_wait_for_the_next_turn(
    table: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the log of many processes would fall behind: a page has 99 jobs, and turns come once a second."""
    for module in (log_appender, log_pages):
        monkeypatch.setattr(module, "MOST_JOBS", 4)
    writer, other = table.process(), table.process()
    await writer.submit(*(new(f"j{place:02d}") for place in range(18)))
    assert await other.log.head_moved(1.0)
    assert await unlogged(table) == []
    each_once(await everything(writer), 18)
