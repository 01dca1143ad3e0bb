"""Every statement of ``Queries`` finds its rows by an index: read from the query plans of a filled file."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asyncjobs.backends.sqlite import claims, group_pages, id_ranges, job_pages, plain_claims, queries
from asyncjobs.backends.sqlite.queries import Queries
from asyncjobs.backends.sqlite.readers import Readers
from asyncjobs.config import SQLiteConfig
from asyncjobs.models import JobStatus
from asyncjobs.requests import JobQuery
from tests.unit.sqlite_store import Store, new_store

pytestmark = pytest.mark.anyio

JOBS = 3000
SMALL = {
    "l",  # lanes
    "m",  # lanes
    "w",  # workers
    "workers",
    "lanes",
    "k",  # json_each of an argument
    "s",  # the numbers of a page
    "p",  # a page of events
    "g",  # the names of a page of groups
    "CONSTANT",  # the first of them
}
"""Aliases that may be scanned: small tables, and what another loop has bounded."""
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with new_store(SQLiteConfig(db_path=tmp_path_factory.mktemp("plans") / "jobs.db")) as store:
        store.connection.execute("BEGIN")
        for n in range(1, JOBS + 1):
            store.job(
                n,
                lane=1 + n % 2,
                status=n % 6,
                waits_for=n % 4 if n % 6 == 0 else None,
                grp=f"group-{n % 10}" if n % 3 else None,
                parent=n // 100 or None,
                worker=n % 7,
                started_at=n,
                finished_at=2 * n,
                metadata={"n": n},
            )
            for seq in range(1, 4):
                store.event(n, seq, "progress" if seq == 2 else "log", {"done": seq}, grp=f"group-{n % 10}")
            if n > 1:
                store.insert("edges", parent=n // 2, child=n, optional=0, state=0)
            store.insert("attempts", job=n, attempt=1, finished_at=1, kind="failed", error_type="E", message="m")
            store.insert("results_apart", n=n, value=b"x" * (100_000 if n == 2 else 10))
        for n in range(JOBS + 1, JOBS + 50):
            store.job(n, waits_for=4, role=1, grp=f"group-{n % 10}", parent=n % 7, run_at=n)
            store.insert("gates", n=n, asker=n % 7, generation=0)
        store.worker(1)
        store.worker(2, gone=1)
        store.connection.execute("COMMIT")
        yield store


class Planned(Readers):
    """Readers that note the plan of what they are asked, one line a step."""

    def __init__(self, store: Store, config: SQLiteConfig, path: Path) -> None:
        super().__init__(config, path)
        self.store = store
        self.steps: list[str] = []
        self.statements = 0

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.statements += 1
        plan = self.store.connection.execute(f"EXPLAIN QUERY PLAN {sql}", tuple(params)).fetchall()
        self.steps.extend(step[3] for step in plan)
        return await super().fetch(sql, params)


Ask = Callable[[Queries], Awaitable[object]]


def find(**query: Any) -> Ask:
    return lambda queries: queries.find_jobs(JobQuery(**query))


ASKED: dict[str, Ask] = {
    "get_jobs": lambda q: q.get_jobs(["job-1", "job-2"]),
    "get_results": lambda q: q.get_results(["job-1", "job-2"]),
    "get_attempts": lambda q: q.get_attempts("job-1"),
    "find_ids": lambda q: q.find_ids("job-1"),
    "find_ids, the first": lambda q: q.find_ids(""),
    "get_call": lambda q: q.get_call("job-1"),
    "list_groups": lambda q: q.list_groups(),
    "list_groups, the next": lambda q: q.list_groups("group-1", 3),
    "get_durations": lambda q: q.get_durations("app:draw"),
    "get_durations, of nobody": lambda q: q.get_durations("app:nobody"),
    "count_jobs, of a group": lambda q: q.count_jobs("group-1"),
    "get_dependencies": lambda q: q.get_dependencies(["job-1", "job-2"]),
    "get_dependent_jobs": lambda q: q.get_dependent_jobs(["job-1", "job-2"]),
    "get_ready_jobs": lambda q: q.get_ready_jobs(),
    "get_limit": lambda q: q.get_limit("images"),
    "get_lanes": lambda q: q.get_lanes(),
    "workers": lambda q: q.workers(0, lambda _: False),
    "present_workers": lambda q: q.present_workers(),
    "read_events": lambda q: q.read_events("7"),
    "read_events, of a job": lambda q: q.read_events("7", job_id="job-1"),
    "read_events, of a group": lambda q: q.read_events("7", group="group-1"),
    "read_events, of a job in a group": lambda q: q.read_events("7", job_id="job-1", group="group-1"),
    "last_cursor": lambda q: q.last_cursor(),
    "find: by id": find(ids=["job-1", "job-2"], status=JobStatus.PENDING, group="group-1", parent_id="job-1"),
    "find: by parent": find(parent_id="job-1", group="group-1", status=JobStatus.FAILED, order="newest"),
    "find: by parent, with metadata": find(parent_id="job-1", metadata={"n": 1}),
    "find: by group": find(group="group-1"),
    "find: by group, newest": find(group="group-1", order="newest"),
    "find: by group and status": find(group="group-1", status=[JobStatus.FAILED, JobStatus.PENDING], cursor="9"),
    "find: by status": find(status=JobStatus.PENDING),
    "find: by statuses": find(status=[JobStatus.COMPLETED, JobStatus.FAILED], order="newest", metadata={"n": 1}),
    "find: running": find(status=JobStatus.IN_PROGRESS, cursor="7"),
    "find: running, of a worker": find(status=JobStatus.IN_PROGRESS, worker_id="w1"),
    "find: waiting for answers": find(waits_for="answer"),
    "find: waiting for answers, newest": find(waits_for="answer", order="newest", cursor="3040", metadata={"n": 1}),
    "find: waiting for answers, by id": find(waits_for="answer", ids=["job-1"], group="group-1"),
    "find: waiting for answers, by parent": find(waits_for="answer", parent_id="job-1", status=JobStatus.PENDING),
    "find: waiting for answers, by group": find(waits_for="answer", group="group-1", queue="slow"),
    "due_gates": lambda q: q.due_gates(),
    "find: by group and more": find(
        group="group-1", metadata={"n": 1}, queue="slow", function="app:write", created_after=MOMENT
    ),
}
WALKED: dict[str, Ask] = {
    "all": find(),
    "newest": find(order="newest", cursor="99"),
    "queue": find(queue="slow", function="app:write"),
    "metadata": find(metadata={"n": 1, "m": "x"}),
    "created": find(created_after=MOMENT, created_before=MOMENT),
}
"""Without a field that an index leads to, the jobs are walked by number until the page is full."""
WITH_METADATA = [
    "find: by statuses",
    "find: waiting for answers, newest",
    "find: by group and more",
    "find: by parent, with metadata",
    "metadata",
]


@pytest.fixture
async def planned(store: Store) -> Any:
    path = Path(store.connection.execute("PRAGMA database_list").fetchone()[2])
    planned = Planned(store, SQLiteConfig(db_path=path), path)
    yield planned
    await planned.close()


def scanned(steps: Sequence[str]) -> list[str]:
    """Steps that go through all of a large table or index."""
    scans = [match for step in steps if (match := re.match(r"SCAN (\S+)", step))]
    return [match.string for match in scans if match[1] not in SMALL and not match[1].startswith("(")]


def by_range_of_numbers(steps: Sequence[str]) -> list[str]:
    """Steps that walk jobs, or the log, by the primary key."""
    return [step for step in steps if re.search(r"PRIMARY KEY \(rowid[<>]", step)]


@pytest.mark.parametrize("name", ASKED)
async def test_an_index_leads_to_the_rows(planned: Planned, name: str) -> None:
    await ASKED[name](Queries(planned))
    assert planned.steps
    assert scanned(planned.steps) == []
    walks_the_log = name == "read_events"
    assert bool(by_range_of_numbers(planned.steps)) is walks_the_log
    assert not [step for step in planned.steps if "AUTOMATIC" in step]


@pytest.mark.parametrize("name", [*(name for name in ASKED if name.startswith("find:")), "get_jobs", "get_ready_jobs"])
async def test_dependencies_are_read_with_the_page_by_their_index(planned: Planned, name: str) -> None:
    await ASKED[name](Queries(planned))
    assert planned.statements == (2 if name in WITH_METADATA else 1), "the first one finds how far the second one goes"
    (walk,) = [step for step in planned.steps if step.startswith(("SEARCH e ", "SCAN e ")) and "edges" in step]
    assert walk == "SEARCH e USING COVERING INDEX edges_child (child=?)"


CLAIMS = [str(text).lstrip() for module in (claims, plain_claims) for text in vars(module).values()]
OF_EDGES = [text for text in CLAIMS if text.startswith(("SELECT", "WITH")) and "edges" in text]


def test_a_claim_asks_of_edges_only_whether_any_leads_from_a_job(store: Store) -> None:
    assert sorted(OF_EDGES) == sorted([plain_claims._FIRST_OF_LANE.lstrip(), plain_claims._ROWS])
    for statement in OF_EDGES:
        plan = store.connection.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?"))
        steps = [step[3] for step in plan if re.search(r"\be\b", step[3])]
        assert steps == ["SEARCH e USING PRIMARY KEY (parent=?)"], steps


@pytest.mark.parametrize(
    ("statement", "step"),
    [
        (plain_claims._FIRST_OF_LANE, "SEARCH j USING INDEX jobs_ready (lane=?)"),
        (claims._FIRST_OF_LANE, "SEARCH jobs USING INDEX jobs_ready (lane=?)"),
    ],
)
def test_a_claim_reads_the_first_jobs_of_a_lane_by_the_index_of_ready_ones(
    store: Store, statement: str, step: str
) -> None:
    plan = store.connection.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?")).fetchall()
    steps = [step[3] for step in plan]
    assert steps[0] == step
    assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN")], steps


@pytest.mark.parametrize("name", WALKED)
async def test_without_an_index_jobs_are_walked_by_number(planned: Planned, name: str) -> None:
    await WALKED[name](Queries(planned))
    assert scanned(planned.steps) == []
    assert len(by_range_of_numbers(planned.steps)) == planned.statements == (2 if name in WITH_METADATA else 1)


@pytest.mark.parametrize("name", WITH_METADATA)
async def test_how_far_a_page_examines_metadata_is_read_from_an_index_and_ends_its_walk(
    planned: Planned, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "LOOKED_AT", 3)
    await ({**ASKED, **WALKED}[name])(Queries(planned))
    assert planned.statements == 2
    assert scanned(planned.steps) == []
    walks = [step for step in planned.steps if step.startswith("SEARCH j ") and "rowid=" not in step]
    ends, page = walks[: len(walks) // 2], walks[len(walks) // 2 :]
    assert page
    assert all(re.search(r"(INDEX|PRIMARY KEY) .*\b(n|rowid)[<>]\?\)", step) for step in ends), ends
    assert all(re.search(r"\b(n|rowid)>\? AND \1<\?\)", step) for step in page), page


async def test_counting_all_reads_an_index_only(planned: Planned) -> None:
    await Queries(planned).count_jobs()
    assert planned.steps == ["SCAN jobs USING COVERING INDEX jobs_status"]


async def test_what_is_left_behind_is_found_by_indexes(planned: Planned) -> None:
    await Queries(planned).left_behind()
    assert scanned(planned.steps) == []


@pytest.mark.parametrize(
    "query", [{"group": "group-1", "status": "failed"}, {"status": "failed"}, {"waits_for": "answer"}, {}], ids=str
)
async def test_a_page_is_found_in_order(planned: Planned, query: dict[str, Any]) -> None:
    sql, params = job_pages.page_statement(JobQuery(**query))
    source = sql[sql.index("FROM (") + 6 : sql.index(") s\n")]
    await planned.fetch(source, params)
    assert len(planned.steps) == 1


# -- what a plan does not tell: how far an index is walked, counted in steps of SQLite's machine


def steps(store: Store, sql: str, params: Sequence[Any]) -> int:
    """Instructions that the statement takes."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    store.connection.set_progress_handler(count, 1)
    store.connection.execute(sql, tuple(params)).fetchall()
    store.connection.set_progress_handler(None, 0)
    return taken


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """Two that differ only in how many jobs there are in group b, all completed: 6,000 and 12,000."""
    folder = tmp_path_factory.mktemp("steps")
    with (
        new_store(SQLiteConfig(db_path=folder / "1.db")) as one,
        new_store(SQLiteConfig(db_path=folder / "2.db")) as two,
    ):
        for store, size in ((one, 6000), (two, 12_000)):
            store.connection.execute("BEGIN")
            for n in range(1, size + 1):
                store.job(n, status=2, grp="b", started_at=n, finished_at=2 * n)
            for n, group in enumerate("accdd", start=20_001):
                store.job(n, id=f"x{n}", grp=group)
            for n in range(30_000, 30_060):
                store.job(n, status=1, worker=n % 3)
            store.connection.execute("COMMIT")
        yield one, two


