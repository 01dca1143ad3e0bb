"""streaQ on redis: one worker process with 32 slots, results by publish and subscribe, and jobs after other jobs.

The worker is started from Python: its command line cannot turn off the line that it logs for each job.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.peers.harness import PATIENCE, SLOTS, Adapter, Surroundings
from benchmarks.shapes import Parents

_streaq: Any = importlib.import_module("streaq")
worker: Any = _streaq.Worker(redis_url=Surroundings().url or "redis://localhost", concurrency=SLOTS)


@worker.task
async def noop(value: int) -> int:
    return value


class Peer(Adapter):
    worker: ClassVar[Sequence[str]] = ("-m", "benchmarks.peers.adapters.streaq")

    async def open(self) -> None:
        await worker.__aenter__()

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)

    async def submit(self, value: int) -> Any:
        return await noop.enqueue(value)

    async def result(self, handle: Any) -> object:
        return (await handle.result(timeout=int(PATIENCE))).result

    async def submit_batch(self, values: range) -> list[Any]:
        tasks = [noop.enqueue(value) for value in values]
        await worker.enqueue_many(tasks)
        return tasks

    async def run_graph(self, parents: Parents) -> None:
        """Store jobs with dependencies one by one: its documentation says that its batches are not for them."""
        tasks: list[Any] = []
        for i, above in enumerate(parents):
            tasks.append(await noop.enqueue(i).start(after=[tasks[parent].id for parent in above] or None))
        has_children = {parent for above in parents for parent in above}
        for i, task in enumerate(tasks):
            if i not in has_children:
                await self.result(task)


if __name__ == "__main__":
    importlib.import_module("benchmarks.peers.adapters.streaq").worker.run_sync()
