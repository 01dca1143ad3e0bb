"""``asyncjobs bench``: measure this machine in a few seconds, on a temporary store."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import click
from msgspec import Struct

from asyncjobs.cli.context import Context, command
from asyncjobs.config import DaemonConfig, SQLiteConfig
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobRequest
from asyncjobs.versions import own_version

_SUBMITTERS = 50


class Figure(Struct, frozen=True):
    """A measured number, as it is printed."""

    name: str
    value: float
    unit: str


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
    """Measure jobs per second (one by one, with 50 submitters, as one batch), a chain of jobs, and round trips.

    The output names neither the host nor a folder. A report of something slow should have that of
    `asyncjobs --json bench`.
    """
    text = "x" * payload
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="asyncjobs-bench-") as folder:
        store = SQLiteConfig(db_path=Path(folder) / "bench.db", synchronous="FULL" if full else "NORMAL")
        daemon = DaemonConfig()
        async with JobProcessor(store, daemon=daemon) as jp:
            machine = _describe_machine(await jp.backend.health())
            figures += await _round_trips(jp, text, max(100, count // 10))
            figures += await _one_by_one(jp, text, max(100, count // 5))
            figures += await _submitters(jp, text, count)
            figures += await _batch(jp, text, count)
            figures += await _chain(jp, text, max(50, count // 20))
    settings = {
        "jobs": count,
        "payload": payload,
        "synchronous": store.synchronous,
        "num_workers": daemon.num_workers,
        "checkpoint_size": store.checkpoint_size,
    }
    if context.out.json:
        versions = {"asyncjobs": own_version(), "python": platform.python_version(), "sqlite": machine.pop("sqlite")}
        context.out.data(
            {"schema": 1, "versions": versions, "machine": machine, "settings": settings, "figures": figures}
        )
        return
    for figure in figures:
        context.out.text(f"{figure.name:23} {figure.value:>10,} {figure.unit}")
    context.out.note(
        f"measured with empty jobs, {store.synchronous}, on {machine['file_system'] or 'an unknown file system'}, "
        f"{machine['cores']} cores; results vary between runs"
    )


def _describe_machine(health: Mapping[str, Any]) -> dict[str, Any]:
    """Return what figures depend on, without the name of the host or of a folder."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "file_system": health["file_system"],
        "sqlite": health["sqlite_version"],
    }


def _rate(name: str, jobs: int, began: float, unit: str = "jobs/s") -> Figure:
    return Figure(name, round(jobs / (time.perf_counter() - began)), unit)


async def _round_trips(jp: JobProcessor, text: str, count: int) -> list[Figure]:
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        await (await jp.submit_job(nothing, text))
        taken.append(1000 * (time.perf_counter() - began))
    taken.sort()
    return [
        Figure("round trip, median", round(statistics.median(taken), 2), "ms"),
        Figure("round trip, p99", round(taken[int(0.99 * count) - 1], 2), "ms"),
    ]


async def _one_by_one(jp: JobProcessor, text: str, count: int) -> list[Figure]:
    """Await each submit, and at the end all jobs."""
    began = time.perf_counter()
    for _ in range(count):
        await jp.submit_job(nothing, text)
    await jp.drain()
    return [_rate("one by one", count, began)]


async def _submitters(jp: JobProcessor, text: str, count: int) -> list[Figure]:
    each = count // _SUBMITTERS

    async def submit() -> None:
        for _ in range(each):
            await (await jp.submit_job(nothing, text))

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(_SUBMITTERS):
            tasks.start_soon(submit)
    return [_rate(f"{_SUBMITTERS} submitters", each * _SUBMITTERS, began)]


async def _batch(jp: JobProcessor, text: str, count: int) -> list[Figure]:
    began = time.perf_counter()
    await jp.submit_jobs([JobRequest(func=nothing, args=(text,)) for _ in range(count)])
    stored = _rate("one batch, stored", count, began)
    await jp.drain()
    return [stored, _rate("one batch", count, began)]


async def _chain(jp: JobProcessor, text: str, count: int) -> list[Figure]:
    """Store jobs that each depend on the one before, and await the last one."""
    began = time.perf_counter()
    async with jp.batch() as batch:
        last = batch.submit_job(nothing, text)
        for _ in range(count - 1):
            last = batch.submit_job(nothing, text, depends_on=[last])
    await last
    return [_rate("chain", count, began)]