def same_in_both(stores: tuple[Store, Store], sql: str, params: Sequence[Any], most: int) -> None:
    one, two = (steps(store, sql, params) for store in stores)
    assert one == two
    assert 0 < one < most


@pytest.mark.parametrize(("after", "limit"), [(None, 1), ("b", 2), ("b", 100), ("c", 1)])
def test_groups_cost_nothing_for_the_jobs_of_others(stores: tuple[Store, Store], after: str | None, limit: int) -> None:
    same_in_both(stores, *group_pages.page_statement(after, limit), most=500)


@pytest.mark.parametrize("query", [{}, {"order": "newest"}, {"group": "b"}, {"status": "completed"}], ids=str)
def test_a_page_that_no_metadata_match_costs_what_it_examines_whatever_is_stored(
    stores: tuple[Store, Store], query: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "LOOKED_AT", 1000)
    wanted = JobQuery(metadata={"kind": "crew"}, **query)
    taken: list[int] = []
    for store in stores:
        last = job_pages.last_examined_statement(wanted)
        assert last is not None
        end = store.connection.execute(*last).fetchone()[0]
        page = job_pages.page_statement(wanted, end)
        assert store.connection.execute(*page).fetchall() == []
        taken.append(steps(store, *last) + steps(store, *page))
    assert taken[0] == taken[1] < 100_000
    one, two = (steps(store, *job_pages.page_statement(wanted)) for store in stores)
    assert two > 1.8 * one > 2 * taken[0], "without the bound, it costs what is stored"


