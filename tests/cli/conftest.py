from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder with an application; a daemon that a test left running is stopped."""
    shell = Shell(tmp_path)
    yield shell
    for path in (tmp_path / "state" / "asyncjobs").glob("*.json"):
        name = path.name.rpartition("-")[0]
        shell.run("--app", "app:jp", "daemon", "stop", "--now", "--timeout", "10s", "--name", name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A store with jobs in several states, and no worker: only to be looked at."""
    import anyio

    from asyncjobs import DaemonConfig, JobProcessor, RetryPolicy, SQLiteConfig

    shell = Shell(tmp_path_factory.mktemp("finished"))
    config = SQLiteConfig(db_path=shell.folder / "jobs.db")

    async def fill() -> None:
        import importlib.util

        spec = importlib.util.spec_from_file_location("app", shell.folder / "app.py")
        assert spec is not None
        assert spec.loader is not None
        import sys

        app = importlib.util.module_from_spec(spec)
        sys.modules["app"] = app
        try:
            spec.loader.exec_module(app)
            async with JobProcessor(config, daemon=DaemonConfig(shutdown_timeout=0)) as jp:
                async with jp.batch() as batch:
                    plot = batch.submit_job(app.add, 1, job_id="plot", group="noir")
                    for i in range(3):
                        batch.submit_job(app.add, plot, job_id=f"panel_{i}", group="noir")
                    bad = batch.submit_job(
                        app.fail, "the\npen\x1b[31m slipped", job_id="panel_bad", group="noir",
                        retry=RetryPolicy(max_retries=0),
                    )  # fmt: skip
                    batch.submit_job(app.add, bad, job_id="page", group="noir")
                    batch.submit_job(app.talk, job_id="chatter")
                await jp.drain(timeout=20)
                await jp.submit_job(app.add, 1, delay=3600, job_id="later")
        finally:
            del sys.modules["app"]

    anyio.run(fill)
    return shell
