"""The bodies that are submitted, and how a processor is opened for them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncjobs import DaemonConfig, JobProcessor
from asyncjobs.config import SQLiteConfig
from benchmarks.result import Synchronous

SLOTS = 32


async def noop(value: object) -> object:
    """Return what it got: what is left is the engine."""
    return value


async def join(*_: object) -> None:
    """A job with any number of parents."""


def block(seconds: float) -> None:
    """Keep a thread for this long."""
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Keep the interpreter lock busy for this much of processor time, in a thread.

    By the clock of the thread: what others on the machine take is not in it, so two of them on one processor take
    twice as long.
    """
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(500))


@asynccontextmanager
async def processor(
    folder: Path,
    *,
    synchronous: Synchronous = "NORMAL",
    daemon: bool = True,
    checkpoint_size: int | None = None,
    slots: int = SLOTS,
) -> AsyncGenerator[JobProcessor]:
    """A processor on a fresh file that has run a few jobs."""
    config = SQLiteConfig(db_path=folder / "jobs.db", synchronous=synchronous)
    if checkpoint_size is not None:
        config = SQLiteConfig(db_path=config.db_path, synchronous=synchronous, checkpoint_size=checkpoint_size)
    async with JobProcessor(config, enable_daemon=daemon, daemon=DaemonConfig(num_workers=slots)) as jp:
        if daemon:
            for value in range(20):
                await (await jp.submit_job(noop, value))
        yield jp
