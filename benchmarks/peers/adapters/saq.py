"""SAQ on redis: one worker process with 32 slots. Results are awaited through redis' publish and subscribe."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

from benchmarks.peers.harness import SLOTS, Adapter, Surroundings

_saq: Any = importlib.import_module("saq")
queue: Any = _saq.Queue.from_url(Surroundings().url)


async def noop(context: object, *, value: int) -> int:
    return value


settings = {"queue": queue, "functions": [noop], "concurrency": SLOTS}


class Peer(Adapter):
    worker: ClassVar[Sequence[str]] = ("-m", "saq", f"{__name__}.settings", "--quiet")

    async def open(self) -> None:
        await queue.connect()

    async def close(self) -> None:
        await queue.disconnect()

    async def submit(self, value: int) -> Any:
        return await queue.enqueue("noop", value=value)

    async def result(self, handle: Any) -> object:
        """Look again after half a second, as its own map does: an end just before the subscription is not heard of."""
        while not handle.completed:
            with suppress(asyncio.TimeoutError):
                await handle.refresh(until_complete=0.5)
        return handle.result
