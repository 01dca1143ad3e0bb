"""asyncjobs itself: the processor and its embedded daemon, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from asyncjobs import JobHandle, JobProcessor, gather
from benchmarks.jobs import noop, processor
from benchmarks.peers.harness import Adapter, Surroundings
from benchmarks.shapes import Parents


class Peer(Adapter):
    """``variant``: NORMAL or FULL."""

    all_results: ClassVar[bool] = True

    async def open(self) -> None:
        around = Surroundings()
        self._stack = AsyncExitStack()
        synchronous = "FULL" if around.variant == "FULL" else "NORMAL"
        self._jp: JobProcessor = await self._stack.enter_async_context(
            processor(around.folder, synchronous=synchronous)
        )
        # The first edge imports the graph library.
        await self.run_graph([[], [0]])

    async def close(self) -> None:
        await self._stack.aclose()

    async def submit(self, value: int) -> Any:
        return await self._jp.submit_job(noop, value)

    async def result(self, handle: Any) -> object:
        return await handle

    async def ended(self, handles: Sequence[Any]) -> None:
        await gather(*handles)

    async def submit_batch(self, values: range) -> list[Any]:
        return list(await self._jp.map_jobs(noop, values))

    async def run_graph(self, parents: Parents) -> None:
        handles: list[JobHandle[object]] = []
        async with self._jp.batch() as batch:
            for i, above in enumerate(parents):
                handles.append(batch.submit_job(noop, i, depends_on=[handles[parent] for parent in above]))
        await gather(*handles)
