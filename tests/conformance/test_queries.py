"""Asking: snapshots of jobs, pages that hold while jobs come, counts, results, limits, functions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from asyncjobs.clock import to_datetime
from asyncjobs.core.lanes import Lane
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import Job, Outcome, OutcomeKind, WaitsFor
from asyncjobs.paging import iter_pages
from asyncjobs.requests import JobQuery
from tests.conformance.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    FATAL,
    IN_PROGRESS,
    PENDING,
    SKIPPED,
    Store,
    new,
)

pytestmark = pytest.mark.anyio


async def found(store: Store, **query: object) -> list[str]:
    return [job.id for job in await store.backend.find_jobs(JobQuery(**query))]


async def test_a_job_shows_what_it_was_submitted_with(store: Store) -> None:
    options: dict[str, Any] = {
        "priority": 7,
        "timeout": 1.5,
        "group": "g",
        "queue": "q",
        "function": "app:f",
        "limit": ("key", 1),
    }
    policy = RetryPolicy(max_retries=5)
    await store.submit(new("a", metadata={"x": [1, None], "ü": "☃"}, retry=policy, delay=1_000_000, **options))
    created = to_datetime(store.clock.now())
    assert await store.job("a") == Job(
        id="a",
        func="app:f",
        status=PENDING,
        queue="q",
        priority=7,
        group="g",
        metadata={"x": [1, None], "ü": "☃"},
        attempt=0,
        failures=0,
        interruptions=0,
        max_retries=5,
        timeout=1.5,
        dependencies_met=True,
        cancel_requested=False,
        created_at=created,
        run_at=created + timedelta(seconds=1),
        limit="key",
        waits_for=WaitsFor.TIME,
        version=1,
    )


async def test_without_metadata_it_is_empty(store: Store) -> None:
    await store.submit(new("a"))
    assert (await store.job("a")).metadata == {}


async def test_jobs_come_in_the_order_asked_for_without_the_unknown(store: Store) -> None:
    await store.submit(new("a"), new("b"), new("c"))
    assert [job.id for job in await store.backend.get_jobs(["c", "nobody", "a"])] == ["c", "a"]
    assert await store.backend.get_job("nobody") is None
    assert list(await store.backend.get_jobs([])) == []


async def test_every_field_of_a_query_narrows(store: Store) -> None:
    hand = await store.hand()
    begin = to_datetime(store.clock.now())
    await store.submit(new("a", group="g", queue="q", metadata={"movie": "x", "year": 1999, "done": True}))
    store.clock.advance(10)
    await store.submit(new("b", group="g", function="app:other", metadata={"movie": "y", "year": 1999.0, "done": 1}))
    store.clock.advance(10)
    await store.submit(new("c", metadata={"movie": "x", "note": None}))
    await store.backend.cancel_jobs(["b"])
    await hand.claim(1)
    await store.submit(new("a/1"), parent=hand.held["a"])
    middle = begin + timedelta(seconds=10)
    assert await found(store) == ["a", "b", "c", "a/1"]
    assert await found(store, ids=["c", "a", "nobody"]) == ["a", "c"]
    assert await found(store, ids=[]) == []
    assert await found(store, status=CANCELLED) == ["b"]
    assert await found(store, status=[CANCELLED, IN_PROGRESS]) == ["a", "b"]
    assert await found(store, status=[]) == []
    assert await found(store, group="g") == ["a", "b"]
    assert await found(store, queue="q") == ["a"]
    assert await found(store, function="app:other") == ["b"]
    assert await found(store, parent_id="a") == ["a/1"]
    assert await found(store, parent_id="nobody") == []
    assert await found(store, worker_id=hand.id) == ["a"]
    assert await found(store, worker_id="nobody") == await found(store, worker_id="") == []
    assert await found(store, metadata={"movie": "x"}) == ["a", "c"]
    assert await found(store, metadata={"movie": "x", "year": 1999}) == ["a"]
    assert await found(store, metadata={"year": 1999}) == ["a", "b"], "numbers are equal as numbers"
    assert await found(store, metadata={"done": True}) == ["a"], "and true is none"
    assert await found(store, metadata={"note": None}) == ["c"]
    assert await found(store, metadata={"movie": "z"}) == []
    assert await found(store, created_after=middle) == ["c", "a/1"]
    assert await found(store, created_before=middle) == ["a"]
    assert await found(store, group="g", metadata={"movie": "y"}, status=CANCELLED) == ["b"]
    assert await found(store, group="g", status=COMPLETED) == []


async def test_metadata_keys_may_hold_anything(store: Store) -> None:
    key = "a.\"b\" 'c'$[0]"
    await store.submit(new("a", metadata={key: "x", "": "y"}), new("b", metadata={"a": {"b": "x"}}))
    assert await found(store, metadata={key: "x"}) == ["a"]
    assert await found(store, metadata={"": "y"}) == ["a"]


VALUES: dict[str, Any] = {
    "text": "3",
    "empty": "",
    "case": "Crew",
    "nul": "a\0b",
    "snow": "☃",
    "integer": 3,
    "float": 3.0,
    "fraction": 0.1,
    "zero": 0,
    "large": 2**64 + 1,
    "larger": 10**300,
    "true": True,
    "false": False,
    "null": None,
    "list": ["3"],
    "object": {"n": "3"},
}


@pytest.mark.parametrize(
    ("wanted", "matching"),
    [
        ("3", ["text"]),
        (3, ["integer", "float"]),
        (3.0, ["integer", "float"]),
        (["3", 3], ["text", "integer", "float"]),
        ([], []),
        ("", ["empty"]),
        ("Crew", ["case"]),
        ("crew", []),
        ("a\0b", ["nul"]),
        ("a", []),
        ("☃", ["snow"]),
        (0.1, ["fraction"]),
        (0, ["zero"]),
        (False, ["false"]),
        (True, ["true"]),
        (1, []),
        (None, ["null"]),
        ("null", []),
        ([None, True], ["true", "null"]),
        (2**64 + 1, ["large"]),
        (2**64, []),
        (float(2**64), []),
        (10**300, ["larger"]),
        (10**300 + 1, []),
    ],
    ids=repr,
)
async def test_metadata_are_compared_as_json_has_them(store: Store, wanted: Any, matching: list[str]) -> None:
    await store.submit(*(new(job_id, metadata={"n": value}) for job_id, value in VALUES.items()), new("none"))
    assert await found(store, metadata={"n": wanted}) == matching
    assert await found(store, metadata={"n": wanted}, order="newest") == matching[::-1]
    assert await found(store, metadata={"n": wanted, "m": wanted}) == [], "all must match"


async def test_a_query_by_metadata_has_all_pages(store: Store) -> None:
    await store.submit(*(new(f"j{i}", metadata={"even": i % 2 == 0}, group="g") for i in range(9)))
    for query in (
        JobQuery(metadata={"even": True}, limit=2),
        JobQuery(metadata={"even": True}, limit=2, order="newest", group="g"),
        JobQuery(metadata={"even": True}, limit=2, status=PENDING),
    ):
        ids = [job.id async for page in iter_pages(store.backend.find_jobs, query) for job in page]
        assert sorted(ids) == ["j0", "j2", "j4", "j6", "j8"]
        assert ids == sorted(ids, reverse=query.order == "newest")


async def test_the_order_is_by_submission(store: Store) -> None:
    await store.submit(new("b", "a", priority=1), new("a"))
    await store.submit(new("c"))
    assert await found(store) == ["b", "a", "c"], "though a parent is stored before its child"
    assert await found(store, order="newest") == ["c", "a", "b"]


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("group", [None, "g"])
async def test_pages_hold_while_jobs_come(store: Store, order: str, group: str | None) -> None:
    await store.submit(*(new(f"j{i}", group="g") for i in range(7)))
    page = await store.backend.find_jobs(JobQuery(limit=3, order=order, group=group))
    seen = [job.id for job in page]
    while page.next is not None:
        await store.submit(new(f"new{len(seen)}", group="g", priority=9))
        page = await store.backend.find_jobs(JobQuery(limit=3, order=order, group=group, cursor=page.next))
        seen += [job.id for job in page]
        assert len(seen) < 30
    old = [job_id for job_id in seen if job_id.startswith("j")]
    assert old == [f"j{i}" for i in (range(7) if order == "oldest" else range(6, -1, -1))]
    assert len(seen) == len(set(seen))


async def test_the_last_page_says_so(store: Store) -> None:
    await store.submit(new("a"), new("b"))
    assert (await store.backend.find_jobs(JobQuery(limit=2))).next is None
    page = await store.backend.find_jobs(JobQuery(limit=1))
    assert page.next is not None
    assert (await store.backend.find_jobs(JobQuery(limit=1, cursor=page.next))).next is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (JobQuery(cursor="x"), "JobQuery.cursor"),
        (JobQuery(cursor="-1"), "JobQuery.cursor"),
        (JobQuery(cursor=""), "JobQuery.cursor"),
        (JobQuery(status="no status"), "JobQuery.status"),
        (JobQuery(order="best"), "JobQuery.order"),
        (JobQuery(created_after=datetime(2030, 1, 1)), "JobQuery.created_after"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_query_that_cannot_be_is_refused(store: Store, query: JobQuery, field: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await store.backend.find_jobs(query)
    assert refused.value.field == field


async def test_counts_are_by_status(store: Store) -> None:
    hand = await store.hand()
    assert await store.backend.count_jobs() == {}
    await store.submit(new("a", group="g"), new("b", "a", group="g"), new("c"), new("d", group="g"))
    await hand.claim(2)
    await hand.fail("a")
    assert await store.backend.count_jobs() == {FAILED: 1, SKIPPED: 1, IN_PROGRESS: 1, PENDING: 1}
    assert await store.backend.count_jobs("g") == {FAILED: 1, SKIPPED: 1, PENDING: 1}
    assert await store.backend.count_jobs("nobody") == {}


async def test_whether_anything_is_unfinished(store: Store) -> None:
    hand = await store.hand()
    assert not await store.backend.has_unfinished()
    await store.submit(new("a", group="g"), new("b", group="h"))
    assert await store.backend.has_unfinished("g")
    await hand.claim()
    assert await store.backend.has_unfinished("g")
    await hand.succeed("a")
    assert not await store.backend.has_unfinished("g")
    assert await store.backend.has_unfinished()
    await hand.fail("b")
    assert not await store.backend.has_unfinished()
    assert not await store.backend.has_unfinished("nobody")


async def test_results_of_every_status(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("done"), new("failed"), new("skipped", "failed"), new("cancelled"), new("pending"))
    await hand.claim(2)
    await hand.end("done", Outcome(OutcomeKind.SUCCEEDED, value=b"\xc0"))
    await hand.end("failed", FATAL)
    await store.backend.cancel_jobs(["cancelled"])
    ids = ["done", "failed", "skipped", "cancelled", "pending", "nobody"]
    results = await store.backend.get_results(ids)
    assert {job_id: result.status for job_id, result in results.items()} == {
        "done": COMPLETED,
        "failed": FAILED,
        "skipped": SKIPPED,
        "cancelled": CANCELLED,
        "pending": PENDING,
    }
    assert [job_id for job_id, result in results.items() if result.value is not None] == ["done"]
    assert [job_id for job_id, result in results.items() if result.error is not None] == ["failed"]
    assert results["skipped"].because == "failed"
    assert (results["done"].attempt, results["skipped"].attempt) == (1, 0)


async def test_a_large_result_comes_back_whole(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim()
    value = bytes(range(256)) * 1000
    await hand.ends({"a": Outcome(OutcomeKind.SUCCEEDED, value=value), "b": Outcome(OutcomeKind.SUCCEEDED, value=b"")})
    results = await store.backend.get_results(["a", "b"])
    assert (results["a"].value, results["b"].value) == (value, b"")


async def test_a_retried_job_shows_its_new_result(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.run("a", outcome=FATAL)
    await store.backend.retry_job("a")
    assert (await store.backend.get_results(["a"]))["a"].error is None
    await hand.claim()
    await hand.end("a", Outcome(OutcomeKind.SUCCEEDED, value=b"2"))
    result = (await store.backend.get_results(["a"]))["a"]
    assert (result.value, result.error, result.attempt) == (b"2", None, 2)


async def test_a_job_that_never_ran_has_no_attempts(store: Store) -> None:
    await store.submit(new("a"))
    assert list(await store.backend.get_attempts("a")) == []
    assert list(await store.backend.get_attempts("nobody")) == []


async def test_ready_jobs_come_as_a_claim_would_take_them(store: Store) -> None:
    await store.submit(
        new("a"),
        new("b", priority=1, queue="q"),
        new("waits", "a"),
        new("delayed", delay=1_000_000),
        new("k1", limit=("k", 1)),
        new("k2", limit=("k", 1), priority=-1),
        new("c", function="app:g"),
    )
    assert [job.id for job in await store.backend.get_ready_jobs()] == ["b", "a", "k1", "c"]
    assert [job.id for job in await store.backend.get_ready_jobs(2)] == ["b", "a"]


async def test_what_a_pending_job_waits_for(store: Store) -> None:
    hand = await store.hand()
    await store.submit(
        new("worker", priority=1),
        new("limit", limit=("k", 1), priority=-2),
        new("first", limit=("k", 1), priority=-1),
        new("time", delay=1_000_000),
        new("deps", "worker"),
    )
    jobs = {job.id: job for job in await store.jobs()}
    assert jobs["worker"].waits_for is WaitsFor.WORKER
    assert jobs["limit"].waits_for is WaitsFor.LIMIT
    assert jobs["time"].waits_for is WaitsFor.TIME
    assert jobs["deps"].waits_for is WaitsFor.DEPENDENCIES
    assert [job.id for job in jobs.values() if not job.dependencies_met] == ["deps"]
    await hand.claim(1)
    assert (await store.job("worker")).waits_for is None


async def test_functions_that_jobs_were_submitted_for(store: Store) -> None:
    hand = await store.hand()
    await store.submit(
        new("a", function="app:f", queue="x"),
        new("b", function="app:f", queue="x"),
        new("c", function="app:f", queue="y"),
        new("d", function="app:g", queue="x", owner=hand.id),
    )
    functions = await store.backend.get_lanes()
    assert len(functions) == 3
    assert set(functions) == {
        Lane("x", "app:f", None),
        Lane("y", "app:f", None),
        Lane("x", "app:g", hand.id),
    }


async def test_the_jobs_of_a_worker_are_those_that_it_holds_or_completed(store: Store) -> None:
    ada, bob = await store.hand("same name"), await store.hand("same name")
    await store.submit(*(new(job_id, group="g" if job_id in "ace" else None) for job_id in "abcdef"))
    assert await ada.claim(3) == ["a", "b", "c"]
    assert await bob.claim(2) == ["d", "e"]
    await ada.succeed("a")
    await ada.fail("b")
    assert await found(store, worker_id=ada.id) == ["a", "c"]
    assert await found(store, worker_id=ada.id, status=IN_PROGRESS) == ["c"]
    assert await found(store, worker_id=bob.id, status=[IN_PROGRESS, COMPLETED]) == ["d", "e"]
    assert await found(store, worker_id=bob.id, group="g", order="newest") == ["e"]
    page = await store.backend.find_jobs(JobQuery(worker_id=bob.id, status=IN_PROGRESS, limit=1))
    assert [job.id for job in page] == ["d"]
    page = await store.backend.find_jobs(JobQuery(worker_id=bob.id, status=IN_PROGRESS, limit=1, cursor=page.next))
    assert ([job.id for job in page], page.next) == (["e"], None)
