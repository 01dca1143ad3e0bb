"""``--app``: the daemon enters the processor that is named, so that bodies of its module use it as they do embedded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from asyncjobs import JobStatus, SQLiteConfig, SyncJobs
from tests.cli.support import Shell

pytestmark = pytest.mark.slow

SHOP = """
from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig, current_job, job
from asyncjobs.processor import get_engine


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
    config = get_engine(jp).settings.backend_config
    return [jp.daemon.config.num_workers, str(config.file.name), config.busy_timeout]


jp = JobProcessor(
    SQLiteConfig(db_path="shop.db", busy_timeout=7.0),
    enable_daemon=False,
    daemon=DaemonConfig(num_workers=3),
    fallback="sync",
)
"""


@pytest.fixture
def shop(shell: Shell) -> Shell:
    (shell.folder / "shop.py").write_text(SHOP)
    return shell


def run(shop: Shell, *functions: str, db: tuple[str, ...] = ()) -> list[object]:
    """Run these functions, one after the other, in the only slot of a daemon. Return results, or errors as text."""
    ended: list[object] = []
    shop.good(*db, "--app", "shop:jp", "daemon", "start", "-d", "--num-workers", "1")
    try:
        path = shop.folder / (db[1] if db else "shop.db")
        with SyncJobs(SQLiteConfig(db_path=path), enable_daemon=False) as jobs:
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
    assert run(shop, "settings", db=("--db", "other.db"))[0][:2] == [1, "other.db"]


def test_in_a_process_of_its_own_the_error_names_what_to_call(shop: Shell) -> None:
    [message] = run(shop, "through_jp_isolated")
    assert "current_job().submit_job(" in str(message)


POEMS = """
import sys
from asyncjobs import JobProcessor, SQLiteConfig, SyncJobs
from asyncjobs.core.codec import adapted


class Poem:
    def __init__(self, title):
        self.title = title

    def run(self, inputs):
        return [self.title, inputs]


def make(title):
    return Poem(title)


jp = JobProcessor(SQLiteConfig(db_path="shop.db"), functions=[make])

if __name__ == "__main__":
    with SyncJobs(SQLiteConfig(db_path="shop.db"), enable_daemon=False) as jobs:
        for isolation in ("thread", "process"):
            jobs.submit_job(adapted("demo", make), "noir", inputs={"n": 1}, isolation=isolation, job_id=isolation)
"""


@pytest.mark.parametrize("moved", [False, True], ids=["there", "moved"])
def test_what_an_adapter_makes_of_a_function_of_a_script_runs_with_the_script_as_application(
    shell: Shell, moved: bool
) -> None:
    script = shell.folder / "shop.py"
    script.write_text(POEMS)
    subprocess.run([sys.executable, "shop.py"], cwd=shell.folder, env=shell.environment, check=True)
    if moved:  # as on another machine: there is a file of this name, and not at this path
        (shell.folder / "elsewhere").mkdir()
        script.rename(shell.folder / "elsewhere" / "shop.py")
        shell.environment["PYTHONPATH"] = f"{shell.folder / 'elsewhere'}:{shell.environment.get('PYTHONPATH', '')}"
    path = {"PYTHONPATH": shell.environment.get("PYTHONPATH", "")}
    shell.good("--app", "shop:jp", "daemon", "start", "-d", **path)
    try:
        with SyncJobs(SQLiteConfig(db_path=shell.folder / "shop.db"), enable_daemon=False) as jobs:
            for job_id in ("thread", "process"):
                job = jobs.wait_for_job(job_id, timeout=30)
                assert job.error is None
                assert job.func == f"demo+{shell.folder.resolve() / 'shop.py'}:make"
                assert jobs.poll_status(job_id).result == ["noir", {"n": 1}]
    finally:
        shell.good("--app", "shop:jp", "daemon", "stop", "--now", **path)


BOOK = """
import asyncio
from dataclasses import dataclass

from asyncjobs import JobProcessor, SQLiteConfig, current_job


@dataclass
class Page:
    number: int


async def draw(page: Page) -> Page:
    return Page(page.number * 10)


def write(text: str) -> str:
    return text


async def book() -> list[object]:
    job = current_job()
    drawn = [await job.submit_job(draw, Page(n)) for n in (1, 2)]
    end = await job.submit_job(write, "the end", key="end", delay=3600)
    numbers = [(await page).number for page in drawn]
    if job.attempt == 1:
        print("drawn", flush=True)
        await asyncio.Event().wait()
    return [numbers, [*drawn, end]]


jp = JobProcessor(SQLiteConfig(db_path="shop.db"))


async def main() -> None:
    async with jp:
        await (await jp.submit_job(book, job_id="book"))


if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_parent_of_a_script_that_was_killed_gets_its_children_again(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(BOOK)
    script = subprocess.Popen(
        [sys.executable, "shop.py"], cwd=shell.folder, env=shell.environment, stdout=subprocess.PIPE, text=True
    )
    with script:
        assert script.stdout is not None
        try:
            assert script.stdout.readline() == "drawn\n"
        finally:
            script.kill()
    shell.good("--app", "shop:jp", "daemon", "start", "-d")
    try:
        with SyncJobs(SQLiteConfig(db_path=shell.folder / "shop.db"), enable_daemon=False) as jobs:
            ended = jobs.wait_for_job("book", timeout=30)
            assert (ended.status, ended.error, ended.attempt) == (JobStatus.COMPLETED, None, 2)
            numbers, children = jobs.poll_status("book").result
            assert numbers == [10, 20]
            found = {job.id: job for job in jobs.find_jobs()}
            assert set(found) == {"book", *children}
            assert [found[child].attempt for child in children] == [1, 1, 0]
            assert {job.func.rpartition(":")[0] for job in found.values()} == {str(shell.folder / "shop.py")}
    finally:
        shell.good("--app", "shop:jp", "daemon", "stop", "--now")
