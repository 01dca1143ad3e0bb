"""A submitted job is inserted with few columns if the others have their defaults: the same rows come out."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs.backends.sqlite import job_inserts
from asyncjobs.backends.sqlite.bulk import LARGE
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.job_inserts import LaneNumbers, insert_jobs
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import SMALL
from asyncjobs.backends.sqlite.plan_rows import Rows
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.plan import Record
from asyncjobs.core.state import JobState, Role
from asyncjobs.models import JobStatus, WaitsFor
from tests.unit.sqlite_store import Store, new_store

CLOCKS = Clocks(1_000, 500, 500, 7)
LANES: LaneNumbers = {("default", "app:draw", None): 1, ("slow", "app:write", "w1"): 2}
PLAIN = Record(
    job=JobState(n=0, id="", seq=1),
    queue="default",
    function="app:draw",
    owner=None,
    parent=None,
    created_at=900,
    timeout=None,
    capacity=None,
    call=b"call",
    injects=False,
    isolation="thread",
    metadata=None,
)
OF_JOB: dict[str, list[Any]] = {
    "status": [JobStatus.IN_PROGRESS, JobStatus.SKIPPED],
    "waits_for": [None, WaitsFor.TIME],
    "priority": [7],
    "run_at": [2_000],
    "attempt": [1],
    "failures": [1],
    "interruptions": [1],
    "max_interruptions": [0],
    "require": [1],
    "open": [2],
    "met": [1],
    "limit": ["gpu"],
    "cancel_requested": [True],
    "worker": [3],
    "started_at": [1_000],
    "finished_at": [1_000],
    "because": ["parent"],
    "group": ["g"],
    "role": [Role.GATE],
}
OF_RECORD: dict[str, list[Any]] = {
    "owner": ["w1"],
    "parent": [1],
    "timeout": [0.5],
    "call": [b"", b"c" * SMALL, b"c" * (SMALL + 1)],
    "injects": [True],
    "isolation": ["process"],
    "metadata": [b'{"k": 1}', b'{"k": "' + b"v" * SMALL + b'"}'],
}


def varied(rng: random.Random, n: int) -> Record:
    """A plain job in two of three cases, else one with a few other values."""
    count = rng.choice((0, 0, 0, 1, 1, 3))
    names = rng.sample([*OF_JOB, *OF_RECORD], count)
    state = {name: rng.choice(OF_JOB[name]) for name in names if name in OF_JOB}
    record = {name: rng.choice(OF_RECORD[name]) for name in names if name in OF_RECORD}
    if "owner" in record:
        record |= {"queue": "slow", "function": "app:write"}
    if "run_at" in state:
        state["lasts"] = rng.random() < 0.5
    return replace(PLAIN, job=replace(PLAIN.job, n=n, id=f"job-{n}", **state), **record)


def rows_of(store: Store) -> list[Any]:
    return [
        store.connection.execute(f"SELECT * FROM {table} ORDER BY n").fetchall() for table in ("jobs", "calls_apart")
    ]


@pytest.mark.parametrize("seed", range(30))
def test_it_makes_no_difference_which_columns_are_left_out(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    batches = [[varied(rng, start + i) for i in range(20)] for start in (1, 21, 41)]
    found: list[Any] = []
    for way in ("short", "long"):
        config = SQLiteConfig(db_path=tmp_path / f"{way}.db")
        with new_store(config) as store, monkeypatch.context() as patch:
            if way == "long":
                patch.setattr(job_inserts, "_is_plain", lambda record: False)
            for batch in batches:
                insert_jobs(store.connection, batch, LANES, CLOCKS)
            found.append(rows_of(store))
            rows = Rows(store.connection, CLOCKS, ConnectionCache())
            records = [record for batch in batches for record in batch]
            assert [rows.call(record.job.n) for record in records] == [record.call for record in records]
            states = [record.job for record in records]
            assert sorted(rows.jobs([job.n for job in states]), key=lambda job: job.n) == states
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("record", "beside"),
    [
        (replace(PLAIN, call=b"c" * SMALL), False),
        (replace(PLAIN, call=b"c" * (SMALL + 1)), True),
        (replace(PLAIN, call=b"c" * (SMALL - 8), metadata=b'{"k": 1}'), False),
        (replace(PLAIN, call=b"c" * (SMALL - 7), metadata=b'{"k": 1}'), True),
        (replace(PLAIN, call=b"c" * (LARGE + 1)), True),
    ],
    ids=["small", "large", "small with its metadata", "large with its metadata", "written in parts"],
)
def test_a_small_call_stands_in_the_row_with_what_belongs_to_it(tmp_path: Path, record: Record, beside: bool) -> None:
    with new_store(SQLiteConfig(db_path=tmp_path / "jobs.db")) as store:
        insert_jobs(store.connection, [replace(record, job=replace(record.job, n=1, id="a"))], LANES, CLOCKS)
        in_row = store.connection.execute("SELECT injects, metadata, call FROM jobs").fetchone()
        others = store.connection.execute("SELECT injects, metadata, call FROM calls_apart").fetchall()
        whole = (0, None if record.metadata is None else record.metadata.decode(), record.call)
        assert (in_row, others) == (((None, None, None), [whole]) if beside else (whole, []))


def test_a_plain_job_takes_one_statement(tmp_path: Path) -> None:
    with new_store(SQLiteConfig(db_path=tmp_path / "jobs.db")) as store:
        statements: list[str] = []
        store.connection.set_trace_callback(statements.append)
        insert_jobs(store.connection, [replace(PLAIN, job=replace(PLAIN.job, n=1, id="a"))], LANES, CLOCKS)
        assert len(statements) == 1
