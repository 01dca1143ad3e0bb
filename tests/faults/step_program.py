"""Processes with jobs that have steps: ``python -m tests.faults.step_program one|daemon …``.

``one FILE BODY ISOLATION POINT`` runs a job and tells its ``result``, or ``point NAME`` where it stops for good: a
point of the commit that keeps the second step, unless ``again`` follows. ``daemon FILE`` runs what is there, tells
``kept`` for each value that is durable, and ends at a line.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Sequence
from typing import Any

from asyncjobs import DaemonConfig, JobProcessor, RetryPolicy, SQLiteBackend, SQLiteConfig
from asyncjobs.core.requests import Keep
from tests.faults import defects
from tests.faults.bodies import note, tell
from tests.faults.scenarios import listen
from tests.faults.step_bodies import BODIES, FUNCTIONS

RETRY = RetryPolicy(max_retries=0, base=0.05, jitter=0.0)


class Watched(SQLiteBackend):
    """Knows when a step is committed, and notes it in the ledger afterwards."""

    keeping = ""

    async def write_steps(self, changes: Sequence[Any]) -> Sequence[Any]:
        self.keeping = next((change.key for change in changes if isinstance(change, Keep)), "")
        answers = await super().write_steps(changes)
        for change, answer in zip(changes, answers, strict=True):
            if isinstance(change, Keep) and answer is None:
                note("C", change.attempt.job_id, change.attempt.attempt, change.key)
                tell("kept", change.key)
        return answers


async def one(path: str, body: str, isolation: Any, point: str, again: str = "") -> None:
    def hook(at: str) -> None:
        if backend.keeping == "second" and at == point and not again:
            tell("point", point)
            threading.Event().wait()

    backend = Watched(SQLiteConfig(db_path=path), hook=hook)
    async with JobProcessor(backend, functions=FUNCTIONS) as jp:
        job = await jp.submit_job(BODIES[body], point, job_id="a", if_exists="return", isolation=isolation, retry=RETRY)
        tell("result", *await job)


async def daemon(path: str) -> None:
    config = DaemonConfig(num_workers=2, lease=3, heartbeat=0.3)
    async with JobProcessor(Watched(SQLiteConfig(db_path=path)), daemon=config, functions=FUNCTIONS):
        tell("opened")
        await listen()


def _forgets() -> None:
    """A defect: attempts do not ask what earlier ones kept."""
    from asyncjobs.runtime.step_cache import StepCache

    made = StepCache.__init__

    def complete(self: StepCache, access: Any) -> None:
        made(self, access)
        self.complete = True

    StepCache.__init__ = complete


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(name)s %(message)s")
    defects.DEFECTS["forgets"] = _forgets
    defects.install()
    asyncio.run({"one": one, "daemon": daemon}[sys.argv[1]](*sys.argv[2:]))
