"""Workers in processes of their own, on a store that others read, too."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import Process

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig

TAKING_UP = DaemonConfig(lease=2.0, heartbeat=0.5, allowed_modules=["tests.crewai"])
"""What takes up jobs whose worker is gone, soon."""


@asynccontextmanager
async def worker(
    config: SQLiteConfig, *arguments: str, program: str = "plain_worker", **variables: str
) -> AsyncIterator[Process]:
    """A worker, which is killed in the end.

    :param variables: its environment, besides that of this process.
    """
    command = [sys.executable, "-W", "ignore", "-m", f"tests.crewai.{program}", str(config.db_path), *arguments]
    async with await anyio.open_process(command, env={**os.environ, **variables}, stdout=None, stderr=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)


async def all_present(jp: JobProcessor, count: int) -> None:
    """Wait until so many workers are registered."""
    with anyio.fail_after(60):
        while len(await jp.workers()) < count:
            await anyio.sleep(0.05)
