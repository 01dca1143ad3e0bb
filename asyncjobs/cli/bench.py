"""``asyncjobs bench``: measure this machine in a few seconds, on a temporary store."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import click

from asyncjobs.cli.context import Context, command
from asyncjobs.config import SQLiteConfig
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobRequest

_SUBMITTERS = 50


async def nothing(payload: str) -> None:
    """Do nothing, as a job."""


@click.command()
@click.option(
    "--jobs", "count", type=click.IntRange(100, 1_000_000), default=5000, show_default=True, help="Number of jobs."
)
@click.option(
    "--payload",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="Size of the argument in bytes.",
)
@click.option("--full", is_flag=True, help="Sync every commit to disk (synchronous=FULL).")
@command
async def bench(context: Context, count: int, payload: int, full: bool) -> None:
    """Measure jobs per second (one by one, with 50 submitters, as one batch) and round trips."""
    text = "x" * payload
    results: list[tuple[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory(prefix="asyncjobs-bench-") as folder:
        config = SQLiteConfig(db_path=Path(folder) / "bench.db", synchronous="FULL" if full else "NORMAL")
        async with JobProcessor(config) as jp:
            results.append(("round trips", await _round_trips(jp, text, max(100, count // 10))))
            results.append((f"{_SUBMITTERS} submitters", await _submitters(jp, text, count)))
            results.append(("one batch", await _batch(jp, text, count)))
    if context.out.json:
        context.out.data({"schema": 1, "jobs": count, "payload": payload, "full": full, "results": dict(results)})
        return
    for name, figures in results:
        context.out.text(f"{name:15} " + "   ".join(f"{figure} {value}" for figure, value in figures.items()))
    context.out.note("measured with empty jobs; results vary between runs")


async def _round_trips(jp: JobProcessor, text: str, count: int) -> dict[str, Any]:
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        await (await jp.submit_job(nothing, text))
        taken.append(1000 * (time.perf_counter() - began))
    taken.sort()
    return {
        "jobs_per_second": round(1000 * count / sum(taken)),
        "p50_ms": round(statistics.median(taken), 2),
        "p99_ms": round(taken[int(0.99 * count) - 1], 2),
    }


async def _submitters(jp: JobProcessor, text: str, count: int) -> dict[str, Any]:
    async def submit() -> None:
        for _ in range(count // _SUBMITTERS):
            await (await jp.submit_job(nothing, text))

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(_SUBMITTERS):
            tasks.start_soon(submit)
    return {"jobs_per_second": round(count / (time.perf_counter() - began))}


async def _batch(jp: JobProcessor, text: str, count: int) -> dict[str, Any]:
    began = time.perf_counter()
    await jp.submit_jobs([JobRequest(func=nothing, args=(text,)) for _ in range(count)])
    stored = time.perf_counter() - began
    await jp.drain()
    return {
        "stored_per_second": round(count / stored),
        "jobs_per_second": round(count / (time.perf_counter() - began)),
    }
