"""arq on redis: one worker process with 32 slots. It polls, for jobs and for results: half a second, or tuned, 5 ms."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.peers.harness import PATIENCE, SLOTS, Adapter, Surroundings

_arq: Any = importlib.import_module("arq")
_connections: Any = importlib.import_module("arq.connections")
_around = Surroundings()
_delay = 0.005 if _around.tuned() else 0.5
_settings: Any = _connections.RedisSettings.from_dsn(_around.url or "redis://localhost")


async def noop(context: object, value: int) -> int:
    return value


quiet = {"version": 1}
"""No line in the log for each job."""


class WorkerSettings:
    functions: ClassVar[list[Any]] = [noop]
    redis_settings = _settings
    max_jobs = SLOTS
    poll_delay = _delay


class Peer(Adapter):
    worker: ClassVar[Sequence[str]] = (
        "-m",
        "arq",
        f"{__name__}.WorkerSettings",
        "--custom-log-dict",
        f"{__name__}.quiet",
    )

    async def open(self) -> None:
        self._pool: Any = await _arq.create_pool(_settings)

    async def close(self) -> None:
        await self._pool.aclose()

    async def submit(self, value: int) -> Any:
        return await self._pool.enqueue_job("noop", value)

    async def result(self, handle: Any) -> object:
        return await handle.result(timeout=PATIENCE, poll_delay=_delay)
