"""A process dies while it removes a large graph, between any two of its transactions: it is there, or it is gone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs import JobNotFoundError, JobQuery, JobStatus, SQLiteBackend, SQLiteConfig
from tests.faults.children import Child
from tests.faults.pruner import SIZE
from tests.faults.stores import new_job

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]


def left_behind(path: Path) -> dict[str, int]:
    """Rows of jobs that are not there, by table."""
    columns = {
        "calls_apart": "n",
        "edges": "parent",
        "events": "job",
        "attempts": "job",
        "results_apart": "n",
        "removed": "n",
    }
    with closing(sqlite3.connect(path)) as connection:
        counts = {
            table: connection.execute(
                f"SELECT count(*) FROM {table} WHERE {column} NOT IN (SELECT n FROM jobs)"
            ).fetchone()[0]
            for table, column in columns.items()
        }
    return {table: count for table, count in counts.items() if count}


@pytest.mark.parametrize(
    ("point", "commit", "gone"),
    [("before-commit", 1, False), ("after-commit", 1, True), ("before-commit", 2, True), ("after-commit", 3, True)],
)
async def test_killed_in_between(tmp_path: Path, point: str, commit: int, gone: bool) -> None:
    path = tmp_path / "jobs.db"
    with Child("tests.faults.pruner", path, point, commit, ledger=tmp_path / "ledger") as child:
        child.until("point", point)
        child.kill()
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        there = 0 if gone else SIZE
        counts = await backend.count_jobs()
        assert counts.get(JobStatus.SKIPPED, 0) + counts.get(JobStatus.CANCELLED, 0) == there
        assert len(await backend.get_dependent_jobs(["hub"])) == max(0, there - 1)
        assert bool(await backend.find_jobs(JobQuery(group="old"))) is not gone
        assert bool((await backend.read_events(group="old")).events) is not gone
        assert bool(left_behind(path)) is gone
        if gone:
            assert [event.job_id for event in (await backend.read_events()).events] == ["other"]
            with pytest.raises(JobNotFoundError):
                await backend.retry_job("hub")
            await backend.enqueue_jobs([new_job("j1", call=b"new")])
            assert await backend.get_dependencies(["j1"]) == []
            assert await backend.prune(2**62) == 0, "there is nothing to be found; what was left is cleared"
            assert {job.id for job in await backend.find_jobs(JobQuery())} == {"other", "j1"}
        else:
            await backend.retry_job("hub")
            assert await backend.prune(2**62) == 0
            assert (await backend.count_jobs())[JobStatus.PENDING] == SIZE + 1, "all of it was revived"
    assert left_behind(path) == {}
