"""flexiq on SQLite, as it opens it: WAL, synchronous NORMAL; one worker process, jobs after other jobs.

By default it looks for jobs every 50 ms and takes one; tuned: each millisecond, and takes a hundred for 32 threads, and
results are looked for each millisecond. That an enqueue may wake its scheduler makes it slower, or makes it stop.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.peers.harness import PATIENCE, SLOTS, BlockingAdapter, Surroundings
from benchmarks.shapes import Parents

os.environ["FLEXIQ_LOG_LEVEL"] = "WARNING"  # else it logs each job
_flexiq: Any = importlib.import_module("flexiq")
_around = Surroundings()
_tuned: dict[str, Any] = {"scheduler_poll_interval_ms": 1, "scheduler_batch_size": 100, "workers": SLOTS}
_waiting: dict[str, float] = {"poll_interval": 0.001, "max_poll_interval": 0.001} if _around.tuned() else {}
queue: Any = _flexiq.Queue(db_path=str(_around.folder / "flexiq.db"), **(_tuned if _around.tuned() else {}))


@queue.task()
def noop(value: int) -> int:
    return value


class Peer(BlockingAdapter):
    worker: ClassVar[Sequence[str]] = ("-m", "benchmarks.peers.adapters.flexiq")

    def submit_now(self, value: int) -> Any:
        return noop.delay(value)

    def result_now(self, handle: Any) -> object:
        return handle.result(timeout=PATIENCE, **_waiting)

    async def submit_batch(self, values: range) -> list[Any]:
        return list(noop.map([(value,) for value in values]))

    async def run_graph(self, parents: Parents) -> None:
        handles: list[Any] = []
        for i, above in enumerate(parents):
            handles.append(noop.apply_async((i,), depends_on=[handles[parent].id for parent in above] or None))
        has_children = {parent for above in parents for parent in above}
        for i, handle in enumerate(handles):
            if i not in has_children:
                self.result_now(handle)


if __name__ == "__main__":
    importlib.import_module("benchmarks.peers.adapters.flexiq").queue.run_worker()
