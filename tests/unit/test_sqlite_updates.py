"""Rows that change are written by what changed: the same rows come out as if all columns were written."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs.backends.sqlite import job_updates, plan_writes
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import SMALL
from asyncjobs.backends.sqlite.plan_rows import Rows
from asyncjobs.backends.sqlite.plan_writes import write
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.plan import Writes
from asyncjobs.core.state import JobState, Role
from asyncjobs.models import JobStatus, WaitsFor
from tests.unit.sqlite_store import Store, new_store

CLOCKS = Clocks(1_000, 500, 500, 7)
COUNT = 60
CHANGES: dict[str, list[Any]] = {
    "status": list(JobStatus),
    "waits_for": [None, WaitsFor.WORKER, WaitsFor.DEPENDENCIES],
    "run_at": [None, 5, 2_000],
    "attempt": [0, 1, 2],
    "failures": [0, 1],
    "interruptions": [0, 1],
    "open": [0, 1, 2],
    "met": [0, 1, 2],
    "cancel_requested": [False, True],
    "worker": [None, 1, 2],
    "started_at": [None, 900, 1_000],
    "finished_at": [None, 1_000],
    "because": [None, "job-1"],
    "seq": [1, 2, 3, 4],
    "lasts": [False, False, False, True],
    "generation": [0, 0, 0, 1],
    "role": [None, None, None, Role.ASKER],
}


def changed(jobs: list[JobState], results: Sequence[tuple[int, bytes]] = ()) -> Writes:
    return Writes([], [], jobs, [], [], list(results), {}, {}, [], [])


def rows_of(connection: sqlite3.Connection) -> list[Any]:
    return [connection.execute(f"SELECT * FROM {table} ORDER BY n").fetchall() for table in ("jobs", "results_apart")]


def varied(rng: random.Random, job: JobState, fields: int) -> JobState:
    names = rng.sample(list(CHANGES), fields)
    return kept(job, **{name: rng.choice(CHANGES[name]) for name in names})


def kept(job: JobState, **changes: Any) -> JobState:
    """Change a job, except that neither a role nor a retry by hand is ever undone."""
    return replace(
        job, **{name: value for name, value in changes.items() if name not in ("role", "generation") or value}
    )


def result_of(rng: random.Random, job: JobState) -> bytes:
    """One that others have, too, one of its own, or one that is too large for the row."""
    return rng.choice((b"\xc0", b"%d" % job.n, b"%d" % job.n * SMALL))


def played(store: Store, seed: int) -> list[Any]:
    """Write a history of changes; return the rows after each."""
    rng = random.Random(seed)
    rows = Rows(store.connection, CLOCKS, ConnectionCache())
    jobs = {job.n: job for job in rows.jobs(list(range(1, COUNT + 1)))}
    after: list[Any] = []
    for _ in range(6):
        alike = varied(rng, JobState(0, ""), rng.randint(1, 4))
        same = {
            name: getattr(alike, name) for name in CHANGES if getattr(alike, name) != getattr(JobState(0, ""), name)
        }
        chosen = rng.sample(list(jobs), rng.choice((1, 5, COUNT)))
        news = [
            kept(jobs[n], **same) if rng.random() < 0.7 else varied(rng, jobs[n], rng.randint(0, 5)) for n in chosen
        ]
        jobs |= {job.n: job for job in news}
        results = [(job.n, result_of(rng, job)) for job in news if job.status is JobStatus.COMPLETED]
        write(store.connection, changed(news, results), {}, CLOCKS, rows.stored)
        after.append(rows_of(store.connection))
    return after


def filled(folder: Path) -> SQLiteConfig:
    folder.mkdir()
    return SQLiteConfig(db_path=folder / "jobs.db")


@pytest.mark.parametrize("seed", range(40))
def test_it_makes_no_difference_how_much_of_a_row_is_written(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories: list[list[Any]] = []
    for way in ("narrow", "whole"):
        with new_store(filled(tmp_path / way)) as store, monkeypatch.context() as patch:
            for n in range(1, COUNT + 1):
                store.job(n)
            if way == "whole":
                patch.setattr(plan_writes, "update_jobs", wholly)
            histories.append(played(store, seed))
    assert histories[0] == histories[1]


def wholly(
    connection: sqlite3.Connection, jobs: list[JobState], results: list[tuple[int, bytes]], clocks: Clocks, _: object
) -> None:
    if jobs:
        job_updates._update_whole(connection, jobs, clocks)
    for n, value in results:
        if len(value) <= SMALL:
            connection.execute("UPDATE jobs SET result = ? WHERE n = ?", (value, n))
        else:
            connection.execute("INSERT OR REPLACE INTO results_apart(n, value) VALUES (?, ?)", (n, value))
            connection.execute("UPDATE jobs SET result = NULL WHERE n = ?", (n,))


def thirty(store: Store) -> tuple[Rows, list[JobState], list[str]]:
    """The view of a transaction, thirty jobs that it has read, and the statements from then on."""
    for n in range(1, 31):
        store.job(n)
    rows = Rows(store.connection, CLOCKS, ConnectionCache())
    jobs = list(rows.jobs(list(range(1, 31))))
    statements: list[str] = []
    store.connection.set_trace_callback(statements.append)
    return rows, jobs, statements


def test_rows_that_change_alike_take_one_statement(tmp_path: Path) -> None:
    with new_store(filled(tmp_path / "file")) as store:
        rows, jobs, statements = thirty(store)
        ended = [replace(job, status=JobStatus.COMPLETED, waits_for=None, finished_at=1_000, seq=3) for job in jobs]
        write(store.connection, changed(ended), {}, CLOCKS, rows.stored)
        assert len(statements) == 1
        write(store.connection, changed(ended), {}, CLOCKS, rows.stored)
        assert len(statements) == 1, "nothing has changed since"


def test_so_do_those_whose_results_differ(tmp_path: Path) -> None:
    with new_store(filled(tmp_path / "file")) as store:
        rows, jobs, statements = thirty(store)
        ended = [replace(job, status=JobStatus.COMPLETED, waits_for=None, finished_at=1_000, seq=3) for job in jobs]
        results = [(job.n, b"%d" % job.n) for job in jobs]
        write(store.connection, changed(ended, results), {}, CLOCKS, rows.stored)
        assert len(statements) == 1
        stored = store.connection.execute("SELECT n, result FROM jobs ORDER BY n").fetchall()
        assert stored == results


@pytest.mark.parametrize(("size", "where"), [(SMALL, "jobs"), (SMALL + 1, "results")])
def test_a_small_result_stands_in_the_row_and_a_larger_one_beside_it(tmp_path: Path, size: int, where: str) -> None:
    with new_store(filled(tmp_path / "file")) as store:
        store.job(1)
        rows = Rows(store.connection, CLOCKS, ConnectionCache())
        [job] = rows.jobs([1])
        ended = replace(job, status=JobStatus.COMPLETED, waits_for=None, finished_at=1_000, seq=3)
        write(store.connection, changed([ended], [(1, b"v" * size)]), {}, CLOCKS, rows.stored)
        found = {
            "jobs": store.connection.execute("SELECT result FROM jobs WHERE result IS NOT NULL").fetchall(),
            "results": store.connection.execute("SELECT value FROM results_apart").fetchall(),
        }
        assert [table for table, values in found.items() if values == [(b"v" * size,)]] == [where]
        assert sum(map(len, found.values())) == 1
        assert Rows(store.connection, CLOCKS, ConnectionCache()).result(1) == b"v" * size


def test_rows_that_all_change_otherwise_take_one_statement_too(tmp_path: Path) -> None:
    with new_store(filled(tmp_path / "file")) as store:
        rows, jobs, statements = thirty(store)
        write(store.connection, changed([replace(job, seq=job.n + 7) for job in jobs]), {}, CLOCKS, rows.stored)
        assert len(statements) == 1


def test_a_row_that_cannot_be_read_is_written_as_a_whole(tmp_path: Path) -> None:
    with new_store(filled(tmp_path / "file")) as store:
        store.job(1, failures=b"not a number")
        rows = Rows(store.connection, CLOCKS, ConnectionCache())
        [job] = rows.jobs([1])
        write(store.connection, changed([replace(job, seq=9)]), {}, CLOCKS, rows.stored)
        assert store.connection.execute("SELECT failures, seq FROM jobs").fetchall() == [(0, 9)]
