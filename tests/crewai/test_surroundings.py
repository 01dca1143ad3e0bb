"""Stores, folders and variables around a run that do not do as they should."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import anyio
import pytest

from asyncjobs import DaemonConfig, JobExecutionError, JobProcessor, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, first_piece
from tests.crewai.workers import all_present, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_runs_wait_for_a_worker_with_a_home_that_can_be_written_and_say_why(
    config: SQLiteConfig, model: Model, tmp_path: Path
) -> None:
    """CrewAI makes folders in the home folder when it is imported, wherever its storage is."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    if os.access(home, os.W_OK):  # root may write everywhere, but in the kernel's folders
        home = Path("/sys")
    with pytest.raises(PermissionError):
        (home / "written").mkdir()
    async with JobProcessor(config, enable_daemon=False) as jp:
        job = await jp.submit_crew_run(crews.one, {"topic": "noir"}, max_retries=0)
        async with worker(config, HOME=str(home)):
            with anyio.fail_after(60):
                while f"Errno {errno.EPERM if home == Path('/sys') else errno.EACCES}" not in str(await jp.why(job.id)):
                    await anyio.sleep(0.05)
        async with worker(config, HOME=str(tmp_path)):
            assert (await job.result(timeout=60)).raw
        assert (await jp.get_job(job.id)).attempt == 1


async def test_two_daemons_with_one_storage_folder(config: SQLiteConfig, model: Model) -> None:
    async with JobProcessor(config, enable_daemon=False) as jp, worker(config, "2"), worker(config, "2"):
        await all_present(jp, 2)
        topics = [{"topic": f"{n} [[slow 0.5]]"} for n in range(12)]
        jobs = [await jp.submit_crew_run(crews.one, topic, max_retries=0) for topic in topics]
        assert all([(await job.result(timeout=60)).raw for job in jobs])
        ran = [(await jp.get_attempts(job.id))[0].worker for job in jobs]
    assert len(ran) == 12
    assert len(set(ran)) == 2


async def test_a_store_that_is_away_for_20_s_in_the_middle_of_a_run(tmp_path: Path, model: Model) -> None:
    """Longer than a lease. What was answered meanwhile is kept, once the store is back, and paid once."""
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", busy_timeout=2)
    async with JobProcessor(config, daemon=DaemonConfig()) as jp:
        job = await jp.submit_crew_run(crews.two, {"topic": "noir [[words 20]] [[every 0.1]]", "second": ""})
        await first_piece(jp, job)
        locker = sqlite3.connect(config.db_path, isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        await anyio.sleep(20)  # slowness is what it is about
        locker.execute("ROLLBACK")
        locker.close()
        assert (await job).raw
        events = await events_of(jp, job)
    finished = model.finished()
    assert len(finished) == len(set(finished)) == 2
    texts: dict[str, str] = {}
    for piece in data_of(events, "agent_output", "chunk"):
        texts[piece["call"]] = texts.get(piece["call"], "") + piece["text"]
    assert sorted(len(text.removeprefix("Final Answer: ").split()) for text in texts.values()) == [5, 20]


async def test_locks_in_a_redis_that_is_not_there_fail_the_run_and_say_so(config: SQLiteConfig, model: Model) -> None:
    """``REDIS_URL`` makes CrewAI keep its locks there. That is the operator's: nothing of ours reads or changes it."""
    async with JobProcessor(config, enable_daemon=False) as jp, worker(config, REDIS_URL="redis://127.0.0.1:1/0"):
        job = await jp.submit_crew_run(crews.one, {"topic": "noir"}, max_retries=0)
        with pytest.raises(JobExecutionError) as raised:
            await job.result(timeout=60)
    assert "127.0.0.1:1" in raised.value.message
