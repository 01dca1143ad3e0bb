"""Rule 4.12: finished jobs go by whole components, by retention or by hand; what is gone leaves nothing behind."""

from __future__ import annotations

import anyio
import pytest

from asyncjobs.backends.base import JobBackend
from asyncjobs.exceptions import ConfigurationError, JobNotFoundError, JobStateError, UnknownDependencyError
from asyncjobs.requests import JobQuery
from tests.conformance.support import (
    COMPLETED,
    FAILURE,
    FATAL,
    IN_PROGRESS,
    PENDING,
    SKIPPED,
    Hand,
    Store,
    new,
    progress,
)

pytestmark = pytest.mark.anyio

DAY = 86_400


@pytest.fixture
async def hand(store: Store) -> Hand:
    return await store.hand(lease=1000 * DAY)


async def prune(store: Store, seconds: float = DAY, limit: int = 1000) -> int:
    """Remove what ended longer ago than that."""
    return await store.backend.prune(store.clock.now() - round(seconds * 1_000_000), limit)


async def ids(store: Store) -> list[str]:
    return [job.id for job in await store.jobs()]


# -- by age


async def test_a_job_goes_when_it_ended_long_enough_ago(store: Store, hand: Hand) -> None:
    await store.submit(new("a"))
    await hand.run("a")
    store.clock.advance(DAY)
    assert await prune(store) == 0, "not before, but at this very moment"
    store.clock.advance(0.001)
    assert await prune(store) == 1
    assert await ids(store) == []
    assert await prune(store) == 0


async def test_it_goes_however_it_ended(store: Store, hand: Hand) -> None:
    await store.submit(new("done"), new("failed"), new("cancelled"), new("skipped", "failed"), new("never"))
    await store.backend.cancel_jobs(["cancelled", "never"])
    await hand.claim()
    await hand.succeed("done")
    await hand.fail("failed")
    assert await store.status("skipped") == SKIPPED
    store.clock.advance(2 * DAY)
    assert await prune(store) == 5


async def test_what_has_not_ended_stays_however_old(store: Store, hand: Hand) -> None:
    await store.submit(new("runs", priority=1), new("waits"), new("delayed", delay=10 * DAY * 1_000_000))
    await hand.claim(1)
    store.clock.advance(5 * DAY)
    assert await prune(store) == 0
    assert await ids(store) == ["runs", "waits", "delayed"]


async def test_nothing_of_it_is_left(store: Store, hand: Hand) -> None:
    await store.submit(
        new("a", group="g", metadata={"x": 1}, limit=("k", 1)),
        new("b", "a", group="g"),
        new("other", group="other"),
    )
    await hand.claims()
    await hand.say("a", progress(1, 2))
    await hand.succeed("a", "other")
    await hand.run("b", outcome=FATAL)
    store.clock.advance(2 * DAY)
    await store.submit(new("new"))
    assert await prune(store) == 3
    backend = store.backend
    assert await backend.get_jobs(["a", "b", "other"]) == []
    assert await backend.get_results(["a", "b"]) == {}
    assert await backend.get_attempts("b") == []
    assert await backend.get_call("a") is None
    assert await backend.get_dependencies(["b"]) == []
    assert await backend.get_dependent_jobs(["a"]) == []
    assert await backend.find_jobs(JobQuery(group="g")) == []
    assert await backend.find_ids("") == ["new"]
    assert await backend.list_groups() == []
    assert await backend.count_jobs() == {PENDING: 1}
    assert await backend.get_durations("app:work") == []
    assert [event.job_id for event in await store.events()] == ["new"]
    assert await store.events("a") == []
    assert await store.events(group="g") == []


async def test_its_id_is_free_again(store: Store, hand: Hand) -> None:
    await store.submit(new("a"))
    await hand.run("a")
    store.clock.advance(2 * DAY)
    await prune(store)
    await store.submit(new("a", call=b"other"))
    assert [(event.seq, event.type) for event in await store.events("a")] == [(1, "submitted")]
    await hand.run("a")
    assert await store.status("a") == COMPLETED


# -- whole components


