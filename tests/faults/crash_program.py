"""The program that is killed: submits planned graphs, runs them, and goes on where it was.

Arguments: file, seed, size of a graph, first graph, windows of it that were acknowledged, last graph, where to stop
(a point of the commit, ``body``, or ``-``), and at which time there. It tells the parent, a line each:
``opened SECONDS``, ``ack GRAPH WINDOW SUBMISSION``, ``end``, ``point NAME``, ``drained GRAPH``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time

import anyio

from asyncjobs import DaemonConfig, JobProcessor, SQLiteBackend, SQLiteConfig
from tests.faults import bodies, defects
from tests.faults.bodies import tell
from tests.faults.plans import Submission, plan


class Stop:
    """Stops the program for good, at the n-th time that it comes to a point."""

    def __init__(self, point: str, n: int) -> None:
        self.point = point
        self.left = n
        self.lock = threading.Lock()

    def _here(self, point: str) -> bool:
        if point != self.point:
            return False
        with self.lock:
            self.left -= 1
            return self.left == 0

    def in_commit(self, point: str) -> None:
        if self._here(point):
            tell("point", point)
            threading.Event().wait()

    def in_body(self, job_id: str, attempt: int) -> bool:
        if not self._here("body"):
            return False
        tell("point", "body", job_id, attempt)
        return True


async def submit(jp: JobProcessor, submission: Submission, told: tuple[int, int, int]) -> None:
    requests = [job.request for job in submission.jobs]
    if submission.batch:
        handles = await jp.submit_jobs(requests)
    else:
        options = {name: getattr(requests[0], name) for name in _OPTIONS}
        handles = [await jp.submit_job(requests[0].func, **options)]
    assert [handle.id for handle in handles] == [job.id for job in submission.jobs]
    tell("ack", *told)


_OPTIONS = (
    "kwargs", "job_id", "depends_on", "require", "group", "priority", "limit", "retry", "if_exists",
    "max_interruptions",
)  # fmt: skip


async def main(path: str, seed: int, size: int, graph: int, acknowledged: int, last: int, point: str, n: int) -> None:
    stop = Stop(point, n)
    bodies.started = stop.in_body
    bodies.ended = lambda job_id, attempt: tell("end")
    began = time.perf_counter()
    backend = SQLiteBackend(SQLiteConfig(db_path=path, checkpoint_size=262_144), hook=stop.in_commit)
    async with JobProcessor(backend, daemon=DaemonConfig(num_workers=8, shutdown_timeout=30)) as jp:
        tell("opened", time.perf_counter() - began)
        while graph <= last:
            for w, window in enumerate(plan(seed, graph, size, jp.handle)):
                if w < acknowledged:
                    continue
                async with anyio.create_task_group() as tasks:
                    for s, submission in enumerate(window):
                        tasks.start_soon(submit, jp, submission, (graph, w, s))
            await jp.drain()
            tell("drained", graph)
            graph, acknowledged = graph + 1, 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    defects.install()
    words = sys.argv[1:]
    numbers = [int(word) for word in words[1:6]]
    asyncio.run(main(words[0], *numbers, words[6], int(words[7])))