@pytest.mark.parametrize("limit", [1, 20])
def test_the_running_jobs_of_a_worker_cost_nothing_for_those_that_do_not_run(
    stores: tuple[Store, Store], limit: int
) -> None:
    query = JobQuery(status=JobStatus.IN_PROGRESS, worker_id="w2", limit=limit)
    same_in_both(stores, *job_pages.page_statement(query), most=200 * (limit + 5))


@pytest.mark.parametrize("prefix", ["", "job-", "x", "y"])
def test_ids_cost_what_is_given(stores: tuple[Store, Store], prefix: str) -> None:
    same_in_both(stores, *id_ranges.statement(prefix, 5), most=100)


@pytest.mark.parametrize("function", ["app:draw", "app:nobody"])
def test_durations_cost_a_bounded_look(stores: tuple[Store, Store], function: str) -> None:
    same_in_both(stores, queries._DURATIONS, (function, 20), most=100_000)


def test_whether_any_job_is_delayed_is_read_from_the_indexes_of_these_alone(store: Store) -> None:
    steps = [step[3] for step in store.connection.execute(f"EXPLAIN QUERY PLAN {claims._ANY_DELAYED}")]
    looks = [step for step in steps if re.search(r"\bjobs\b", step)]
    assert [next(name for name in ("jobs_delayed", "jobs_lasting") if name in step) for step in looks] == [
        "jobs_delayed",
        "jobs_lasting",
    ], steps