async def test_a_component_goes_as_a_whole(store: Store, hand: Hand) -> None:
    await store.submit(new("a"), new("b", "a"), new("c", "a?"), new("d", "b", "c", require=1))
    await hand.run("a")
    await hand.run("b", "c")
    store.clock.advance(2 * DAY)
    assert await prune(store) == 0, "d has not ended"
    await hand.run("d")
    assert await prune(store) == 0, "d has just ended"
    store.clock.advance(2 * DAY)
    assert await prune(store, limit=1) == 4, "a limit does not cut a component"


async def test_a_child_and_its_parent_belong_together(store: Store, hand: Hand) -> None:
    await store.submit(new("parent"))
    await hand.claim()
    await store.submit(new("parent/1"), parent=hand.held["parent"])
    await hand.succeed("parent")
    store.clock.advance(2 * DAY)
    assert await prune(store) == 0
    await hand.run("parent/1")
    store.clock.advance(2 * DAY)
    assert await prune(store) == 2


async def test_one_that_stays_does_not_keep_others(store: Store, hand: Hand) -> None:
    await store.submit(*(new(f"old{i}") for i in range(5)), new("x"), new("y", "x"), *(new(f"z{i}") for i in range(5)))
    await hand.ends(dict.fromkeys(await hand.claim(), FATAL))
    await store.backend.retry_job("x")
    store.clock.advance(2 * DAY)
    assert await prune(store) == 10
    assert await ids(store) == ["x", "y"]


async def test_the_first_that_ended_go_first_until_there_are_enough(store: Store, hand: Hand) -> None:
    await store.submit(*(new(f"j{i}") for i in range(6)))
    await hand.claim()
    for i in (3, 1, 5, 0, 2, 4):
        await hand.succeed(f"j{i}")
        store.clock.advance(1)
    store.clock.advance(2 * DAY)
    assert await prune(store, limit=2) == 2
    assert await ids(store) == ["j0", "j2", "j4", "j5"]
    assert await prune(store, limit=3) == 3
    assert await ids(store) == ["j4"]


async def test_many_that_stay_do_not_hide_one_that_goes(store: Store, hand: Hand) -> None:
    count = store.many(700)
    pairs = [job for i in range(count) for job in (new(f"a{i}"), new(f"b{i}", f"a{i}"))]
    await store.submit(*pairs, new("last"))
    await hand.ends(dict.fromkeys(await hand.claim(1000), FATAL))
    for i in range(count):
        await store.backend.cancel_jobs([f"a{i}"])
    await store.submit(*(new(f"c{i}", f"b{i}?") for i in range(count)))
    store.clock.advance(2 * DAY)
    while not await prune(store):
        pass
    assert "last" not in await ids(store)
    assert len(await ids(store)) == 3 * count


async def test_a_large_component_goes_at_once(store: Store, hand: Hand) -> None:
    """More than one transaction and one page take."""
    count, parents = store.many(2500), store.many(900)
    await store.submit(
        new("hub"), *(new(f"j{i}", "hub?") for i in range(count)), new("end", *(f"j{i}?" for i in range(parents)))
    )
    await store.backend.cancel_jobs(["hub", *(f"j{i}" for i in range(count)), "end"])
    await store.submit(new("apart"))
    store.clock.advance(2 * DAY)
    assert await prune(store, limit=10) == count + 2
    assert await ids(store) == ["apart"]
    assert [event.job_id for event in await store.events()] == ["apart"]


# -- what comes in between


async def test_a_retry_that_comes_first_keeps_all(store: Store, hand: Hand) -> None:
    await store.submit(new("a"), new("b", "a"))
    await hand.run("a", outcome=FATAL)
    store.clock.advance(2 * DAY)
    await store.backend.retry_job("a")
    assert await prune(store) == 0
    assert await store.statuses("a", "b") == [PENDING, PENDING]


async def test_a_retry_that_comes_later_finds_nothing(store: Store, hand: Hand) -> None:
    await store.submit(new("a"), new("b", "a"))
    await hand.run("a", outcome=FATAL)
    store.clock.advance(2 * DAY)
    await prune(store)
    with pytest.raises(JobNotFoundError):
        await store.backend.retry_job("a")


