"""What changes very many rows at once, and what everybody else feels of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from asyncjobs import JobProcessor
from benchmarks.jobs import noop, processor
from benchmarks.lock_account import keep_account
from benchmarks.result import Figure, Place, Result, lower, quantile
from benchmarks.ticker import Ticker

_PAUSE = 0.002


def run(place: Place) -> Result:
    """Milliseconds that a neighbour's submit takes, and that the loop is late, while each of these goes on."""
    logging.disable(logging.WARNING)  # that jobs are left unfinished is the point
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    figures: list[Figure] = []
    commits = keep_account().on_loop
    many, most = place.pick(10_000, 2_000), place.pick(100_000, 10_000)
    async with processor(_folder(place, "fan")) as jp:
        figures += await _fan(jp, commits, many)
    async with processor(_folder(place, "cancel"), daemon=False) as jp:
        await _store_group(jp, many)
        figures += await _beside(jp, commits, "cancel", lambda: jp.cancel_jobs(group="all"))
    async with processor(_folder(place, "remove")) as jp:
        await _run_component(jp, most)
        figures += await _beside(jp, commits, "remove", lambda: jp.remove_jobs(["root"], components=True))
    return Result(
        tuple(figures),
        (f"a root of {many:,} children ends; a group of {many:,} is cancelled; a component of {most:,} is removed",),
    )


async def _fan(jp: JobProcessor, commits: list[float], children: int) -> list[Figure]:
    """The end of a root on which so many wait: from its answer to the first of them that has run."""
    root = await jp.submit_gate("go on?", job_id="root")
    async with jp.batch() as batch:
        for value in range(children):
            batch.submit_job(noop, value, depends_on=[root])
    return await _beside(jp, commits, "fan", lambda: jp.answer_job("root"))


async def _store_group(jp: JobProcessor, jobs: int) -> None:
    async with jp.batch() as batch:
        for value in range(jobs):
            batch.submit_job(noop, value, group="all")


async def _run_component(jp: JobProcessor, jobs: int) -> None:
    """A root with so many children, all of which have ended."""
    async with jp.batch() as batch:
        root = batch.submit_job(noop, 0, job_id="root")
        for value in range(1, jobs):
            batch.submit_job(noop, value, depends_on=[root])
    await jp.drain()


async def _beside(
    jp: JobProcessor, commits: list[float], name: str, act: Callable[[], Awaitable[object]]
) -> list[Figure]:
    """Do it while another task submits one job after the other.

    :param commits: grows by the seconds of each commit of the loop.
    """
    taken: list[float] = []
    neighbour = asyncio.create_task(_submit(jp, taken))
    await asyncio.sleep(0.1)
    taken.clear()
    commits.clear()
    async with Ticker() as ticker:
        began = time.perf_counter()
        await act()
        seconds = time.perf_counter() - began
        await asyncio.sleep(0.1)
    neighbour.cancel()
    await asyncio.wait([neighbour])
    return [
        lower(f"{name}_seconds", seconds, "s"),
        lower(f"{name}_submit_max", 1e3 * max(taken), "ms"),
        lower(f"{name}_commit_max", 1e3 * max(commits), "ms"),
        lower(f"{name}_submit_p50", 1e3 * quantile(taken, 0.5), "ms"),
        *ticker.figures(name),
    ]


async def _submit(jp: JobProcessor, taken: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await jp.submit_job(noop, 0)
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(_PAUSE)


def _folder(place: Place, name: str) -> Path:
    folder = place.folder / name
    folder.mkdir()
    return folder
