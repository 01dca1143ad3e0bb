"""How long the event loop is held up under full load, and when idle: what the machine itself does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from asyncjobs import JobHandle, JobProcessor, JobRequest, gather
from benchmarks.jobs import noop, processor
from benchmarks.lock_account import keep_account
from benchmarks.result import Figure, Place, Result, lower, quantile
from benchmarks.scenarios.throughput import SUBMITTERS, submit_from
from benchmarks.ticker import Ticker


def run(place: Place) -> Result:
    """Milliseconds that the loop was late."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    account = keep_account()
    figures = await _idle(place.pick(3, 1))
    jobs = place.pick(40_000, 10_000)
    async with processor(_folder(place, "load")) as jp:
        figures += await _submitters(jp, jobs, "submitters")
        figures += await _batch(jp, 20_000)
    # A log that is written back again and again: every commit meets a checkpoint.
    async with processor(_folder(place, "checkpoints"), checkpoint_size=65_536) as jp:
        figures += await _submitters(jp, jobs // 2, "checkpoints")
    figures += [
        lower("commit_max", 1e3 * max(account.on_loop), "ms"),
        lower("commit_p99.9", 1e3 * quantile(account.on_loop, 0.999), "ms"),
    ]
    return Result(tuple(figures))


def _folder(place: Place, name: str) -> Path:
    folder = place.folder / name
    folder.mkdir()
    return folder


async def _idle(seconds: float) -> list[Figure]:
    async with Ticker() as ticker:
        await asyncio.sleep(seconds)
    return ticker.figures("idle")


async def _submitters(jp: JobProcessor, jobs: int, name: str) -> list[Figure]:
    values = iter(range(jobs))
    handles: list[JobHandle[object]] = []
    async with Ticker() as ticker:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SUBMITTERS):
                tasks.create_task(submit_from(jp, values, handles))
        await gather(*handles)
    return ticker.figures(name)


async def _batch(jp: JobProcessor, jobs: int) -> list[Figure]:
    requests = [JobRequest(func=noop, args=(value,)) for value in range(jobs)]
    async with Ticker() as storing:
        handles = await jp.submit_jobs(requests)
    async with Ticker() as running:
        await gather(*handles)
    return [*storing.figures("batch_store"), *running.figures("batch_run")]
