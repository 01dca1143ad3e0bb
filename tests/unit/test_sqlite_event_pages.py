"""Pages of the event log of a real file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asyncjobs.backends.sqlite.numbers import keep_mark
from asyncjobs.backends.sqlite.queries import Queries
from asyncjobs.backends.sqlite.readers import Readers
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import EventPage, JobEvent, JobStatus
from tests.unit.sqlite_store import Store, new_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(SQLiteConfig(db_path=tmp_path / "jobs.db")) as store:
        yield store


@pytest.fixture
async def queries(store: Store, tmp_path: Path) -> AsyncIterator[Queries]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db")
    readers = Readers(config, config.file)
    yield Queries(readers)
    await readers.close()


def positions(page: EventPage) -> list[int]:
    return [int(event.cursor) for event in page.events]


async def test_an_empty_log(queries: Queries) -> None:
    assert await queries.read_events() == EventPage([], "0", end=True)
    assert await queries.read_events("0", job_id="nobody") == EventPage([], "0", end=True)
    assert await queries.last_cursor() == "0"


async def test_an_event_is_read_as_it_was_written(store: Store, queries: Queries) -> None:
    store.job(1)
    store.event(1, 1, "submitted", status=0, at=2_500_000, attempt=0, grp="g")
    store.event(1, 2, "output", {"text": "é", "raw": b"\x00"}, attempt=1)
    first, second = (await queries.read_events()).events
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=2.5)
    assert first == JobEvent("1", "job-1", 1, "submitted", at, 0, JobStatus.PENDING, "g", {})
    assert (second.type, second.status, second.group, second.attempt) == ("output", None, None, 1)
    assert second.data == {"text": "é", "raw": b"\x00"}


@pytest.fixture
def three_jobs(store: Store) -> None:
    """Positions: job 1 (group g) has 1, 4, 7 …, job 2 (group g) has 2, 5, 8 …, job 3 has 3, 6, 9 …, up to 30."""
    groups = {1: "g", 2: "g", 3: None}
    for n, group in groups.items():
        store.job(n, grp=group, seq=10)
    for seq in range(1, 11):
        for n, group in groups.items():
            store.event(n, seq, grp=group)


@pytest.mark.usefixtures("three_jobs")
@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, list(range(1, 31))),
        ({"job_id": "job-2"}, list(range(2, 31, 3))),
        ({"group": "g"}, [n for n in range(1, 31) if n % 3]),
        ({"job_id": "job-1", "group": "g"}, list(range(1, 31, 3))),
        ({"job_id": "job-3", "group": "g"}, []),
        ({"job_id": "nobody"}, []),
        ({"group": "nobody"}, []),
    ],
    ids=str,
)
@pytest.mark.parametrize("limit", [1, 4, 10, 500])
async def test_pages_give_each_event_once_and_end_at_the_end_of_the_log(
    queries: Queries, filters: dict[str, str], wanted: list[int], limit: int
) -> None:
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = await queries.read_events(cursor, limit=limit, **filters)
        assert len(page.events) <= limit
        found += positions(page)
        cursor = page.cursor
        if page.end:
            break
        assert positions(page)[-1] == int(page.cursor)
    assert found == wanted
    assert cursor == "30"


@pytest.mark.usefixtures("three_jobs")
@pytest.mark.parametrize("after", range(31))
async def test_a_job_is_read_on_from_any_cursor(queries: Queries, after: int) -> None:
    page = await queries.read_events(str(after), job_id="job-1")
    assert positions(page) == [n for n in range(1, 31, 3) if n > after]


@pytest.mark.usefixtures("three_jobs")
async def test_what_comes_later_is_found_from_the_last_cursor(store: Store, queries: Queries) -> None:
    last = await queries.last_cursor()
    assert last == "30"
    assert (await queries.read_events(last, job_id="job-1")).events == []
    store.event(3, 11)
    store.event(1, 11)
    page = await queries.read_events(last, job_id="job-1")
    assert (positions(page), page.cursor) == ([32], "32")


@pytest.mark.usefixtures("three_jobs")
@pytest.mark.parametrize("cursor", ["x", "", "-1", "1.0", "²", "31", str(2**63), 7])
async def test_what_is_no_cursor_of_this_log_is_refused(queries: Queries, cursor: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await queries.read_events(cursor)
    assert caught.value.field == "after"


def pruned(store: Store, upto: int) -> None:
    """As retention leaves it: events are gone, and the highest of them is noted."""
    keep_mark(store.connection, "event")
    store.connection.execute("DELETE FROM events WHERE position <= ? AND job != 2", (upto,))
    store.connection.execute("UPDATE marks SET value = ? WHERE name = 'pruned'", (upto,))


@pytest.mark.usefixtures("three_jobs")
@pytest.mark.parametrize("filters", [{}, {"job_id": "job-2"}, {"group": "g"}, {"group": "nobody"}], ids=str)
@pytest.mark.parametrize("limit", [2, 500])
async def test_who_comes_back_from_before_what_was_removed_is_told(
    store: Store, queries: Queries, filters: dict[str, str], limit: int
) -> None:
    pruned(store, 12)
    for after, lost in {None: False, "0": True, "7": True, "11": True, "12": False, "13": False, "30": False}.items():
        page = await queries.read_events(after, limit=limit, **filters)
        assert page.lost is lost, after


@pytest.mark.usefixtures("three_jobs")
async def test_a_page_with_a_loss_gives_what_is_left(store: Store, queries: Queries) -> None:
    pruned(store, 12)
    page = await queries.read_events("4", limit=4)
    assert (positions(page), page.cursor, page.end, page.lost) == ([5, 8, 11, 13], "13", False, True)
    assert not (await queries.read_events(page.cursor)).lost
    pruned(store, 30)
    page = await queries.read_events("13", job_id="job-1")
    assert (positions(page), page.cursor, page.end, page.lost) == ([], "30", True, True)


@pytest.mark.usefixtures("three_jobs")
async def test_a_file_that_notes_nothing_removed_has_lost_nothing(store: Store, queries: Queries) -> None:
    store.connection.execute("DELETE FROM marks WHERE name = 'pruned'")
    page = await queries.read_events("0", limit=3)
    assert (positions(page), page.lost) == ([1, 2, 3], False)


async def test_a_page_has_room_for_an_event(queries: Queries) -> None:
    with pytest.raises(ConfigurationError):
        await queries.read_events(limit=0)
