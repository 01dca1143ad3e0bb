"""Promise 7: the log of a job has no holes, events come with their change, and a reader sees each once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from asyncjobs.exceptions import ConfigurationError, JobProcessorError
from asyncjobs.models import JobEvent
from tests.conformance.support import (
    COMPLETED,
    FATAL,
    IN_PROGRESS,
    PENDING,
    RELEASED,
    STOPPED,
    SUCCESS,
    Store,
    new,
    progress,
)

pytestmark = pytest.mark.anyio


async def some_history(store: Store) -> None:
    """Three jobs, two groups, a retry, progress: every kind of write."""
    hand = await store.hand()
    await store.submit(new("a", group="g"), new("b", "a", group="g"), new("c", group="h"))
    await hand.claim()
    await hand.say("a", progress(1, 2), progress(2, 2))
    await hand.end("a", FATAL, (progress(3),))
    await store.backend.retry_job("a")
    await store.backend.cancel_jobs(["c"])
    await hand.end("c", SUCCESS)
    await hand.run("a")
    await hand.run("b")


async def test_seq_is_one_to_n_without_holes(store: Store) -> None:
    await some_history(store)
    for job_id in "abc":
        events = await store.events(job_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert (await store.job(job_id)).version == len(events)


async def test_every_change_is_told_with_the_status_it_leads_to(store: Store) -> None:
    await some_history(store)
    assert [(e.type, e.status) for e in await store.events("b")] == [
        ("submitted", PENDING),
        ("skipped", "skipped"),
        ("retrying", PENDING),
        ("started", IN_PROGRESS),
        ("completed", COMPLETED),
    ]
    for job_id in "abc":
        changes = [event.status for event in await store.events(job_id) if event.status is not None]
        assert changes[-1] == await store.status(job_id)


@pytest.mark.needs("ordered_log")
async def test_events_of_all_jobs_have_one_order(store: Store) -> None:
    await some_history(store)
    events = await store.events()
    store.check_positions(events)
    for job_id in "abc":
        assert [event for event in events if event.job_id == job_id] == await store.events(job_id)


async def test_what_a_parent_said_comes_before_what_it_released(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"))
    await hand.claim()
    await hand.end("a", FATAL, (progress(1),))
    assert [(e.job_id, e.type) for e in await store.events()][-3:] == [
        ("a", "progress"),
        ("a", "failed"),
        ("b", "skipped"),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_pages_give_every_event_once(store: Store, size: int) -> None:
    await some_history(store)
    everything = await store.events()
    read: list[JobEvent] = []
    cursor: str | None = None
    while True:
        page = await store.backend.read_events(cursor, limit=size)
        assert len(page.events) <= size
        read += page.events
        cursor = page.cursor
        if page.end:
            break
    assert read == everything


@pytest.mark.parametrize("filters", [{}, {"job_id": "b"}, {"group": "g"}, {"job_id": "a", "group": "g"}])
async def test_a_reader_that_comes_back_with_any_cursor_sees_the_rest_once(
    store: Store, filters: dict[str, str]
) -> None:
    await some_history(store)
    everything = await store.events()
    mine = [
        event
        for event in everything
        if filters.get("job_id", event.job_id) == event.job_id and filters.get("group", event.group) == event.group
    ]
    for i, seen in enumerate(everything, start=1):
        page = await store.backend.read_events(seen.cursor, limit=1000, **filters)
        assert page.end
        assert list(page.events) == [event for event in mine if event in everything[i:]]


async def test_a_cursor_moves_on_past_what_the_filter_left_out(store: Store) -> None:
    await store.submit(*(new(f"j{i}", group="g") for i in range(5)))
    page = await store.backend.read_events(job_id="j0")
    assert page.cursor == await store.backend.last_cursor()
    page = await store.backend.read_events(group="nobody")
    assert (list(page.events), page.cursor, page.end) == ([], await store.backend.last_cursor(), True)


async def test_a_group_is_read_alone(store: Store) -> None:
    await some_history(store)
    events = await store.events(group="g")
    assert {event.group for event in events} == {"g"}
    assert {event.job_id for event in events} == {"a", "b"}
    assert await store.events("c", group="g") == []
    assert await store.events(group="nobody") == []


async def test_the_last_cursor_gives_only_what_comes_later(store: Store) -> None:
    start = await store.backend.last_cursor()
    assert list((await store.backend.read_events(start)).events) == []
    await store.submit(new("a"))
    assert [e.job_id for e in (await store.backend.read_events(start)).events] == ["a"]
    end = await store.backend.last_cursor()
    await store.submit(new("b"))
    assert [e.job_id for e in (await store.backend.read_events(end)).events] == ["b"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", " 1", "²", "1_0", "9" * 30, "beyond"])
async def test_what_is_no_cursor_of_this_log_is_refused(store: Store, cursor: str) -> None:
    await store.submit(new("a"), new("b"))
    if cursor == "beyond":
        cursor = str(int(await store.backend.last_cursor()) + 1)
    with pytest.raises(ConfigurationError):
        await store.backend.read_events(cursor)


async def test_a_page_of_nothing_is_refused(store: Store) -> None:
    with pytest.raises(ConfigurationError):
        await store.backend.read_events(limit=0)


async def test_an_empty_log_is_a_page(store: Store) -> None:
    page = await store.backend.read_events()
    assert (list(page.events), page.end, page.cursor) == ([], True, await store.backend.last_cursor())


async def test_every_listener_gets_what_the_log_has(store: Store) -> None:
    first: list[JobEvent] = []
    second: list[JobEvent] = []
    remove = store.backend.add_listener(first.extend)
    store.backend.add_listener(second.extend)
    await some_history(store)
    assert first == second == await store.given()
    remove()
    await store.submit(new("z"))
    assert "z" not in {event.job_id for event in first}
    assert second == await store.given()


async def test_the_type_of_an_event_is_a_plain_str_live_as_well_as_in_the_log(store: Store) -> None:
    live: list[JobEvent] = []
    store.backend.add_listener(live.extend)
    await some_history(store)
    hand = await store.hand()
    await store.submit(new("d"), new("e"))
    await hand.claim()
    await hand.end("d", RELEASED)
    await hand.end("e", STOPPED)
    assert {event.type for event in live} >= {
        *("submitted", "started", "completed", "failed", "cancelled", "skipped", "retrying", "released"),
        *("cancel_requested", "progress"),
    }
    assert {type(event.type) for event in live} == {str}
    assert {type(event.type) for event in await store.events()} == {str}


async def test_a_listener_is_called_before_the_caller_goes_on(store: Store) -> None:
    commits: list[Sequence[JobEvent]] = []
    store.backend.add_listener(commits.append)
    await store.submit(new("a"), new("b"))
    assert [[event.job_id for event in events] for events in commits] == [["a", "b"]]


async def test_a_listener_that_raises_is_logged_and_keeps_nothing_from_the_others(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    before: list[JobEvent] = []
    behind: list[JobEvent] = []

    def raises(events: Sequence[JobEvent]) -> None:
        raise ZeroDivisionError("of the listener")

    store.backend.add_listener(before.extend)
    store.backend.add_listener(raises)
    store.backend.add_listener(behind.extend)
    assert await store.submit(new("a")) == ["a"]
    assert await store.submit(new("b")) == ["b"], "it is called again"
    assert before == behind == await store.given()
    failures = [record for record in caplog.records if record.message == "a listener failed"]
    assert [str(record.exc_info[1]) for record in failures if record.exc_info] == ["of the listener"] * 2


async def test_a_listener_that_another_one_removes_is_not_called_any_more(store: Store) -> None:
    seen: list[str] = []

    def first(events: Sequence[JobEvent]) -> None:
        seen.append("first")
        remove_second()

    store.backend.add_listener(first)
    remove_second = store.backend.add_listener(lambda events: seen.append("second"))
    store.backend.add_listener(lambda events: seen.append("third"))
    await store.submit(new("a"))
    assert seen == ["first", "third"]


async def test_a_listener_may_remove_itself_and_others_are_called_all_the_same(store: Store) -> None:
    seen: list[str] = []

    def once(events: Sequence[JobEvent]) -> None:
        seen.append("once")
        remove()

    remove = store.backend.add_listener(once)
    store.backend.add_listener(lambda events: seen.append("always"))
    await store.submit(new("a"))
    await store.submit(new("b"))
    assert seen == ["once", "always", "always"]


async def test_a_listener_that_another_one_adds_begins_with_the_next_commit(store: Store) -> None:
    late: list[JobEvent] = []
    removed = False

    def adds(events: Sequence[JobEvent]) -> None:
        nonlocal removed
        if not removed:
            removed = True
            store.backend.add_listener(late.extend)

    store.backend.add_listener(adds)
    await store.submit(new("a"))
    assert late == []
    await store.submit(new("b"))
    assert [event.job_id for event in late] == ["b"]


async def test_a_listener_that_is_added_twice_is_called_twice_and_removed_once(store: Store) -> None:
    seen: list[JobEvent] = []
    store.backend.add_listener(seen.extend)
    remove = store.backend.add_listener(seen.extend)
    await store.submit(new("a"))
    assert [event.job_id for event in seen] == ["a", "a"]
    remove()
    remove()
    await store.submit(new("b"))
    assert [event.job_id for event in seen] == ["a", "a", "b"]


async def test_listeners_outlive_the_opening(store: Store) -> None:
    seen: list[JobEvent] = []
    await store.backend.close()
    store.backend.add_listener(seen.extend)
    await store.backend.open()
    await store.submit(new("a"))
    assert [event.job_id for event in seen] == ["a"]


async def test_nothing_is_told_of_a_refused_change(store: Store) -> None:
    told: list[Sequence[JobEvent]] = []
    store.backend.add_listener(told.append)
    with pytest.raises(JobProcessorError):
        await store.submit(new("a"), new("b", "nobody"))
    with pytest.raises(JobProcessorError):
        await store.backend.retry_job("nobody")
    await store.backend.reap()
    assert told == []


async def test_what_a_body_said_comes_back_as_it_was(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    said = progress(1, message="Grüße 🎬")
    nested: dict[str, object] = {"list": [1, 2.5, None, True, "x"], "bytes": b"\x00\xff"}
    said.data["nested"] = nested
    expected = {**said.data, "nested": dict(nested)}
    await hand.say("a", said)
    nested.clear()  # changed afterwards
    event = (await store.events("a"))[-1]
    assert event.data == expected


async def test_times_are_those_of_the_clock(store: Store) -> None:
    hand = await store.hand()
    begin = store.clock.now()
    await store.submit(new("a"))
    store.clock.advance(1.5)
    await hand.run("a")
    times = [event.at.timestamp() for event in await store.events("a")]
    assert times == [begin / 1e6, begin / 1e6 + 1.5, begin / 1e6 + 1.5]
    assert all(event.at.tzinfo is not None for event in await store.events("a"))
