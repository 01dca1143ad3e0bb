"""What people who look at a store ask: ids that begin so, groups and how far they are, how long a function takes."""

from __future__ import annotations

import pytest

from asyncjobs.backends.base import StoredCall
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import GroupProgress, Handle
from asyncjobs.requests import JobQuery
from tests.conformance.support import COMPLETED, FAILED, FATAL, IN_PROGRESS, PENDING, RELEASED, Hand, Store, new

pytestmark = pytest.mark.anyio

BAD_LIMITS = [0, -1, 1001, True, 1.5, None]


# -- ids

ODD = ["%", "_", "*", "?", "[a]", "\\", "'", "page", "page%1", "page_1", "Page", "pagé", "page/1", "page/10", "page/2"]
"""Characters that mean something to LIKE, to GLOB, or to SQL."""
EDGES = ["\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ud7ffx", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]
"""Where UTF-8 becomes longer, around the surrogates, and the end."""
ENDS = ["a\U0010ffff", "a\U0010ffff\U0010ffff", "a\U0010ffffz", "b", "\U0010ffff\U0010ffffz", "🎬1", "🎬2"]
IDS = [*ODD, *EDGES, *ENDS]


@pytest.mark.parametrize("prefix", ["", *IDS, "a", "p", "pag", "page/", "page/3", "🎬", "\ud800", "a\udfff", "x\0"])
async def test_ids_that_begin_with_any_text(store: Store, prefix: str) -> None:
    await store.submit(*map(new, IDS))
    wanted = sorted(job_id for job_id in IDS if job_id.startswith(prefix))
    assert list(await store.backend.find_ids(prefix, limit=1000)) == wanted
    assert list(await store.backend.find_ids(prefix, limit=3)) == wanted[:3]


async def test_twenty_ids_unless_more_are_asked_for(store: Store) -> None:
    assert list(await store.backend.find_ids("")) == []
    await store.submit(*(new(f"j{i:02}") for i in range(30)))
    assert list(await store.backend.find_ids("j")) == [f"j{i:02}" for i in range(20)]


@pytest.mark.parametrize("limit", BAD_LIMITS)
async def test_a_limit_that_cannot_be_is_refused(store: Store, limit: int) -> None:
    for ask in (store.backend.find_ids, store.backend.get_durations):
        with pytest.raises(ConfigurationError) as refused:
            await ask("x", limit)
        assert refused.value.field == "limit"
    with pytest.raises(ConfigurationError):
        await store.backend.list_groups(limit=limit)


# -- groups


async def test_groups_come_by_name_with_their_counts(store: Store) -> None:
    hand = await store.hand()
    assert list(await store.backend.list_groups()) == []
    await store.submit(
        new("a", group="movie"),
        new("b", "a", group="movie"),
        new("c", group="movie"),
        new("d", group="album"),
        new("e"),
    )
    await hand.claim(2)
    await hand.fail("a")
    assert list(await store.backend.list_groups()) == [
        GroupProgress("album", 1, {PENDING: 1}),
        GroupProgress("movie", 3, {FAILED: 1, "skipped": 1, IN_PROGRESS: 1}),
    ]
    for group in await store.backend.list_groups():
        assert group.counts == await store.backend.count_jobs(group.group)


async def test_pages_of_groups(store: Store) -> None:
    names = sorted([*(f"g{i:02}" for i in range(9)), "", "G", "é", "\ud7ff", "\ue000", "🎬", "\U0010ffff", "%", "a'b"])
    await store.submit(*(new(f"{i}/{k}", group=name) for i, name in enumerate(names) for k in range(1 + i % 3)))
    seen: list[GroupProgress] = []
    while page := await store.backend.list_groups(seen[-1].group if seen else None, limit=4):
        assert len(page) <= 4
        seen += page
    assert [group.group for group in seen] == names
    assert [group.total for group in seen] == [1 + i % 3 for i in range(len(names))]
    assert list(await store.backend.list_groups()) == seen


async def test_groups_behind_a_name_that_none_has(store: Store) -> None:
    await store.submit(new("a", group="a"), new("b", group="b"))
    assert [group.group for group in await store.backend.list_groups("aa")] == ["b"]
    assert [group.group for group in await store.backend.list_groups("")] == ["a", "b"]
    assert list(await store.backend.list_groups("b")) == []
    with pytest.raises(ConfigurationError):
        await store.backend.list_groups("\ud800")


# -- durations


async def take(store: Store, hand: Hand, job_id: str, seconds: float) -> None:
    """Claim this job, which is the next one, and complete it after so long."""
    assert await hand.claim(1) == [job_id]
    store.clock.advance(seconds)
    await hand.succeed(job_id)