async def test_a_job_that_depends_on_it_keeps_it(store: Store, hand: Hand) -> None:
    await store.submit(new("a"))
    await hand.run("a")
    store.clock.advance(2 * DAY)
    await store.submit(new("late", "a"))
    assert await prune(store) == 0
    await hand.run("late")
    assert await store.edges("late") == {"a": 1}


async def test_nobody_can_depend_on_what_is_gone(store: Store, hand: Hand) -> None:
    await store.submit(new("a"))
    await hand.run("a")
    store.clock.advance(2 * DAY)
    await prune(store)
    with pytest.raises(UnknownDependencyError):
        await store.submit(new("late", "a"))


async def test_an_outcome_that_comes_after_all_is_refused(store: Store, hand: Hand) -> None:
    await store.submit(new("a", retry=new("x").retry))
    await hand.claim()
    old = hand.held["a"]
    await hand.fail("a")
    store.clock.advance(2 * DAY)
    await prune(store)
    await store.submit(new("b"))
    hand.held["a"] = old
    before = await store.dump()
    await hand.end("a", FAILURE)
    assert not await hand.say("a", progress(1))
    assert await store.dump() == before


# -- readers of the log


async def test_a_reader_below_what_was_removed_is_told(store: Store, hand: Hand) -> None:
    await store.submit(new("a"))
    behind = (await store.backend.read_events()).cursor
    await hand.run("a")
    store.clock.advance(2 * DAY)
    await store.submit(new("b"))
    ahead = await store.backend.last_cursor()
    assert not (await store.backend.read_events(behind)).lost
    await prune(store)
    page = await store.backend.read_events(behind)
    assert page.lost
    assert [event.job_id for event in page.events] == ["b"]
    assert not (await store.backend.read_events(ahead)).lost
    assert not (await store.backend.read_events()).lost, "from the beginning is what there is"


async def test_the_log_goes_on_where_it_was(store: Store, hand: Hand) -> None:
    await store.submit(new("a"))
    await hand.run("a")
    end = await store.backend.last_cursor()
    store.clock.advance(2 * DAY)
    await prune(store)
    assert await store.backend.last_cursor() == end
    page = await store.backend.read_events()
    assert (page.events, page.cursor, page.end) == ([], end, True)
    await store.submit(new("b"))
    first = int((await store.events())[0].cursor)
    assert first == int(end) + 1 if store.has("dense_log") else first > int(end)


async def test_pages_have_no_holes_where_events_were_removed(store: Store, hand: Hand) -> None:
    await store.submit(*(new(f"j{i}") for i in range(10)))
    await store.backend.cancel_jobs([f"j{i}" for i in range(0, 10, 2)])
    store.clock.advance(2 * DAY)
    await prune(store)
    read: list[str] = []
    cursor = None
    while True:
        page = await store.backend.read_events(cursor, limit=2)
        assert len(page.events) == 2 or page.end
        read += [event.job_id for event in page.events]
        cursor = page.cursor
        if page.end:
            break
    assert read == ["j1", "j3", "j5", "j7", "j9"]


# -- by hand


async def test_finished_jobs_are_removed_by_hand_at_once(store: Store, hand: Hand) -> None:
    await store.submit(new("a"), new("b", "a"), new("c"))
    await hand.run("a", "c")
    await hand.run("b")
    assert await store.backend.remove_jobs(["b", "nobody", "a"]) == ["a", "b"]
    assert await ids(store) == ["c"]
    assert await store.backend.remove_jobs(["a"]) == []


async def test_what_has_not_ended_is_not_removed_by_hand(store: Store, hand: Hand) -> None:
    await store.submit(new("done"), new("a"), new("b", "a"))
    await hand.claim()
    await hand.succeed("done")
    before = await store.dump()
    for components in (False, True):
        with pytest.raises(JobStateError) as caught:
            await store.backend.remove_jobs(["done", "b", "a"], components=components)
        assert (caught.value.job_id, caught.value.status) == ("a", IN_PROGRESS), "the first one by submission"
        assert caught.value.hint
    assert await store.dump() == before, "nothing was removed"


