"""Dask distributed: a local cluster of one process with 32 threads, and a client on the event loop. Nothing is stored.

A submit returns before the scheduler has the job.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

from benchmarks.peers.harness import SLOTS, Adapter, Surroundings
from benchmarks.shapes import Parents

_distributed: Any = importlib.import_module("distributed")


def noop(value: int, *parents: object) -> int:
    return value


class Peer(Adapter):
    stores: ClassVar[bool] = False

    async def open(self) -> None:
        self._client: Any = await _distributed.Client(
            asynchronous=True,
            n_workers=1,
            threads_per_worker=SLOTS,
            dashboard_address=None,
            local_directory=str(Surroundings().folder),
        )

    async def close(self) -> None:
        await self._client.close()

    async def submit(self, value: int) -> Any:
        return self._client.submit(noop, value, pure=False)

    async def result(self, handle: Any) -> object:
        return await handle

    async def submit_batch(self, values: range) -> list[Any]:
        return list(self._client.map(noop, values, pure=False))

    async def run_graph(self, parents: Parents) -> None:
        futures: list[Any] = []
        for i, above in enumerate(parents):
            futures.append(self._client.submit(noop, i, *(futures[parent] for parent in above), pure=False))
        await _distributed.wait(futures)
