"""Graphs: a chain of 500, ten layers of 100 with three random parents each, and 1 → 2,000 → 1."""

from __future__ import annotations

import asyncio

from asyncjobs import JobHandle, JobProcessor, gather
from benchmarks.jobs import noop, processor
from benchmarks.result import Figure, Place, Result, higher, lower
from benchmarks.shapes import Parents, chain, fan, layered
from benchmarks.stopwatch import Stopwatch


def run(place: Place) -> Result:
    """Nodes per second, from the first submit to the last result; all nodes in one batch."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    async with processor(place.folder) as jp:
        await _measure(jp, "warm-up", chain(3))  # the graph library is imported with the first edge
        return Result(
            (
                *await _measure(jp, "chain", chain(500)),
                *await _measure(jp, "layered", layered(10, 100, 3)),
                *await _measure(jp, "fan", fan(2_000)),
            )
        )


async def _measure(jp: JobProcessor, name: str, nodes: Parents) -> list[Figure]:
    handles: list[JobHandle[object]] = []
    watch = Stopwatch()
    async with jp.batch() as batch:
        for i, parents in enumerate(nodes):
            handles.append(batch.submit_job(noop, i, depends_on=[handles[parent] for parent in parents]))
    stored = watch.seconds()
    await gather(*handles)
    return [
        higher(name, len(nodes) / watch.seconds(), "nodes/s"),
        lower(f"{name}_processor", 1e6 * watch.processor() / len(nodes), "µs/node"),
        higher(f"{name}_stored", len(nodes) / stored, "nodes/s"),
    ]
