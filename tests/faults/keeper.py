"""A program whose attempt keeps a value, and that stands still at a point of that commit, to be killed there.

Arguments: file, point. Without the point it keeps the value and ends.
"""

from __future__ import annotations

import asyncio
import sys
import threading

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.core.requests import Forget, Keep
from tests.faults.bodies import tell
from tests.faults.stores import new_job

KEPT = b"v" * 100_000
"""So large that the writer's thread commits it."""


async def main(path: str, point: str) -> None:
    keeping = False

    def hook(at: str) -> None:
        if keeping and at == point:
            tell("point", point)
            threading.Event().wait()

    async with SQLiteBackend(SQLiteConfig(db_path=path), hook=hook) as backend:
        await backend.enqueue_jobs([new_job("a")])
        worker = await backend.register_worker(NewWorker(name="keeper", slots=1))
        claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({"tests:work"}))
        (job,) = (await backend.dequeue_jobs(claim)).jobs
        await backend.write_steps([Keep(job.attempt, "first", b"1"), Keep(job.attempt, "old", b"1")])
        tell("claimed")
        keeping = True
        await backend.write_steps([Keep(job.attempt, "second", KEPT), Forget(job.attempt, "old")])
        tell("kept")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
