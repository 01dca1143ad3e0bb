"""DBOS on SQLite: jobs are workflows in a queue, graphs are workflows of steps, as it has no other.

Its queues and its waits look every second; tuned, all that can be set looks every 5 ms. In its graphs, the steps of a
layer run at the same time, and each layer waits for all of the one before.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from benchmarks.peers.harness import SLOTS, BlockingAdapter, Surroundings
from benchmarks.shapes import Parents, layers_of

_dbos: Any = importlib.import_module("dbos")
_around = Surroundings()
_interval = 0.005 if _around.tuned() else 1.0
DBOS: Any = _dbos.DBOS
DBOS(
    config={
        "name": "peers",
        "system_database_url": f"sqlite:///{_around.folder / 'dbos.sqlite'}",
        "log_level": "CRITICAL",
        "notification_listener_polling_interval_sec": _interval,
    }
)


@DBOS.workflow()
def noop(value: int) -> int:
    return value


@DBOS.step()
async def node(value: int) -> int:
    return value


@DBOS.workflow()
async def graph(layers: list[list[int]]) -> None:
    for layer in layers:
        await asyncio.gather(*(node(value) for value in layer))


class Peer(BlockingAdapter):
    async def open(self) -> None:
        DBOS.launch()
        self._queue: Any = await DBOS.register_queue_async(
            "peers", worker_concurrency=SLOTS, polling_interval_sec=_interval
        )

    async def close(self) -> None:
        DBOS.destroy()

    async def submit(self, value: int) -> Any:
        return await asyncio.to_thread(self.submit_now, value)

    async def result(self, handle: Any) -> object:
        return await asyncio.to_thread(self.result_now, handle)

    def submit_now(self, value: int) -> Any:
        return self._queue.enqueue(noop, value)

    def result_now(self, handle: Any) -> object:
        return handle.get_result(polling_interval_sec=_interval)

    async def run_graph(self, parents: Parents) -> None:
        await graph(list(layers_of(parents)))
