"""A worker that kills itself when so many calls were answered: ``dying_worker.py STORE CALLS``.

The store is a path, or the settings of an SQS store as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import anyio

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig, SQSConfig


async def main(path: str, calls: str) -> None:
    daemon = DaemonConfig(allowed_modules=["tests.crewai"])
    config = SQSConfig(**json.loads(path)) if path.startswith("{") else SQLiteConfig(db_path=path)
    async with JobProcessor(config, daemon=daemon) as jp:
        while True:
            (job,) = await jp.find_jobs()
            page = await jp.backend.read_steps(job.id, limit=100, values=False)
            if sum(step.key.startswith("crewai/llm/") for step in page.steps) >= int(calls):
                os.kill(os.getpid(), signal.SIGKILL)
            if job.status.terminal:
                sys.exit(f"it has ended before: {job}")
            await anyio.sleep(0.01)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
