"""Jobs that are looked for in a store of SQS: what an index that lags behind hides, and what a page costs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from asyncjobs.backends.bounds import Bounds
from asyncjobs.backends.sqs import counting, finding, keys
from asyncjobs.core.state import SECOND
from asyncjobs.models import GroupProgress
from tests.conformance.support import CANCELLED, COMPLETED, FAILED, FATAL, IN_PROGRESS, PENDING, SUCCESS, new
from tests.unit.sqs_asking import Asked, Asker, asked

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> AsyncIterator[Asked]:
    async with asked() as opened:
        yield opened


# -- an index that lags


async def test_what_this_process_did_is_found_although_the_index_lags(store: Asked) -> None:
    mine = store.process()
    await mine.submit(new("old"))
    await mine.lagging.freeze()
    await mine.submit(new("a"), new("b"), new("c"))
    await mine.cancel("old", "b")
    await mine.run("c", outcome=SUCCESS)
    assert await mine.found() == ["old", "a", "b", "c"]
    assert await mine.found(order="newest") == ["c", "b", "a", "old"]
    assert await mine.found(status=PENDING) == ["a"]
    assert await mine.found(status=[CANCELLED, COMPLETED]) == ["old", "b", "c"]
    assert await mine.finding.ids("", 10) == ["a", "b", "c", "old"]
    assert await mine.finding.durations("app:work", 10) == [0.0]
    assert await mine.finding.count(None) == {PENDING: 1, CANCELLED: 2, COMPLETED: 1}
    assert await mine.finding.unfinished(None)
    await mine.cancel("a")
    assert not await mine.finding.unfinished(None)
    assert [job.id for job in await mine.finding.ready(10)] == []


async def test_what_others_did_is_shown_as_it_is_where_the_index_has_it(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(new("a"), new("b"))
    await mine.lagging.freeze()
    await other.cancel("a")
    assert await mine.found(status=PENDING) == ["b"], "rows decide"
    assert await mine.found(status=CANCELLED) == []
    mine.lagging.thaw()
    assert await mine.found(status=CANCELLED) == ["a"]


async def test_an_entry_of_a_removed_job_is_not_one_of_the_next_job_of_that_id(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(new("a"))
    await mine.lagging.freeze()
    await other.table.delete_many([keys.row("a")])
    assert await mine.found() == await mine.finding.ids("", 10) == []
    await other.submit(new("a"))
    assert await mine.found() == [], "its entry has another number"
    mine.lagging.thaw()
    assert await mine.found() == ["a"]


async def test_counts_are_those_of_the_index_where_correcting_them_would_cost_too_much(
    store: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = store.process(), store.process()
    await mine.submit(new("first"))
    await other.submit(*(new(f"j{i}") for i in range(40)))
    await mine.submit(new("last"))
    await mine.lagging.freeze()
    await mine.cancel("first", "last")
    assert await mine.finding.count(None) == {PENDING: 40, CANCELLED: 2}
    monkeypatch.setattr(counting, "_WINDOW", 20)
    assert await mine.finding.count(None) == {PENDING: 40, CANCELLED: 2}, "no partition has more than so many"
    monkeypatch.setattr(counting, "_WINDOW", 3)
    assert await mine.finding.count(None) == {PENDING: 42}
    mine.lagging.thaw()
    assert await mine.finding.count(None) == {PENDING: 40, CANCELLED: 2}


async def test_what_lies_above_the_window_is_counted(store: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = store.process(), store.process()
    await mine.submit(new("first"))
    await other.submit(*(new(f"j{i}") for i in range(40)))
    monkeypatch.setattr(counting, "_WINDOW", 2)
    await mine.lagging.freeze()
    await mine.cancel("first")
    assert await mine.finding.count(None) == {PENDING: 40, CANCELLED: 1}


async def test_jobs_in_progress_are_counted_by_their_workers(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(new("a"), new("b"), new("c"))
    await other.start("a")
    await other.table.put_many([{"pk": keys.WORKERS, "sk": "w7-x", "held": ["a", "b", "nobody"]}])
    assert await mine.finding.count(None) == {IN_PROGRESS: 1, PENDING: 2}
    await mine.start("c")
    assert await mine.finding.count(None) == {IN_PROGRESS: 2, PENDING: 1}


# -- pages


async def pages(process: Asker, **query: object) -> list[list[str]]:
    found: list[list[str]] = []
    page = await process.page(**query)
    while True:
        found.append([job.id for job in page])
        if page.next is None:
            return found
        page = await process.page(cursor=page.next, **query)


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_a_page_ends_early_after_a_bounded_number_of_rows(
    store: Asked, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    mine, other = store.process(), store.process()
    await other.submit(*(new(f"j{i:02}", queue="odd" if i % 30 == 29 else "q") for i in range(60)))
    monkeypatch.setattr(finding, "LOOKED_AT", 20)
    wanted = [[], ["j29"], [], ["j59"]] if order == "oldest" else [["j59"], ["j29"], [], []]
    found = await pages(mine, queue="odd", order=order, limit=5)
    assert [ids for ids in found if ids] == [ids for ids in wanted if ids]
    assert 3 <= len(found) <= 4, "60 rows, 20 a page"
    reads = [keys for name, keys in mine.lagging.calls if name == "batch_get_item"]
    assert max(reads) <= 50
    assert sum(reads) == 60


async def test_a_page_reads_one_row_more_than_it_has(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(*(new(f"j{i:02}", group="g") for i in range(60)))
    for query in ({}, {"group": "g"}, {"status": PENDING}):
        mine.lagging.calls.clear()
        assert [len(page) for page in await pages(mine, limit=30, **query)] == [30, 30]
        assert [keys for name, keys in mine.lagging.calls if name == "batch_get_item"] == [31, 30]


async def test_children_come_by_pages(store: Asked) -> None:
    mine = store.process()
    await mine.submit(new("p"), new("other"))
    attempt = await mine.start("p")
    long = "x" * 1000
    for job_id in ("p/a", long, "p/c"):
        await mine.submit(new(job_id), by=attempt)
    assert await pages(mine, parent_id="p", limit=2) == [["p/a", long], ["p/c"]]
    assert await pages(mine, parent_id="p", limit=2, order="newest") == [["p/c", long], ["p/a"]]
    assert await mine.found(parent_id="\ud800") == await mine.found(group="\ud800") == []


async def test_ids_are_those_of_the_last_jobs_and_that_of_the_whole_text(
    store: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = store.process(), store.process()
    long = "old" + "x" * 1000
    await other.submit(new("old"), new("older"))
    await other.submit(new(long), new("new"))
    assert await mine.finding.ids("old", 10) == ["old", "older", long]
    monkeypatch.setattr(mine.finding, "bounds", Bounds(ids=2))
    assert await mine.finding.ids("old", 10) == ["old", long]
    assert await mine.finding.ids("", 10) == ["new", long]


async def test_durations_are_those_of_the_last_completed_jobs(store: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = store.process(), store.process()
    await other.submit(new("a"), new("b"), new("c", function="app:g"), new("d"))
    for seconds, job_id in enumerate("abc", start=1):
        await other.start(job_id)
        store.clock.advance(seconds)
        await other.end(job_id, SUCCESS)
    assert await mine.finding.durations("app:work", 10) == [2.0, 1.0]
    assert await mine.finding.durations("app:work", 1) == [2.0]
    monkeypatch.setattr(mine.finding, "bounds", Bounds(durations=2))
    assert await mine.finding.durations("app:work", 10) == [2.0]


# -- groups


async def test_a_member_whose_end_was_noted_is_not_read_again(store: Asked) -> None:
    mine = store.process()
    await mine.submit(*(new(f"j{i}", group="g") for i in range(5)))
    await mine.run("j0", outcome=SUCCESS)
    await mine.run("j1", outcome=FATAL)
    assert await mine.finding.count("g") == {COMPLETED: 1, FAILED: 1, PENDING: 3}
    mine.lagging.calls.clear()
    assert await mine.finding.count("g") == {COMPLETED: 1, FAILED: 1, PENDING: 3}
    assert mine.lagging.calls == [("query", 1), ("batch_get_item", 3)]
    assert await mine.finding.unfinished("g")
    await mine.retry("j1")
    assert await mine.finding.count("g") == {COMPLETED: 1, PENDING: 4}
    await mine.cancel("j1", "j2", "j3", "j4")
    assert not await mine.finding.unfinished("g")
    mine.lagging.calls.clear()
    assert not await mine.finding.unfinished("g")
    assert mine.lagging.calls == [("query", 1)]


async def test_an_end_is_not_noted_if_the_job_was_retried_meanwhile(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(new("a", group="g"))
    await other.run("a", outcome=FATAL)

    async def retry() -> None:
        await other.retry("a")

    mine.lagging.before = retry
    assert await mine.finding.count("g") == {FAILED: 1}, "as it was when it was read"
    assert mine.lagging.before is None
    assert await mine.finding.count("g") == {PENDING: 1}
    assert await mine.finding.unfinished("g")


async def test_groups_come_by_name_also_long_ones(store: Asked) -> None:
    mine = store.process()
    names = ["", "a", "b" * 1000, "b" * 1000 + "a", "b" * 1000 + "☃", "bc", "c" * 1000, "d", "☃" * 500, "🎬"]
    assert names == sorted(names)
    await mine.submit(*(new(str(i), group=name) for i, name in enumerate(names)))
    for after in (None, *names):
        left = names if after is None else names[names.index(after) + 1 :]
        assert [group.group for group in await mine.finding.groups(after, 1000)] == left
        assert [group.group for group in await mine.finding.groups(after, 2)] == left[:2]
    assert await mine.finding.groups("c", 1) == [GroupProgress("c" * 1000, 1, {PENDING: 1})]


async def test_a_group_whose_jobs_are_gone_is_none(store: Asked) -> None:
    mine = store.process()
    await mine.submit(new("a", group="a"), new("b", group="b", delay=SECOND))
    await mine.table.delete_many([keys.row("a")])
    assert [group.group for group in await mine.finding.groups(None, 1)] == ["b"]
    assert await mine.finding.count("a") == {}
