"""taskiq on redis: its stream broker, which acknowledges, one worker process, and results in redis."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.peers.harness import PATIENCE, SLOTS, Adapter, Surroundings

_redis: Any = importlib.import_module("taskiq_redis")
_url = Surroundings().url
broker: Any = _redis.RedisStreamBroker(url=_url).with_result_backend(
    _redis.RedisAsyncResultBackend(redis_url=_url, result_ex_time=600)
)


@broker.task
async def noop(value: int) -> int:
    return value


class Peer(Adapter):
    worker: ClassVar[Sequence[str]] = (
        *("-m", "taskiq", "worker", f"{__name__}:broker", "--workers", "1"),
        *("--max-async-tasks", str(SLOTS), "--max-prefetch", str(SLOTS), "--log-level", "ERROR"),
    )

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def submit(self, value: int) -> Any:
        return await noop.kiq(value)

    async def result(self, handle: Any) -> object:
        return (await handle.wait_result(check_interval=0.001, timeout=PATIENCE)).return_value
