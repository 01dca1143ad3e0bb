"""Submit a job, wait for it and read its result; then the same without an event loop.

Command: `python examples/simple.py`

Each run adds jobs to the file asyncjobs.db in the current folder: `asyncjobs jobs list` shows them.
"""

from __future__ import annotations

import anyio

from asyncjobs import JobProcessor, SyncJobs


async def greet(name: str) -> str:
    """Run on the event loop, because it is ``async def``."""
    await anyio.sleep(0.1)
    return f"Hello, {name}!"


def count(text: str) -> int:
    """Run in a thread, because it is a plain function."""
    return len(text)


async def with_an_event_loop() -> None:
    async with JobProcessor() as jp:
        greeting = await jp.submit_job(greet, "Ada")  # durable once this returns
        job = await jp.wait_for_job(greeting.id)
        print(job.status, "after", job.finished_at - job.created_at if job.finished_at else "?")
        print(await greeting)


def without_one() -> None:
    with SyncJobs() as jobs:
        greeting = jobs.submit_job(greet, "Grace")
        length = jobs.submit_job(count, greeting)  # a handle as an argument: its result is injected
        print(greeting.result(), length.result())


if __name__ == "__main__":
    anyio.run(with_an_event_loop)
    without_one()
