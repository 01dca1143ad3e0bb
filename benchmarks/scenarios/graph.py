"""Graphs: a chain of 500, ten layers of 100 with three random parents each, and 1 → 2,000 → 1."""

from __future__ import annotations

import asyncio
import random

from asyncjobs import JobHandle, JobProcessor, gather
from benchmarks.jobs import noop, processor
from benchmarks.result import Figure, Place, Result, higher, lower
from benchmarks.stopwatch import Stopwatch

Parents = list[list[int]]
"""Per node, its parents, as indices of nodes before it."""


def chain(length: int) -> Parents:
    """Each after the one before."""
    return [[i - 1] if i else [] for i in range(length)]


def layered(layers: int, width: int, parents: int) -> Parents:
    """Each node of a layer after some of the layer before."""
    draw = random.Random(7)
    nodes: Parents = []
    for layer in range(layers):
        first = (layer - 1) * width
        for _ in range(width):
            nodes.append([first + i for i in draw.sample(range(width), parents)] if layer else [])
    return nodes


def fan(width: int) -> Parents:
    """One, then many, then one after all of them."""
    return [[], *([0] for _ in range(width)), list(range(1, width + 1))]


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
