"""The short way of a group commit: whatever a history holds, it stores and answers what the long way does."""

from __future__ import annotations

import heapq
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimedJob, ClaimRequest, NewJob
from asyncjobs.backends.sqlite import commit as commits
from asyncjobs.backends.sqlite import operations as ops
from asyncjobs.backends.sqlite import plain_claims, plain_commits
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.lanes import Lanes
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import SMALL
from asyncjobs.backends.sqlite.plan_rows import TooManyRowsError
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.requests import Keep
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import BodyEvent, Dependency, JobError, JobStatus, Limit, Outcome, OutcomeKind
from tests.unit.sqlite_store import Store, new_store

Patch = pytest.MonkeyPatch

TABLES = ("lanes", "jobs", "calls_apart", "results_apart", "edges", "events", "attempts", "limits", "marks", "steps")
FUNCTIONS = ("app:draw", "app:write", "app:sing")
WORKERS = ("w1", "w2")
ODDITIES: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "limit": lambda rng: {"limit": Limit("key", 2)},
    "delay": lambda rng: {"delay": rng.randint(0, 9)},
    "run_at": lambda rng: {"run_at": rng.randint(0, 2_000)},
    "timeout": lambda rng: {"timeout": 3.0},
    "metadata": lambda rng: {"metadata": b'{"a":1}'},
    "isolation": lambda rng: {"isolation": "process"},
    "call": lambda rng: {"call": b"x" * rng.choice((400, 401, 5_000))},
    "generated": lambda rng: {"generated": False},
}
"""What a job may have that is not plain, or is at its bound."""


class Way:
    """A file, and a connection that commits groups to it."""

    def __init__(self, store: Store, *, short: bool) -> None:
        self.store = store
        self.short = short
        self.lanes = Lanes()
        self.cache = ConnectionCache()

    def commit(self, group: Sequence[ops.Operation], now: int) -> tuple[Any, Any]:
        moment = commits.Moment(Clocks(now, now, now, 7), lambda: 0.5)
        with pytest.MonkeyPatch.context() as patch:
            if not self.short:
                patch.setattr(commits, "commit_plainly", lambda *_: None)
            done = commits.commit(self.store.connection, group, self.lanes, self.cache, moment)
        answers = [repr(answer) if isinstance(answer, Exception) else answer for answer in done.answers]
        return answers, list(done.events)

    def rows(self) -> dict[str, list[Any]]:
        return {
            name: self.store.connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in TABLES
        }


