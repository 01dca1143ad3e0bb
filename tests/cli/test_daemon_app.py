"""``--app``: the daemon enters the processor that is named, so that bodies of its module use it as they do embedded."""

from __future__ import annotations

import pytest

from asyncjobs import SQLiteConfig, SyncJobs
from tests.cli.support import Shell

pytestmark = pytest.mark.slow

SHOP = """
from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig, current_job, job


async def add(a, b=1):
    return a + b


async def through_jp():
    return await (await jp.submit_job(add, 1))


def through_jp_in_a_thread():
    return current_job().run_sync(through_jp)


@job(isolation="process")
async def through_jp_isolated():
    return await through_jp()


async def settings():
    return [jp.daemon.config.slots, str(jp.backend_config.file.name), jp.backend_config.busy_timeout]


jp = JobProcessor(
    SQLiteConfig(path="shop.db", busy_timeout=7.0), enable_daemon=False, daemon=DaemonConfig(slots=3), fallback="sync"
)
"""


@pytest.fixture
def shop(shell: Shell) -> Shell:
    (shell.folder / "shop.py").write_text(SHOP)
    return shell


def run(shop: Shell, *functions: str, db: tuple[str, ...] = ()) -> list[object]:
    """Run these functions, one after the other, in the only slot of a daemon. Return results, or errors as text."""
    ended: list[object] = []
    shop.good(*db, "--app", "shop:jp", "daemon", "start", "-d", "--slots", "1")
    try:
        path = shop.folder / (db[1] if db else "shop.db")
        with SyncJobs(SQLiteConfig(path=path), enable_daemon=False) as jobs:
            for name in functions:
                shop.good(*db, "--app", "shop:jp", "jobs", "submit", f"shop:{name}", "--max-retries", "0", "--id", name)
                job = jobs.wait_for_job(name, timeout=30)
                ended.append(jobs.poll_status(job.id).result if job.error is None else job.error.message)
    finally:
        shop.good(*db, "--app", "shop:jp", "daemon", "stop", "--now")
    return ended


def test_bodies_use_the_applications_own_processor(shop: Shell) -> None:
    assert run(shop, "through_jp", "through_jp_in_a_thread") == [2, 2]


def test_it_has_the_settings_of_the_command(shop: Shell) -> None:
    assert run(shop, "settings") == [[1, "shop.db", 7.0]]
    assert run(shop, "settings", db=("--db", "other.db"))[0][:2] == [1, "other.db"]  # type: ignore[index]


def test_in_a_process_of_its_own_the_error_names_what_to_call(shop: Shell) -> None:
    [message] = run(shop, "through_jp_isolated")
    assert "current_job().submit_job(" in str(message)
