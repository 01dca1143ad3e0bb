"""How late the event loop is: a task that wants to run every millisecond, and notes when it could not."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from benchmarks.result import Figure, lower, quantile

EVERY = 0.001


class Ticker:
    """``async with Ticker() as ticker``: measures until it is left.

    A stall of 50 ms is one late tick, but whoever came during it waited, too: so it also counts for each millisecond
    in which it kept the loop. Quantiles are then those of somebody who comes at any moment.
    """

    def __init__(self) -> None:
        self.lags: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.sleep(0.01)
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(EVERY)
            self.lags.append(time.perf_counter() - began - EVERY)

    def figures(self, name: str) -> list[Figure]:
        """The longest lag, and the quantiles."""
        felt: list[float] = []
        for lag in self.lags:
            felt.append(lag)
            felt.extend(lag - step * EVERY for step in range(1, int(lag / EVERY) + 1))
        return [
            lower(f"{name}_max", 1e3 * max(felt), "ms"),
            lower(f"{name}_p99.9", 1e3 * quantile(felt, 0.999), "ms"),
            lower(f"{name}_p99", 1e3 * quantile(felt, 0.99), "ms"),
        ]