async def test_durations_of_a_function_newest_first(store: Store) -> None:
    hand = await store.hand(functions=("app:f", "app:g"))
    await store.submit(*(new(f"f{i}", function="app:f", queue="x" if i % 2 else "y") for i in range(4)))
    await store.submit(new("g", function="app:g"), new("later", function="app:f"))
    for i, seconds in enumerate([1.5, 2, 0, 4]):
        await take(store, hand, f"f{i}", seconds)
    await take(store, hand, "g", 9)
    assert list(await store.backend.get_durations("app:f")) == [4.0, 0.0, 2.0, 1.5]
    assert list(await store.backend.get_durations("app:f", 2)) == [4.0, 0.0]
    assert list(await store.backend.get_durations("app:g")) == [9.0]
    for nobody in ("app:nobody", "\ud800", ""):
        assert list(await store.backend.get_durations(nobody)) == []


async def test_the_order_of_durations_is_that_of_submission(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", priority=1))
    await take(store, hand, "b", 2)
    await take(store, hand, "a", 1)
    assert list(await store.backend.get_durations("app:work")) == [2.0, 1.0]


async def test_only_the_last_attempt_counts_and_only_when_it_completed(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("released"), new("failed"), new("cancelled"), new("running"))
    await hand.claim(1)
    store.clock.advance(60)
    await hand.end("released", RELEASED)
    await take(store, hand, "released", 3)
    await hand.claim()
    store.clock.advance(5)
    await store.backend.cancel_jobs(["cancelled"])
    await hand.end("failed", FATAL)
    await hand.end("cancelled", FATAL)
    assert list(await store.backend.get_durations("app:work")) == [3.0]
    await store.backend.retry_job("failed")
    await take(store, hand, "failed", 7)
    assert list(await store.backend.get_durations("app:work")) == [7.0, 3.0]


async def test_no_job_took_less_than_nothing(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    store.clock.jump(-3600)
    await hand.succeed("a")
    assert list(await store.backend.get_durations("app:work")) == [0.0]


async def test_only_the_last_completed_jobs_are_looked_at(store: Store) -> None:
    hand = await store.hand(functions=("app:f", "app:g"))
    await store.submit(*(new(f"f{i}", function="app:f") for i in range(2)))
    for i in range(2):
        await take(store, hand, f"f{i}", 1 + i)
    most = store.backend.bounds.durations
    await store.submit(*(new(f"g{i}", function="app:g") for i in range(most)))
    assert list(await store.backend.get_durations("app:f")) == [2.0, 1.0], "what waits takes no place"
    await hand.succeed(*await hand.claim(most - 2))
    assert list(await store.backend.get_durations("app:f")) == [2.0, 1.0]
    await hand.succeed(*await hand.claim(1))
    assert list(await store.backend.get_durations("app:f")) == [2.0]
    await hand.succeed(*await hand.claim(1))
    assert list(await store.backend.get_durations("app:f")) == []
    assert len(await store.backend.get_durations("app:g", 1000)) == min(most, 1000)


# -- calls


async def test_a_call_is_shown_as_it_is_stored(store: Store) -> None:
    call = bytes(range(256)) * 1000
    await store.submit(new("a", function="app:f", call=call, metadata={"x": 1}), new("b", "a", call=b"", injects=True))
    assert await store.backend.get_call("a") == StoredCall("app:f", call, False)
    assert await store.backend.get_call("b") == StoredCall("app:work", b"", True)
    for nobody in ("nobody", "", "\ud800", "a\0"):
        assert await store.backend.get_call(nobody) is None


# -- the log


async def test_nothing_is_lost_while_nothing_was_removed(store: Store) -> None:
    hand = await store.hand()
    start = await store.backend.last_cursor()
    await store.submit(new("a", group="g"))
    await hand.run("a")
    assert await store.status("a") is COMPLETED
    for after in (None, start, await store.backend.last_cursor()):
        for limit in (1, 500):
            assert not (await store.backend.read_events(after, limit=limit)).lost


async def test_a_handle_is_an_id_wherever_one_is_taken(store: Store) -> None:
    await store.submit(new("a"), new("b"))
    backend = store.backend
    ids = [Handle("a"), Handle("b")]
    one = ids[0]
    job = await backend.get_job(one)
    assert job is not None
    assert job.id == "a"
    assert [found.id for found in await backend.get_jobs(ids)] == ["a", "b"]
    assert set(await backend.get_results(ids)) == {"a", "b"}
    assert await backend.get_attempts(one) == []
    assert await backend.get_call(one) is not None
    assert await backend.get_dependencies(ids) == []
    assert await backend.get_dependent_jobs(ids) == []
    assert await backend.find_ids(one) == ["a"]
    assert [found.id for found in await backend.find_jobs(JobQuery(ids=ids))] == ["a", "b"]
    assert {event.job_id for event in (await backend.read_events(job_id=one)).events} == {"a"}
    assert await backend.mark_job_ready(ids) == ["a", "b"]
    assert set(await backend.cancel_jobs(ids)) == {"a", "b"}
    await backend.retry_job(one)
    assert set(await backend.cancel_jobs([one], descendants=True)) == {"a"}
    assert set(await backend.remove_jobs(ids)) == {"a", "b"}
