"""Reading through a real file: what the rows mean, and pages of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncjobs.backends.base import LimitInfo
from asyncjobs.backends.sqlite import job_pages
from asyncjobs.backends.sqlite.queries import Queries
from asyncjobs.backends.sqlite.readers import Readers
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.lanes import Lane
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.host import ProcessIdentity
from asyncjobs.models import Edge, EdgeState, JobError, JobStatus, OutcomeKind, Progress, WaitsFor
from asyncjobs.paging import iter_pages
from asyncjobs.requests import JobQuery
from tests.unit.sqlite_store import HOST, Store, new_store

pytestmark = pytest.mark.anyio

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


# -- jobs


async def test_a_job_is_read_with_all_that_belongs_to_it(store: Store, queries: Queries) -> None:
    store.worker(1)
    store.job(1)
    store.job(
        2,
        lane=2,
        status=1,
        grp="movie",
        parent=1,
        worker=1,
        attempt=2,
        failures=1,
        started_at=5_000_000,
        limit_key="images",
        cancel_requested=1,
        timeout=1.5,
        priority=-3,
        seq=9,
        metadata={"page": 1},
    )
    store.event(2, 1, "progress", {"done": 1, "total": 4})
    store.event(2, 2, "progress", {"done": 2, "total": 4, "message": "half"}, attempt=2)
    store.event(2, 3, "log", {"text": "…"})
    job, first = await queries.get_jobs(["job-2", "nobody", "job-1"])
    assert (job.id, job.func, job.queue, job.group, job.parent_id) == (
        "job-2",
        "app:write",
        "slow",
        "movie",
        "job-1",
    )
    assert (job.status, job.waits_for, job.attempt, job.failures) == (JobStatus.IN_PROGRESS, None, 2, 1)
    assert (job.worker, job.limit, job.cancel_requested, job.timeout) == ("worker-1", "images", True, 1.5)
    assert (job.priority, job.version, job.metadata) == (-3, 9, {"page": 1})
    assert job.progress == Progress(2, 4, "half")
    assert job.started_at == EPOCH + timedelta(seconds=5)
    assert job.error is None
    assert (first.id, first.waits_for, first.metadata, first.progress) == ("job-1", WaitsFor.WORKER, {}, None)
    assert first.dependencies_met


async def test_what_waits_for_dependencies_has_not_met_them(store: Store, queries: Queries) -> None:
    store.job(1, waits_for=3)
    store.job(2, status=5, because="job-9")
    waiting, skipped = await queries.get_jobs(["job-1", "job-2"])
    assert (waiting.dependencies_met, skipped.dependencies_met) == (False, False)
    assert skipped.because == "job-9"


def failed_twice(store: Store, n: int, **columns: Any) -> None:
    store.job(n, attempt=3, failures=2, **columns)
    error = {"error_type": "ValueError", "message": "first", "traceback": "…"}
    store.insert("attempts", job=n, attempt=1, worker=1, started_at=1, finished_at=2, kind="failed", **error)
    store.insert("attempts", job=n, attempt=2, worker=1, started_at=3, finished_at=4, kind="released")
    error |= {"message": "second"}
    store.insert("attempts", job=n, attempt=3, worker=1, started_at=5, finished_at=6, kind="failed", **error)


@pytest.mark.parametrize(("status", "message"), [(0, "second"), (3, "second"), (2, None), (1, None)])
async def test_the_newest_error_is_told_while_it_matters(
    store: Store, queries: Queries, status: int, message: str | None
) -> None:
    failed_twice(store, 1, status=status)
    (job,) = await queries.get_jobs(["job-1"])
    assert (job.error.message if job.error else None) == message


async def test_giving_up_is_the_newest_error_though_it_is_no_attempt(store: Store, queries: Queries) -> None:
    failed_twice(store, 1, status=3)
    given_up = {"error_type": "UnrunnableError", "message": "nobody could run it"}
    store.insert("attempts", job=1, attempt=0, finished_at=9, kind="failed", **given_up)
    (job,) = await queries.get_jobs(["job-1"])
    assert job.error == JobError("UnrunnableError", "nobody could run it")
    assert [attempt.attempt for attempt in await queries.get_attempts("job-1")] == [1, 2, 3]


async def test_attempts_include_the_one_that_succeeded_or_runs(store: Store, queries: Queries) -> None:
    store.worker(1)
    store.job(1, status=2, attempt=2, worker=1, started_at=7, finished_at=8)
    store.insert("attempts", job=1, attempt=1, worker=9, started_at=1, finished_at=2, kind="interrupted")
    store.job(2, status=1, attempt=1, worker=1, started_at=7)
    first, second = await queries.get_attempts("job-1")
    assert (first.outcome, first.worker) == (OutcomeKind.INTERRUPTED, None)
    assert (second.outcome, second.worker, second.attempt) == (OutcomeKind.SUCCEEDED, "worker-1", 2)
    (running,) = await queries.get_attempts("job-2")
    assert (running.outcome, running.finished_at) == (None, None)
    assert await queries.get_attempts("nobody") == []


async def test_results_small_and_large(store: Store, queries: Queries) -> None:
    store.job(1, status=2, attempt=1)
    store.insert("results_apart", n=1, value=b"small")
    store.job(2, status=2, attempt=1)
    store.insert("results_apart", n=2, value=b"x" * 100_000)
    failed_twice(store, 3, status=3, interruptions=1)
    store.job(4)
    results = await queries.get_results(["job-2", "job-1", "job-3", "job-4", "nobody"])
    assert list(results) == ["job-2", "job-1", "job-3", "job-4"]
    assert (results["job-1"].value, results["job-2"].value) == (b"small", b"x" * 100_000)
    assert results["job-3"].error == JobError("ValueError", "second", "…")
    assert (results["job-3"].error_kind, results["job-3"].interruptions) == (OutcomeKind.FAILED, 1)
    assert (results["job-4"].status, results["job-4"].value, results["job-4"].error) == (JobStatus.PENDING, None, None)


async def test_many_ids_are_read_in_chunks(store: Store, queries: Queries) -> None:
    for n in range(1, 1203):
        store.job(n)
    ids = [f"job-{n}" for n in range(1202, 0, -1)]
    assert [job.id for job in await queries.get_jobs(ids)] == ids
    assert await queries.get_jobs(["\ud800", "job-1\0", "job-1\0x"]) == []


# -- finding


def ids(jobs: Sequence[Any]) -> list[int]:
    return [int(job.id.removeprefix("job-")) for job in jobs]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"order": "newest"}, [6, 5, 4, 3, 2, 1]),
        ({"ids": ["job-5", "job-2", "x"]}, [2, 5]),
        ({"ids": []}, []),
        ({"ids": ["job-5", "job-2"], "group": "g", "parent_id": "job-1"}, [2]),
        ({"status": JobStatus.PENDING}, [1, 6]),
        ({"status": []}, []),
        ({"status": [JobStatus.FAILED, JobStatus.SKIPPED, JobStatus.IN_PROGRESS]}, [2, 4, 5]),
        ({"status": [JobStatus.FAILED, JobStatus.SKIPPED]}, [4, 5]),
        ({"status": JobStatus.IN_PROGRESS, "order": "newest"}, [2]),
        ({"group": "g"}, [2, 3, 4]),
        ({"group": "g", "status": JobStatus.FAILED}, [4]),
        ({"group": "g", "order": "newest", "status": ["failed", "completed"]}, [4, 3]),
        ({"parent_id": "job-1"}, [2, 6]),
        ({"parent_id": "job-1", "group": "g"}, [2]),
        ({"parent_id": "nobody"}, []),
        ({"queue": "slow"}, [3, 6]),
        ({"queue": "slow", "function": "app:draw"}, []),
        ({"function": "app:write", "group": "g"}, [3]),
        ({"created_after": EPOCH + timedelta(seconds=4)}, [5, 6]),
        ({"created_before": EPOCH + timedelta(seconds=2), "status": "pending"}, [1]),
        ({"metadata": {"n": 1}}, [1, 2]),
        ({"metadata": {"n": True}}, [3]),
        ({"metadata": {"n": None}}, [4]),
        ({"metadata": {"n": "1"}}, [5]),
        ({"metadata": {"n": 1.0, 'a "b".c': "x"}}, [2]),
        ({"metadata": {"n": 10**30}}, []),
    ],
    ids=str,
)
async def test_find_jobs(store: Store, queries: Queries, query: dict[str, Any], found: list[int]) -> None:
    store.job(1, metadata={"n": 1})
    store.job(2, status=1, grp="g", parent=1, metadata={"n": 1.0, 'a "b".c': "x"})
    store.job(3, status=2, grp="g", lane=2, metadata={"n": True})
    store.job(4, status=3, grp="g", metadata={"n": None})
    store.job(5, status=5, metadata={"n": "1"})
    store.job(6, waits_for=3, parent=1, lane=2)
    assert ids(await queries.find_jobs(JobQuery(**query))) == found
    paged: list[int] = []
    cursor: str | None = None
    while True:
        page = await queries.find_jobs(JobQuery(**query, limit=1, cursor=cursor))
        paged += ids(page)
        cursor = page.next
        if cursor is None:
            break
    assert paged == found


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize(
    "query", [{}, {"status": ["failed", "completed"]}, {"group": "g"}, {"parent_id": "job-1"}], ids=str
)
async def test_a_page_by_metadata_may_be_short_and_the_following_ones_have_the_rest(
    store: Store, queries: Queries, query: dict[str, Any], order: Any, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "LOOKED_AT", 3)
    for n in range(1, 41):
        kind = "crew" if n in (2, 3, 4, 5, 21, 22, 40) else "flow"
        store.job(n, status=2 + n % 2, grp="g", parent=1, metadata={"kind": kind})
    wanted = JobQuery(metadata={"kind": "crew"}, order=order, limit=limit, **query)
    pages = [ids(page) async for page in iter_pages(queries.find_jobs, wanted)]
    found = [n for page in pages for n in page]
    assert found == sorted([2, 3, 4, 5, 21, 22, 40], reverse=order == "newest")
    assert [] in pages, "what does not match is passed by, a bounded number at a time"
    assert all(len(page) <= min(limit, 3 * (2 if "status" in query or "group" in query else 1)) for page in pages)


async def test_a_job_that_moves_while_a_page_is_read_is_in_it_or_in_a_later_one(
    store: Store, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "LOOKED_AT", 3)
    for n in range(1, 11):
        store.job(n, metadata={"kind": "crew"})
    examined = job_pages.last_examined_statement

    def move(query: JobQuery) -> Any:
        statement = examined(query)
        assert statement is not None
        end = store.connection.execute(*statement).fetchone()[0]
        # Between the two statements of a page: what was to be examined is pending no longer.
        store.connection.execute("UPDATE jobs SET status = 1 WHERE n IN (2, 3)")
        return "SELECT ?", [end]

    monkeypatch.setattr(job_pages, "last_examined_statement", move)
    wanted = JobQuery(status=JobStatus.PENDING, metadata={"kind": "crew"})
    found = [n async for page in iter_pages(queries.find_jobs, wanted) for n in ids(page)]
    assert found == [1, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "JobQuery.limit"),
        ({"limit": 1001}, "JobQuery.limit"),
        ({"limit": True}, "JobQuery.limit"),
        ({"cursor": "x"}, "JobQuery.cursor"),
        ({"cursor": "-1"}, "JobQuery.cursor"),
        ({"cursor": "²"}, "JobQuery.cursor"),
        ({"cursor": str(2**63)}, "JobQuery.cursor"),
        ({"order": "up"}, "JobQuery.order"),
        ({"status": "ready"}, "JobQuery.status"),
        ({"created_after": datetime(2026, 1, 1)}, "JobQuery.created_after"),
        ({"metadata": {"a": {"b": 1}}}, "JobQuery.metadata"),
    ],
    ids=str,
)
async def test_a_query_that_cannot_be_is_refused(queries: Queries, query: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await queries.find_jobs(JobQuery(**query))
    assert caught.value.field == field


async def test_counts(store: Store, queries: Queries) -> None:
    for n, (status, group) in enumerate([(0, None), (0, "g"), (2, "g"), (3, "g"), (2, "h")], start=1):
        store.job(n, status=status, grp=group)
    assert await queries.count_jobs() == {JobStatus.PENDING: 2, JobStatus.COMPLETED: 2, JobStatus.FAILED: 1}
    assert await queries.count_jobs("g") == {JobStatus.PENDING: 1, JobStatus.COMPLETED: 1, JobStatus.FAILED: 1}
    assert await queries.count_jobs("nobody") == {}


async def test_ready_jobs_come_in_the_order_of_claims(store: Store, queries: Queries) -> None:
    store.job(1)
    store.job(2, lane=2, priority=5)
    store.job(3, priority=5)
    store.job(4, waits_for=3, priority=9)
    store.job(5, status=1, priority=9)
    assert ids(await queries.get_ready_jobs()) == [2, 3, 1]
    assert ids(await queries.get_ready_jobs(2)) == [2, 3]
    assert await queries.get_ready_jobs(0) == []


async def test_edges_come_whole_and_in_order(store: Store, queries: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncjobs.backends.sqlite.queries._EDGES", 3)
    for n in range(1, 14):
        store.job(n)
    for child in range(3, 14):
        store.insert("edges", parent=1, child=child, optional=child == 3, state=child % 4)
    for child in range(9, 14):
        store.insert("edges", parent=2, child=child, optional=0, state=0)
    edges = await queries.get_dependent_jobs(["job-2", "job-1", "nobody", "job-13"])
    assert [(edge.parent_id, edge.child_id) for edge in edges] == [
        *(("job-2", f"job-{n}") for n in range(9, 14)),
        *(("job-1", f"job-{n}") for n in range(3, 14)),
    ]
    assert edges[5] == Edge("job-1", "job-3", True, EdgeState.BROKEN)
    both = [Edge("job-1", "job-9", False, EdgeState.MET), Edge("job-2", "job-9", False, EdgeState.OPEN)]
    assert await queries.get_dependencies(iter(["job-9"])) == both


@pytest.mark.parametrize("damaged", ["x'ff00'", "CAST(x'ff' AS TEXT)", "7", "''"])
async def test_an_id_that_cannot_be_read_costs_those_that_depend_on_it_nothing_else(
    store: Store, queries: Queries, damaged: str
) -> None:
    for n in (1, 2, 3):
        store.job(n)
    for parent in (1, 2):
        store.insert("edges", parent=parent, child=3, optional=0, state=0)
    store.connection.execute(f"UPDATE jobs SET id = {damaged} WHERE n = 1")
    [job] = await queries.get_jobs(["job-3"])
    assert job.unreadable is None
    assert job.depends_on[-1] == "job-2"


# -- the rest


async def test_limits_and_functions(store: Store, queries: Queries) -> None:
    store.insert("limits", key="images", capacity=3, in_progress=1)
    assert await queries.get_limit("images") == LimitInfo("images", 3, 1)
    assert await queries.get_limit("nobody") is None
    functions = [Lane("default", "app:draw", None), Lane("slow", "app:write", "w1")]
    assert await queries.get_lanes() == functions


async def test_workers_are_alive_while_lease_and_process_are(store: Store, queries: Queries) -> None:
    store.worker(1, queues='["a","b"]', refused='{"app:draw":"not allowed"}')
    store.worker(2, expires=10)
    store.worker(3, pid=8)
    store.worker(4, gone=1)
    store.job(1, status=1, worker=1)
    store.job(2, status=2, worker=1)
    workers = await queries.workers(11, lambda identity: identity.pid == 8)
    assert [(worker.id, worker.alive) for worker in workers] == [("w1", True), ("w2", False), ("w3", False)]
    assert (workers[0].running, workers[0].queues, workers[0].slots) == (1, ("a", "b"), 4)
    assert workers[0].refused == {"app:draw": "not allowed"}
    present = await queries.present_workers()
    assert (present[1].n, present[1].expires, present[1].identity) == (2, 10, ProcessIdentity(*HOST))
    assert len(present) == 3


@pytest.mark.parametrize(
    ("worker", "job", "expected"),
    [
        (1, {"status": 1, "worker": 1}, True),
        (1, {"status": 2, "worker": 1}, False),
        (1, {"lane": 2, "local": 1}, True),
        (1, {"lane": 2, "local": 1, "status": 4}, False),
        (0, {"status": 1, "worker": 1}, False),
        (0, {"lane": 2, "local": 1}, False),
    ],
    ids=str,
)
async def test_left_behind(store: Store, queries: Queries, worker: int, job: dict[str, Any], expected: bool) -> None:
    store.worker(1, gone=worker)
    store.job(1, **job)
    assert await queries.left_behind() is expected