async def test_a_part_of_a_graph_is_not_removed_by_hand(store: Store, hand: Hand) -> None:
    await store.submit(new("a"), new("b", "a"), new("c", "b"))
    for job_id in "abc":
        await hand.run(job_id)
    for named, missing in ((["a", "b"], "c"), (["b", "c"], "a"), (["a", "c"], "b")):
        with pytest.raises(JobStateError, match="connected with jobs that were to be removed") as caught:
            await store.backend.remove_jobs(named)
        assert (caught.value.job_id, caught.value.status) == (missing, COMPLETED)
    assert await store.backend.remove_jobs(["b"], components=True) == ["a", "b", "c"]
    assert await ids(store) == []


async def test_a_job_submitted_from_inside_is_part_of_the_graph(store: Store, hand: Hand) -> None:
    await store.submit(new("parent"))
    await hand.claim()
    await store.submit(new("child"), parent=hand.held["parent"])
    await hand.succeed("parent")
    with pytest.raises(JobStateError) as caught:
        await store.backend.remove_jobs(["parent"], components=True)
    assert (caught.value.job_id, caught.value.status) == ("child", PENDING)
    await hand.run("child")
    with pytest.raises(JobStateError, match="'parent' is completed"):
        await store.backend.remove_jobs(["child"])
    assert await store.backend.remove_jobs(["child"], components=True) == ["parent", "child"]


@pytest.mark.needs("shared")
async def test_two_that_prune_at_once_remove_each_job_once(store: Store, hand: Hand) -> None:
    count = store.many(300)
    graph = [job for i in range(count) for job in (new(f"a{i}"), new(f"b{i}", f"a{i}?"))]
    await store.submit(*graph, new("stays"))
    await store.backend.cancel_jobs([job.id for job in graph])
    store.clock.advance(2 * DAY)
    moment = store.clock.now() - DAY * 1_000_000
    removed: list[int] = []

    async def to_the_end(backend: JobBackend) -> None:
        while count := await backend.prune(moment, 50):
            removed.append(count)

    async with store.second() as other, anyio.create_task_group() as tasks:
        tasks.start_soon(to_the_end, store.backend)
        tasks.start_soon(to_the_end, other)
    await to_the_end(store.backend)  # they may have given up where the other one had just removed
    assert sum(removed) == 2 * count
    assert await ids(store) == ["stays"]


# -- stores that are not files


async def test_a_store_without_a_file_says_that_it_cannot_be_copied(store: Store, kind: str) -> None:
    if "backup" in store.backend.capabilities:
        pytest.skip("it can")
    with pytest.raises(ConfigurationError, match="not kept in a file"):
        await store.backend.backup("copy.db")
    with pytest.raises(ConfigurationError, match="not kept in a file"):
        await store.backend.compact()


# -- how many were removed


class Removals:
    """What a store must say of how many were removed: the number, or always that it cannot tell without waiting."""

    def __init__(self, store: Store) -> None:
        self._known = store.backend.removals() is not None

    def check(self, backend: JobBackend, count: int) -> None:
        assert backend.removals() == (count if self._known else None)


async def test_how_many_jobs_were_ever_removed_is_known_however_they_went(store: Store, hand: Hand) -> None:
    removals = Removals(store)
    removals.check(store.backend, 0)
    await store.submit(new("a"), new("b", "a"), new("c"))
    await hand.run("a", "c")
    await hand.run("b")
    removals.check(store.backend, 0)  # what ended is there
    assert await store.backend.remove_jobs(["c", "unknown"]) == ["c"]
    removals.check(store.backend, 1)
    with pytest.raises(JobStateError):
        await store.backend.remove_jobs(["a"])
    removals.check(store.backend, 1)  # refused
    store.clock.advance(2 * DAY)
    assert await prune(store) == 2
    removals.check(store.backend, 3)
    await store.submit(new("c"))
    removals.check(store.backend, 3)


@pytest.mark.needs("shared")
async def test_removals_by_another_backend_object_count(store: Store, hand: Hand) -> None:
    removals = Removals(store)
    await store.submit(new("a"))
    await hand.run("a")
    async with store.second() as other:
        await other.remove_jobs(["a"])
        removals.check(store.backend, 1)
        removals.check(other, 1)
