"""Small programs of the fault tests: ``python -m tests.faults.scenarios NAME FILE …``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread

from asyncjobs import DaemonConfig, JobProcessor, RetryPolicy, SQLiteConfig
from asyncjobs.processor import get_engine
from tests.faults import bodies, defects
from tests.faults.bodies import tell

QUICK = RetryPolicy(max_retries=2, base=0.0)
SCENARIOS: dict[str, Callable[..., Awaitable[None]]] = {}


def scenario(function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    SCENARIOS[function.__name__] = function
    return function


async def listen() -> str:
    """The next line that the parent writes."""
    return (await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)).strip()


def told_when_recorded(recorded: Callable[..., None]) -> Callable[..., None]:
    """Says ``recorded`` once the worker has an answer to an outcome, whatever it is."""

    def then_tell(end: Any, result: Any, *more: Any) -> None:
        recorded(end, result, *more)
        tell("recorded", end.attempt.job_id, end.attempt.attempt, type(result).__name__)

    return then_tell


@scenario
async def two_broken_parents(path: str) -> None:
    """A job has two parents that fail; one of them is retried, and completes."""
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        first = await jp.submit_job(bodies.work, job_id="first", kwargs={"fails": 1}, max_retries=0)
        second = await jp.submit_job(bodies.work, job_id="second", kwargs={"fails": 99}, max_retries=0)
        await jp.submit_job(bodies.work, job_id="both", depends_on=[first, second])
        await jp.drain()
        await first.retry()
        await jp.drain()


@scenario
async def run(path: str, lease: str, *arguments: str) -> None:
    """Run what is there, and what ``FUNCTION ID ARGUMENT`` names, until a line comes. Says ``opened``."""
    seconds = float(lease)
    daemon = DaemonConfig(lease=seconds, heartbeat=seconds / 3, shutdown_timeout=0)
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=daemon) as jp:
        tell("opened")
        outcomes = jp.daemon.runner.recorder.outcomes
        outcomes._log = told_when_recorded(outcomes._log)
        if arguments:
            function, job_id, *args = arguments
            await jp.submit_job(getattr(bodies, function), args=args, job_id=job_id, retry=QUICK)
        await listen()
        tell("leaving")


@scenario
async def drain(path: str, *ids: str) -> None:
    """Run everything that is there to its end, and say how these jobs ended."""
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        tell("opened")
        await jp.drain()
        for job_id in ids:
            job = await jp.get_job(job_id)
            kind = job.error.error_type if job.error else "-"
            tell("ended", job_id, job.status, job.attempt, job.interruptions, kind)


@scenario
async def submit(path: str, backoff: str, function: str, *ids: str) -> None:
    """Store jobs that wait so many seconds after an interruption; nobody runs them."""
    retry = RetryPolicy(base=float(backoff), factor=1.0, jitter=0.0)
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        for job_id in ids:
            await jp.submit_job(getattr(bodies, function), job_id=job_id, retry=retry)
        logging.disable(logging.CRITICAL)


@scenario
async def local_jobs(path: str) -> None:
    """Hold a local job that waits for one that does not end, until killed."""
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        first = await jp.submit_job(bodies.wait_for_ever, job_id="running", queue="endless")
        await jp.submit_job(lambda: None, job_id="local", depends_on=[first], local=True)
        await jp.submit_job(lambda: bodies.wait_for_ever(), job_id="local-running", local=True)
        await jp.submit_job(bodies.nothing, job_id="after", depends_on=[jp.optional("local")])
        tell("stored")
        await listen()


@scenario
async def busy_loop(path: str, lease: str, pipe: str) -> None:
    """A body that blocks the event loop until a line comes through the named pipe."""

    async with JobProcessor(
        SQLiteConfig(db_path=path), daemon=DaemonConfig(lease=float(lease), heartbeat=float(lease) / 3)
    ) as jp:
        tell("opened")
        handle = await jp.submit_job(bodies.block_loop, pipe, job_id="blocking")
        tell("result", *(await handle))


@scenario
async def reap_for(path: str, lease: str, seconds: str) -> None:
    """Look for the dead, again and again for this long, as a daemon with this lease does; say how many jobs it took."""
    daemon = DaemonConfig(lease=float(lease), heartbeat=float(lease) / 3)
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=daemon) as jp:
        reaped: list[str] = []
        with anyio.move_on_after(float(seconds)):
            while True:
                reaped += await get_engine(jp).backend.reap()
                await anyio.sleep(0.01)
        tell("reaped", len(reaped))


@scenario
async def read_pages(path: str) -> None:
    """Read the log and the jobs, page by page, over and over, until a line comes."""
    from asyncjobs.requests import JobQuery

    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        pages = 0

        async def read() -> None:
            nonlocal pages
            while True:
                async for _ in _until_end(jp):
                    pages += 1
                    if pages == 3:
                        tell("reading")
                await jp.find_jobs(JobQuery(limit=200))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(read)
            await listen()
            tasks.cancel_scope.cancel()
        tell("pages", pages)


async def _until_end(jp: JobProcessor) -> Any:
    backend = get_engine(jp).backend
    cursor: str | None = None
    while True:
        page = await backend.read_events(cursor, limit=200)
        yield page
        cursor = page.cursor
        if page.end:
            return


def main(name: str, *arguments: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    defects.install()
    asyncio.run(SCENARIOS[name](*arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
