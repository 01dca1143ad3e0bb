"""Apps that the tests start as real servers and stop: the processor's own, and one that is mounted in FastAPI.

The folder that the environment names has the database; so many jobs a second are submitted as it says.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from fastapi import FastAPI

from asyncjobs import JobProcessor, SQLiteConfig, current_job
from tests.faults.web_server import FOLDER, RATE


async def step() -> None:
    current_job().emit("output", {"said": True})


async def chatter(lines: int) -> None:
    for n in range(lines):
        current_job().emit("output", {"n": n, "text": "x" * 40_000})
        await anyio.sleep(0)


folder = Path(os.environ[FOLDER])
jp = JobProcessor(SQLiteConfig(db_path=folder / "jobs.db"), functions=[chatter, step])
alone = jp.asgi_app(submit=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with jp.lifespan(app), anyio.create_task_group() as tasks:
        tasks.start_soon(submit)
        yield
        tasks.cancel_scope.cancel()
    (folder / f"stopped-{os.getpid()}").touch()


async def submit() -> None:
    rate = float(os.environ.get(RATE, "0"))
    while rate:
        await jp.submit_job(step)
        await anyio.sleep(1 / rate)


mounted = FastAPI(lifespan=lifespan)
mounted.mount("/jobs", alone)
