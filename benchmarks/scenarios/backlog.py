"""What claims cost beside a backlog: 1,000 and 1,000,000 jobs that wait for a parent, are not due, or are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from benchmarks.backlog_file import Kind, fresh_ids, make, new_job
from benchmarks.claiming import CLAIMS, CLAIMS_32, medians, opened, starts
from benchmarks.result import Figure, Place, Result, lower


def run(place: Place, kind: Kind) -> Result:
    """Microseconds at both sizes, taken in turns in one process, and the ratio of their medians."""
    return asyncio.run(_run(place, kind))


async def _run(place: Place, kind: Kind) -> Result:
    sizes = (1_000, place.pick(1_000_000, 100_000))
    paths = [place.folder / f"{size}.db" for size in sizes]
    for path, size in zip(paths, sizes, strict=True):
        await make(path, kind, size)
    small, large = await starts(paths)
    figures = [lower("start_small", 1e3 * small, "ms"), lower("start_large", 1e3 * large, "ms")]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(path)) for path in paths]
        if kind != "ready":
            for store in stores:
                await store.backend.enqueue_jobs(fresh_ids(new_job("", priority=7), 1_000, "ready"))
        figures += await _compare("claim_1", [partial(s.claim, 1) for s in stores], CLAIMS)
        figures += await _compare("claim_32", [partial(s.claim, 32) for s in stores], CLAIMS_32)
        figures += await _compare("one_more", [s.one_more for s in stores], CLAIMS)
    return Result(tuple(figures), (f"{sizes[0]:,} and {sizes[1]:,} {kind} jobs",))


async def _compare(name: str, actions: Sequence[Callable[[], Awaitable[float]]], times: int) -> list[Figure]:
    """Do it at each size in turn."""
    small, large = (1e6 * seconds for seconds in await medians(actions, times))
    return [
        lower(f"{name}_small", small, "µs"),
        lower(f"{name}_large", large, "µs"),
        lower(f"{name}_ratio", large / small, "×"),
    ]