class History:
    """Groups of operations at random, most of them plain, as a few workers and submitters would send them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1_000
        self.ids: list[str] = []
        self.held: list[ClaimedJob] = []
        self.alone_for = (13, 13, 13, 2, 1)[seed % 5]
        """Groups between two commits of others."""
        self.linked = (0.0, 0.02, 0.3)[seed % 4 % 3]
        self.odd = (0.0, 0.02, 0.15)[seed % 3]  # some histories are all plain

    def group(self) -> list[ops.Operation]:
        self.now += self.rng.choice((0, 1, 500))
        kinds = self.rng.choices(
            ("enqueue", "finish", "dequeue", "other"), (5, 5, 2, 6 * self.odd), k=self.rng.randint(1, 4)
        )
        return [getattr(self, kind)() for kind in kinds]

    def enqueue(self) -> ops.Operation:
        jobs = [self.job() for _ in range(self.rng.choice((1, 1, 1, 3, 40)))]
        parent = None
        if self.held and self.rng.random() < self.odd:
            parent = self.rng.choice(self.held).attempt
        return ops.Enqueue(jobs=jobs, parent=parent)

    def job(self) -> NewJob:
        rng, known = self.rng, list(self.ids)
        self.ids.append(f"job-{len(self.ids)}")
        function = rng.choice(FUNCTIONS)
        twice = bool(known) and rng.random() < self.odd / 5
        job = NewJob(
            id=rng.choice(known) if twice else self.ids[-1],
            function=function,
            call=b"%d" % rng.randint(0, 99),
            injects=rng.random() < 0.1,
            queue=rng.choice(("default", "slow")),
            owner=rng.choice((None, None, "w1")) if function == "app:write" else None,
            group=rng.choice((None, None, "", "g")),
            priority=rng.choice((0, 0, 0, 1, -1)),
            retry=rng.choice((RetryPolicy(), RetryPolicy(), RetryPolicy(max_retries=1, base=0))),
            max_interruptions=rng.choice((3, 1)),
            generated=not twice,
        )
        if rng.random() < self.odd:
            job = replace(job, **ODDITIES[rng.choice(list(ODDITIES))](rng))
        if known and rng.random() < self.linked:
            parents = tuple(
                {name: Dependency(name, rng.random() < 0.3) for name in rng.choices(known[-5:], k=2)}.values()
            )
            job = replace(job, dependencies=parents, require=rng.choice((None, None, None, 1)))
        return job

    def finish(self) -> ops.Operation:
        self.rng.shuffle(self.held)
        held, self.held = self.held[:8], self.held[8:]
        if held and self.rng.random() < self.odd:
            held.append(self.rng.choice(held))  # a second end of the same attempt
        if held and self.rng.random() < self.odd:
            self.held.append(held[0])  # and one that comes later
        ends = [self.end(job.attempt) for job in held]
        return ops.Finish(ends=ends, claim=self.claim() if self.rng.random() < 0.8 else None)

    def end(self, attempt: AttemptRef) -> AttemptEnd:
        rng = self.rng
        outcome = Outcome(OutcomeKind.SUCCEEDED, rng.choice((b"\xc0", b"%d" % attempt.ref, b"r" * 400, None)))
        events: tuple[BodyEvent, ...] = ()
        if rng.random() < self.odd:
            outcome = rng.choice(
                (
                    Outcome(OutcomeKind.SUCCEEDED, b"r" * rng.choice((401, 5_000))),
                    Outcome(OutcomeKind.FAILED, error=JobError("ValueError", "no")),
                    Outcome(OutcomeKind.RELEASED),
                    Outcome(OutcomeKind.CANCELLED),
                )
            )
        if rng.random() < self.odd:
            events = (BodyEvent("log", {"message": "hello"}, self.now),)
        if rng.random() < self.odd / 3:
            attempt = replace(attempt, attempt=attempt.attempt + 1)
        return AttemptEnd(attempt, outcome, events)

    def claim(self) -> ClaimRequest:
        functions = frozenset(self.rng.sample(FUNCTIONS, self.rng.choice((1, 3, 3, 3))))
        return ClaimRequest(
            worker=self.rng.choice(("w1", "w1", "w1", "w2", "w9")) if self.odd else "w1",
            limit=self.rng.choice((0, 1, 4, 50)),
            functions=functions,
            refused=frozenset({"app:sing"}) - functions if self.rng.random() < 0.5 else frozenset(),
            queues=self.rng.choice((None, None, ("default",))),
        )

    def dequeue(self) -> ops.Operation:
        return ops.Dequeue(claim=self.claim())

    def other(self) -> ops.Operation:
        rng = self.rng
        if self.held and rng.random() < 0.5:
            attempt = rng.choice(self.held).attempt
            said: ops.Operation = ops.AppendEvents(batches=[(attempt, [BodyEvent("log", {"n": 1}, self.now)])])
            return rng.choice((said, ops.WriteSteps(changes=[Keep(attempt, "key", b"1")])))
        ids = rng.sample(self.ids, min(len(self.ids), 2))
        retries: list[ops.Operation] = [ops.Retry(job_id=job_id) for job_id in ids]
        return rng.choice((ops.Cancel(ids=ids, descendants=False), ops.ExtendLeases(worker=1), *retries))

    def learn(self, group: Sequence[ops.Operation], answers: Sequence[Any]) -> None:
        """Hold what the claims brought."""
        for operation, answer in zip(group, answers, strict=True):
            claimed = answer if isinstance(operation, ops.Dequeue) else getattr(answer, "claims", None)
            self.held += claimed.jobs if claimed is not None else ()


@contextmanager
def two_ways(folder: Path) -> Iterator[tuple[Way, Way]]:
    (folder / "short").mkdir()
    (folder / "long").mkdir()
    configs = [SQLiteConfig(db_path=folder / name / "jobs.db") for name in ("short", "long")]
    with new_store(configs[0]) as short, new_store(configs[1]) as long:
        for store in (short, long):
            store.worker(1)
            store.worker(2)
        yield Way(short, short=True), Way(long, short=False)


def counted(patch: Patch) -> list[bool]:
    """For each commit from now on, whether it took the short way."""
    taken: list[bool] = []
    plainly = plain_commits.commit_plainly

    def watched(*arguments: Any) -> Any:
        done = plainly(*arguments)
        taken.append(done is not None)
        return done

    patch.setattr(commits, "commit_plainly", watched)
    return taken


def committed_elsewhere(way: Way) -> None:
    path = way.store.connection.execute("PRAGMA database_list").fetchone()[2]
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE jobs SET priority = 5 WHERE n = (SELECT max(n) FROM jobs WHERE waits_for = 0)")
        other.commit()


def play(folder: Path, seed: int) -> History:
    """Play a history both ways, and compare."""
    history = History(seed)
    with two_ways(folder) as (short, long):
        for turn in range(40):
            group = history.group()
            answers, events = short.commit(group, history.now)
            assert (answers, events) == long.commit(group, history.now), turn
            history.learn(group, answers)
            if turn % 10 == 9:
                assert short.rows() == long.rows(), turn
            if turn % history.alone_for == history.alone_for - 1:
                committed_elsewhere(short)
                committed_elsewhere(long)
        assert short.cache.last == long.cache.last
        assert short.cache.running == long.cache.running
    return history


@pytest.mark.parametrize("seed", range(60))
def test_a_history_gives_the_same_rows_answers_and_events(tmp_path: Path, seed: int, monkeypatch: Patch) -> None:
    taken = counted(monkeypatch)
    history = play(tmp_path, seed)
    assert sum(taken) > 15 or history.odd or history.linked


# -- which groups take it


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    """A connection that has committed before, and remembers what it needs."""
    with new_store(SQLiteConfig(db_path=tmp_path / "jobs.db")) as store:
        store.worker(1)
        way = Way(store, short=True)
        for _ in range(2):
            way.commit([submission("warm"), ops.Dequeue(claim=CLAIM)], 1)
        yield way


CLAIM = ClaimRequest(worker="w1", limit=4, functions=frozenset(FUNCTIONS))
_fresh = count()


def submission(name: str = "job", **options: Any) -> ops.Enqueue:
    options = {"id": f"{name}-{next(_fresh)}", "retry": RetryPolicy(), "generated": True, "call": b"1"} | options
    return ops.Enqueue(jobs=[NewJob(function="app:draw", queue="default", **options)])


def claimed(way: Way, *group: ops.Operation) -> list[ClaimedJob]:
    answers, _ = way.commit([*group, ops.Dequeue(claim=CLAIM)], 2)
    return list(answers[-1].jobs)


def success(job: ClaimedJob, value: bytes | None = b"1") -> AttemptEnd:
    return AttemptEnd(job.attempt, Outcome(OutcomeKind.SUCCEEDED, value))


def test_submissions_successes_and_a_claim_do(way: Way, monkeypatch: Patch) -> None:
    jobs = claimed(way, submission(), submission())
    taken = counted(monkeypatch)
    group = [submission(), submission(), ops.Finish(ends=[*map(success, jobs)], claim=CLAIM)]
    answers, _ = way.commit(group, 3)
    assert taken == [True]
    assert [job.attempt.job_id for job in answers[-1].claims.jobs] == [answers[0][0], answers[1][0]]


def test_so_do_successes_of_jobs_that_waited_for_a_slot(way: Way, monkeypatch: Patch) -> None:
    way.commit([submission() for _ in range(6)], 2)
    taken = counted(monkeypatch)
    while jobs := claimed(way):
        way.commit([ops.Finish(ends=[*map(success, jobs)])], 3)
    assert set(taken) == {True}


def test_and_what_others_may_have_changed_is_read_again(way: Way, monkeypatch: Patch) -> None:
    way.commit([submission() for _ in range(16)], 2)
    taken = counted(monkeypatch)
    ended: list[Any] = []
    while jobs := claimed(way):
        committed_elsewhere(way)
        answers, _ = way.commit([submission(), ops.Finish(ends=[*map(success, jobs)])], 3)
        ended += answers[1].results
        committed_elsewhere(way)
        if len(ended) > 40:
            break
    assert set(taken) == {True}
    assert set(ended) == {JobStatus.COMPLETED}


@pytest.mark.parametrize("oddity", [name for name in ODDITIES if name != "call"])
def test_no_group_with_a_job_that_is_not_plain_does(way: Way, oddity: str, monkeypatch: Patch) -> None:
    taken = counted(monkeypatch)
    way.commit([submission(), submission(**ODDITIES[oddity](random.Random(1)))], 2)
    assert taken == [False]


@pytest.mark.parametrize(
    ("operation", "short"),
    [
        (submission(call=b"x" * SMALL), True),
        (submission(call=b"x" * (SMALL + 1)), False),
        (submission(dependencies=(Dependency("warm-0"),)), False),
        (submission(group="g", priority=3, retry=RetryPolicy(max_retries=2)), True),
        (ops.ExtendLeases(worker=1), False),
        (ops.Dequeue(claim=replace(CLAIM, worker="w9")), False),
    ],
)
def test_what_does(way: Way, operation: ops.Operation, short: bool, monkeypatch: Patch) -> None:
    taken = counted(monkeypatch)
    way.commit([operation], 2)
    assert taken == [short]


@pytest.mark.parametrize(
    ("end", "short"),
    [
        (success, True),
        (lambda job: success(job, None), True),
        (lambda job: success(job, b"x" * SMALL), True),
        (lambda job: success(job, b"x" * (SMALL + 1)), False),
        (lambda job: AttemptEnd(job.attempt, Outcome(OutcomeKind.FAILED)), False),
        (lambda job: replace(success(job), body_events=(BodyEvent("log", {}, 1),)), False),
        (lambda job: replace(success(job), parked_on="gate"), False),
        (lambda job: replace(success(job), attempt=replace(job.attempt, attempt=2)), False),
        (lambda job: replace(success(job), attempt=replace(job.attempt, worker="w2")), False),
        (lambda job: replace(success(job), attempt=replace(job.attempt, ref=-1)), False),
    ],
)
def test_which_end_does(way: Way, end: Callable[[ClaimedJob], AttemptEnd], short: bool, monkeypatch: Patch) -> None:
    (job,) = claimed(way, submission())
    taken = counted(monkeypatch)
    way.commit([ops.Finish(ends=[end(job)])], 3)
    assert taken == [short]


def test_the_end_of_a_job_releases_plain_ones_that_depend_on_it(way: Way, monkeypatch: Patch) -> None:
    (job,) = claimed(way, submission())
    children = [submission(dependencies=(Dependency(job.attempt.job_id),), priority=i) for i in range(3)]
    for child in children:
        way.commit([child], 3)
    taken = counted(monkeypatch)
    answers, _ = way.commit([ops.Finish(ends=[success(job)], claim=replace(CLAIM, limit=2))], 4)
    assert taken == [True]
    assert [one.attempt.job_id for one in answers[0].claims.jobs] == [children[2].jobs[0].id, children[1].jobs[0].id]
    assert [one.attempt.job_id for one in claimed(way)] == [children[0].jobs[0].id]


@pytest.mark.parametrize(
    "options",
    [
        {"limit": Limit("key", 2)},
        {"run_at": 50},
        {"delay": 50},
        {"gate": True, "call": b""},
        {"call": b"x" * (SMALL + 1)},
    ],
    ids=str,
)
def test_but_not_others(way: Way, options: dict[str, Any], monkeypatch: Patch) -> None:
    (job,) = claimed(way, submission())
    way.commit([submission(dependencies=(Dependency(job.attempt.job_id),), **options)], 3)
    taken = counted(monkeypatch)
    way.commit([ops.Finish(ends=[success(job)], claim=CLAIM)], 4)
    assert taken == [False]


def test_nor_one_that_runs_or_has_run(way: Way, monkeypatch: Patch) -> None:
    jobs = claimed(way, submission(), submission())
    parents = tuple(Dependency(job.attempt.job_id) for job in jobs)
    way.commit([submission("child", dependencies=parents, require=1)], 3)
    taken = counted(monkeypatch)
    way.commit([ops.Finish(ends=[success(jobs[0])], claim=CLAIM)], 4)
    way.commit([ops.Finish(ends=[success(jobs[1])])], 5)
    assert taken == [True, False]


def test_nor_one_that_was_skipped_and_waits_again(way: Way, monkeypatch: Patch) -> None:
    (job,) = claimed(way, submission())
    for name, parent in (("child", job.attempt.job_id), ("grandchild", "child"), ("last", "grandchild")):
        way.commit([submission(id=name, generated=False, dependencies=(Dependency(parent),))], 3)
    way.commit([ops.Finish(ends=[AttemptEnd(job.attempt, Outcome(OutcomeKind.FAILED, retryable=False))])], 4)
    way.commit([ops.Retry(job_id=job.attempt.job_id)], 5)
    jobs = claimed(way)
    taken = counted(monkeypatch)
    while jobs:
        answers, _ = way.commit([ops.Finish(ends=[*map(success, jobs)], claim=CLAIM)], 6)
        jobs = answers[0].claims.jobs
    assert taken == [False, False, False, True]
    events = way.store.connection.execute(
        "SELECT e.seq, e.type FROM events e JOIN jobs j ON j.n = e.job WHERE j.id = 'grandchild' ORDER BY e.position"
    ).fetchall()
    kinds = ("submitted", "skipped", "retrying", "started", "completed")
    assert events == list(enumerate(kinds, start=1))


@pytest.mark.parametrize(
    "damage",
    [
        "priority = 'x'",
        "retry = x'c1'",
        "retry = 'x'",
        "call = 'x'",
        "call = NULL",
        "seq = 7",
        "attempt = 1",
        "require = 'x'",
    ],
)
def test_the_claim_of_a_row_that_is_damaged_does_not(way: Way, damage: str, monkeypatch: Patch) -> None:
    way.commit([submission("damaged")], 2)
    way.store.connection.execute(f"UPDATE jobs SET {damage} WHERE id LIKE 'damaged%'")
    taken = counted(monkeypatch)
    way.commit([ops.Dequeue(claim=CLAIM)], 3)
    assert taken == [False]


def test_nothing_is_written_by_a_group_that_turns_out_to_need_the_long_way(way: Way) -> None:
    way.commit([submission("damaged")], 2)
    way.store.connection.execute("UPDATE jobs SET seq = 7 WHERE id LIKE 'damaged%'")
    before = way.rows()
    way.store.connection.execute("BEGIN IMMEDIATE")
    group = [submission(), ops.Dequeue(claim=CLAIM)]
    known = way.cache.begin(way.store.connection, group)
    assert plain_commits.commit_plainly(way.store.connection, group, way.lanes, known, Clocks(3, 3, 3, 7), None) is None
    assert way.rows() == before
    assert not way.store.connection.execute("SELECT changes()").fetchone()[0] > 1
    way.store.connection.execute("ROLLBACK")


def test_the_loop_leaves_many_stored_jobs_to_the_thread(way: Way) -> None:
    way.commit([submission() for _ in range(4)], 2)
    moment = commits.Moment(Clocks(3, 3, 3, 7), lambda: 0.5)
    group = [ops.Dequeue(claim=CLAIM)]
    with pytest.raises(TooManyRowsError):
        commits.commit(way.store.connection, group, way.lanes, way.cache, moment, most_rows=3)
    assert (
        len(commits.commit(way.store.connection, group, way.lanes, way.cache, moment, most_rows=4).answers[0].jobs) == 4
    )


def rows_read(way: Way, group: Sequence[ops.Operation], most_rows: int | None = None) -> int:
    """Commit a group; return how many jobs it read with their calls. Entries of an index have two columns."""
    read: list[Any] = []

    def counting(_: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(row) > 5:
            read.append(row)
        return row

    way.store.connection.row_factory = counting
    moment = commits.Moment(Clocks(3, 3, 3, 7), lambda: 0.5)
    with suppress(TooManyRowsError):
        commits.commit(way.store.connection, group, way.lanes, way.cache, moment, most_rows=most_rows)
    way.store.connection.row_factory = None
    return len(read)


def test_the_loop_stops_to_read_when_there_is_more_than_it_may_do(way: Way) -> None:
    way.commit([submission() for _ in range(40)], 2)
    group = [ops.Dequeue(claim=replace(CLAIM, limit=40))]
    assert rows_read(way, group, most_rows=3) == 2 * (3 + 1)  # the short way, and the long one


def test_of_several_lanes_only_the_jobs_that_are_claimed_are_read(way: Way, monkeypatch: Patch) -> None:
    for function in FUNCTIONS:
        ready = [replace(submission().jobs[0], function=function, call=b"x" * (SMALL + 1)) for _ in range(5)]
        way.commit([ops.Enqueue(jobs=ready)], 2)
    taken = counted(monkeypatch)
    assert rows_read(way, [ops.Dequeue(claim=CLAIM)]) == CLAIM.limit
    assert taken == [True]


# -- the histories catch what they are made for


def a_result_is_lost(patch: Patch) -> None:
    update = plain_commits.update_alike
    patch.setattr(plain_commits, "update_alike", lambda *args: update(*args[:-1], [None] * len(args[-1])))


def fresh_jobs_overtake_stored_ones(patch: Patch) -> None:
    patch.setattr(plain_claims, "_first_of_lane", lambda *_: [])
    patch.setattr(plain_claims, "_places", lambda *_: iter(()))


def stored_jobs_overtake_fresh_ones(patch: Patch) -> None:
    patch.setattr(plain_claims, "heapq", SimpleNamespace(merge=chain, nsmallest=heapq.nsmallest))


def a_ready_lane_is_not_entered(patch: Patch) -> None:
    insert = plain_commits._insert

    def deaf(*args: Any) -> None:
        cache = args[3]
        known, cache.ready = cache.ready, None
        insert(*args)
        cache.ready = known

    patch.setattr(plain_commits, "_insert", deaf)


def edges_stay_open(patch: Patch) -> None:
    patch.setattr(plain_commits, "update_edges", lambda *_: None)


def what_is_released_is_not_entered(patch: Patch) -> None:
    release = plain_commits._release

    def deaf(*args: Any) -> None:
        known, args[3].ready = args[3].ready, None
        release(*args)
        args[3].ready = known

    patch.setattr(plain_commits, "_release", deaf)


def dependents_are_overlooked(patch: Patch) -> None:
    patch.setattr(plain_commits, "settle", lambda *_: plain_commits.NOTHING)


def every_worker_runs_everything(patch: Patch) -> None:
    split = plain_claims.split_lanes
    patch.setattr(plain_claims, "split_lanes", lambda ready, **of: split(ready, **(of | {"queues": None})))


@pytest.mark.untraced  # what runs here is wrong
@pytest.mark.parametrize(
    "defect",
    [
        a_result_is_lost,
        fresh_jobs_overtake_stored_ones,
        stored_jobs_overtake_fresh_ones,
        a_ready_lane_is_not_entered,
        dependents_are_overlooked,
        edges_stay_open,
        what_is_released_is_not_entered,
        every_worker_runs_everything,
    ],
)
def test_they_catch(defect: Callable[[Patch], None], tmp_path: Path, monkeypatch: Patch) -> None:
    defect(monkeypatch)
    with pytest.raises((AssertionError, sqlite3.IntegrityError)):
        for seed in range(60):
            (tmp_path / str(seed)).mkdir()
            play(tmp_path / str(seed), seed)
