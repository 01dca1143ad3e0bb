"""A hundred answers at once, from four processes on one file: exactly one wins."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from asyncjobs import JobProcessor, JobStatus, SQLiteConfig
from tests.faults.children import Child

PROGRAM = "tests.faults.answer_program"
PROCESSES, EACH = 4, 25

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]


async def test_one_of_a_hundred_answers_wins_and_equal_ones_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=str(path)), enable_daemon=False) as jp:
        gate = await jp.submit_gate("Whose?", answer_type=str, job_id="race", timeout=600)
        same = await jp.submit_gate("Sure?", choices=["yes", "no"], job_id="same", timeout=600)
        told = answer_from_processes(path, tmp_path / "ledger")
        ended = (await jp.get_job(gate)).gate
        assert ended is not None
        assert ended.answered_at is not None
        winner = await gate
        assert ended.answered_by == f"by-{winner}"
        assert told["race", "won", winner] == 1
        assert told["race", "lost", f"by-{winner}", ended.answered_at.isoformat()] == PROCESSES * EACH - 1
        assert await same == "yes"
        assert told["same", str(JobStatus.COMPLETED)] == PROCESSES * EACH
    with closing(sqlite3.connect(path)) as connection:
        types = connection.execute("SELECT type, count(*) FROM events GROUP BY type").fetchall()
    assert dict(types) == {"submitted": 2, "asked": 2, "completed": 2}, "each was answered once"


def answer_from_processes(path: Path, ledger: Path) -> Counter[tuple[str, ...]]:
    """Let the processes answer; return what they tell, and how often."""
    told: Counter[tuple[str, ...]] = Counter()
    with ExitStack() as stack:
        children = [Child(PROGRAM, path, f"p{number}", EACH, ledger=ledger) for number in range(PROCESSES)]
        for child in children:
            stack.enter_context(child)
        for child in children:
            child.until("opened")
        for child in children:
            child.say("go")
        for child in children:
            told.update(map(tuple, child.rest()))
            assert child.end() == 0, child.errors()
    return told
