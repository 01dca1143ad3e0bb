"""A worker that kills itself when so many answers of a model are kept: ``dying_worker.py STORE CALLS``.

The store is a path, or the settings of an SQS store as JSON. ``dying_worker.py STORE before CALLS``: it dies when it
has so many answers, before it keeps the last one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import anyio

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig, SQSConfig
from asyncjobs.integrations.crewai.replay import Replay


async def main(path: str, *when: str) -> None:
    daemon = DaemonConfig(allowed_modules=["tests.crewai"], lease=5.0, heartbeat=1.0)
    if when[0] == "before":
        die_before_keeping(int(when[1]))
    calls = when[-1] if len(when) == 1 else "1000"
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


def die_before_keeping(calls: int) -> None:
    keep = Replay._keep
    answered = 0

    def dying(self: Replay, *args: Any) -> None:
        nonlocal answered
        answered += 1
        if answered == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        keep(self, *args)

    Replay._keep = dying


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
