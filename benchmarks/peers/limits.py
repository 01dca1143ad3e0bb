"""What no library can be above: the rows of asyncjobs written by ``sqlite3`` alone, and coroutines that asyncio starts.

The rows are those that asyncjobs itself has written, in a fresh file of the same schema. Where jobs are awaited one by
one, each has a transaction of its own; all others are one transaction. There is no update, no read, no second thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from asyncjobs import JobHandle, gather
from benchmarks.backlog_file import find_owners
from benchmarks.jobs import noop, processor
from benchmarks.peers.harness import SUBMITTERS, Measured, Surroundings
from benchmarks.peers.lines import LinesOut
from benchmarks.shapes import Parents, chain, fan, layered

_JOBS = 2_000
_SHAPES: dict[str, Callable[[], Parents]] = {
    "chain": lambda: chain(500),
    "layered": lambda: layered(10, 100, 3),
    "fan": lambda: fan(2_000),
}
Rows = dict[int, list[tuple[str, tuple[object, ...]]]]
"""Per job, the statements that insert its rows, and their values."""


def main() -> None:
    """Print a line for each scenario, as ``drive`` does."""
    out = LinesOut()
    around = Surroundings()
    for scenario in sys.argv[4:]:
        if around.variant == "asyncio":
            measured = asyncio.run(_by_asyncio(scenario))
        else:
            folder = around.folder / scenario
            folder.mkdir()
            measured = _by_sqlite(scenario, folder, around.variant.rpartition(" ")[2])
        out.say({"scenario": scenario, "jobs": measured.jobs, "figures": measured.figures})


# -- rows


def _by_sqlite(scenario: str, folder: Path, synchronous: str) -> Measured:
    source = folder / "jobs.db"
    asyncio.run(_write(folder, _shape(scenario)))
    with sqlite3.connect(source) as connection:
        rows = _rows(connection)
    target = _like(source, folder / "limit.db", synchronous)
    try:
        return _measured(scenario, target, rows)
    finally:
        target.close()
        connection.close()


def _measured(scenario: str, target: sqlite3.Connection, rows: Rows) -> Measured:
    jobs, every = len(rows), list(rows.values())
    if scenario == "one_by_one":
        rate = jobs / sum(_each(target, every))
        return Measured(jobs, one_by_one=rate, one_by_one_stored=rate)
    if scenario == "rounds":
        rounds = sorted(_each(target, every))
        return Measured(jobs, p50=1e3 * statistics.median(rounds), p99=1e3 * rounds[int(jobs * 0.99)])
    if scenario != "batch":
        return Measured(jobs, **{scenario: jobs / _together(target, every)})
    stored = _together(target, [_as_stored(its) for its in every])
    for table in find_owners(target):
        target.execute(f"DELETE FROM {table}")
    return Measured(jobs, batch=jobs / _together(target, every), batch_stored=jobs / stored)


def _as_stored(rows: Sequence[tuple[str, tuple[object, ...]]]) -> list[tuple[str, tuple[object, ...]]]:
    """The rows of a job that is only stored: one event instead of three, and no result."""
    _, *later = [row for row in rows if row[0].startswith("INSERT INTO events")]
    return [row for row in rows if row not in later and not row[0].startswith("INSERT INTO results_apart")]


def _shape(scenario: str) -> Parents:
    return _SHAPES[scenario]() if scenario in _SHAPES else [[] for _ in range(_JOBS)]


async def _write(folder: Path, parents: Parents) -> None:
    """Have asyncjobs run such a graph."""
    async with processor(folder) as jp:
        handles: list[JobHandle[object]] = []
        async with jp.batch() as batch:
            for i, above in enumerate(parents):
                handles.append(batch.submit_job(noop, i, depends_on=[handles[parent] for parent in above]))
        await gather(*handles)


def _rows(connection: sqlite3.Connection) -> Rows:
    rows: Rows = {}
    for table, owner in find_owners(connection).items():
        found = connection.execute(f"SELECT {owner}, * FROM {table} ORDER BY {owner}")
        marks = ", ".join("?" * (len(found.description) - 1))
        for job, *values in found:
            rows.setdefault(job, []).append((f"INSERT INTO {table} VALUES ({marks})", tuple(values)))
    return rows


def _like(source: Path, path: Path, synchronous: str) -> sqlite3.Connection:
    """An empty file with the schema and the settings of another."""
    model = sqlite3.connect(source)
    target = sqlite3.connect(path, isolation_level=None)
    page_size = model.execute("PRAGMA page_size").fetchone()[0]
    statements = [sql for (sql,) in model.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL") if sql]
    model.close()
    target.execute(f"PRAGMA page_size = {page_size}")
    target.execute("PRAGMA journal_mode = WAL")
    target.execute(f"PRAGMA synchronous = {synchronous}")
    for sql in statements:
        target.execute(sql)
    return target


def _each(target: sqlite3.Connection, rows: Iterable[Sequence[tuple[str, tuple[object, ...]]]]) -> list[float]:
    """Seconds of each job, in a transaction of its own."""
    seconds: list[float] = []
    for its in rows:
        began = time.perf_counter()
        target.execute("BEGIN IMMEDIATE")
        for sql, values in its:
            target.execute(sql, values)
        target.execute("COMMIT")
        seconds.append(time.perf_counter() - began)
    return seconds


def _together(target: sqlite3.Connection, rows: Iterable[Sequence[tuple[str, tuple[object, ...]]]]) -> float:
    """Seconds of all jobs, in one transaction."""
    by_statement: dict[str, list[tuple[object, ...]]] = {}
    for its in rows:
        for sql, values in its:
            by_statement.setdefault(sql, []).append(values)
    began = time.perf_counter()
    target.execute("BEGIN IMMEDIATE")
    for sql, values in by_statement.items():
        target.executemany(sql, values)
    target.execute("COMMIT")
    return time.perf_counter() - began


# -- coroutines


async def _by_asyncio(scenario: str) -> Measured:
    if scenario in _SHAPES:
        parents = _SHAPES[scenario]()
        return Measured(len(parents), **{scenario: len(parents) / await _timed(_graph(parents))})
    if scenario == "rounds":
        rounds = sorted([await _timed(asyncio.create_task(noop(value))) for value in range(_JOBS)])
        return Measured(_JOBS, p50=1e3 * statistics.median(rounds), p99=1e3 * rounds[int(_JOBS * 0.99)])
    work = {"one_by_one": _in_turn(_JOBS), "submitters_100": _submitters(), "batch": _at_once()}
    rate = _JOBS / await _timed(work.pop(scenario))
    for coroutine in work.values():
        coroutine.close()
    return Measured(_JOBS, **{scenario: rate})


async def _timed(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _in_turn(jobs: int) -> None:
    for value in range(jobs):
        await asyncio.create_task(noop(value))


async def _submitters() -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SUBMITTERS):
            tasks.create_task(_in_turn(_JOBS // SUBMITTERS))


async def _at_once() -> None:
    await asyncio.gather(*(asyncio.create_task(noop(value)) for value in range(_JOBS)))


async def _graph(parents: Parents) -> None:
    tasks: list[asyncio.Task[object]] = []

    async def node(value: int, above: Sequence[int]) -> object:
        for parent in above:
            await tasks[parent]
        return await noop(value)

    for i, above in enumerate(parents):
        tasks.append(asyncio.create_task(node(i, above)))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    main()
