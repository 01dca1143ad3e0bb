"""Event streams: how many events a second reach how many readers, and how long after they were stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, json

from asyncjobs import JobProcessor, SQLiteConfig
from benchmarks.jobs import processor
from benchmarks.load import EVENTS_A_JOB, pace, run_jobs
from benchmarks.result import Figure, Place, Result, higher, lower, quantile
from benchmarks.stream_client import IDS, Server, connect, serving
from benchmarks.ticker import Ticker

_RATE = 100
_LISTENERS = 20
_READERS = (0, 1, 50, 500)
_AGES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


# -- how many


def fanout(place: Place) -> Result:
    """Events a second, stored and delivered, while jobs go as fast as they can: readers here, and over HTTP."""
    figures = asyncio.run(_in_process(place)) + asyncio.run(_over_http(place))
    return Result(tuple(figures))


async def _in_process(place: Place) -> list[Figure]:
    jobs = place.pick(5_000, 600)
    figures: list[Figure] = []
    rates: dict[int, float] = {}
    for readers in _READERS:
        ages: list[float] = []
        async with processor(_folder(place, f"here{readers}")) as jp:
            before = int(await jp.backend.last_cursor())
            last = before + EVENTS_A_JOB * jobs
            async with asyncio.TaskGroup() as tasks, Ticker() as ticker:
                for _ in range(readers):
                    tasks.create_task(_read(jp, before, last, ages))
                await asyncio.sleep(0.2)  # all are live
                began = time.perf_counter()
                await run_jobs(jp, jobs)
                stored = time.perf_counter() - began
            delivered = time.perf_counter() - began
        rates[readers] = jobs / stored
        figures.append(higher(f"jobs_{readers}", rates[readers], "jobs/s"))
        if readers:
            figures.append(higher(f"stored_{readers}", EVENTS_A_JOB * jobs / stored, "events/s"))
            figures.append(higher(f"delivered_{readers}", readers * (last - before) / delivered, "events/s"))
            figures.append(lower(f"lag_{readers}", 1e3 * max(ticker.lags), "ms"))
            figures += [lower(f"age_{readers}_{name}", 1e3 * quantile(ages, q), "ms") for name, q in _AGES.items()]
    return [*figures, higher("jobs_500_share", rates[500] / rates[0], "of 0 readers")]


async def _read(jp: JobProcessor, after: int, last: int, ages: list[float]) -> None:
    """Read all of them; the age of the oldest of each batch that comes, in seconds."""
    seen = after
    async with jp.streamer.reader(after=str(after)) as reader:
        while seen < last:
            events = (await reader.next()).events
            ages.append((datetime.now(UTC) - events[0].at).total_seconds())
            if int(events[0].cursor) != seen + 1 or len(events) != int(events[-1].cursor) - seen:
                raise AssertionError(f"after {seen} came {events[0].cursor} to {events[-1].cursor}")
            seen = int(events[-1].cursor)


async def _over_http(place: Place) -> list[Figure]:
    jobs = place.pick(5_000, 600)
    figures: list[Figure] = []
    rates: dict[int, float] = {}
    for readers in _READERS:
        async with serving(_folder(place, f"http{readers}")) as server:
            before = (await server.do("look")).cursor
            last = before + EVENTS_A_JOB * jobs
            async with asyncio.TaskGroup() as tasks:
                for _ in range(readers):
                    tasks.create_task(_count(server, before, last))
                await server.streams(readers)
                began = time.perf_counter()
                stored = (await server.do(f"jobs {jobs}")).seconds
            delivered = time.perf_counter() - began
        rates[readers] = jobs / stored
        figures.append(higher(f"http_jobs_{readers}", rates[readers], "jobs/s"))
        if readers:
            figures.append(higher(f"http_delivered_{readers}", readers * (last - before) / delivered, "events/s"))
    return [*figures, higher("http_jobs_500_share", rates[500] / rates[0], "of 0 readers")]


async def _count(server: Server, after: int, last: int) -> None:
    stream = await connect(server.port, str(after).encode())
    while after < last:
        ids = IDS.findall(await stream.read())
        if ids and (int(ids[0]) != after + 1 or int(ids[-1]) != after + len(ids)):
            raise AssertionError(f"after {after} came {ids[0]} to {ids[-1]}")
        after += len(ids)
    stream.cut()


# -- how soon


def delivery(place: Place) -> Result:
    """Milliseconds from an event's moment to 20 listeners, while 100 jobs a second run."""
    seconds = place.pick(10, 2)
    figures = asyncio.run(_here(_folder(place, "here"), seconds))
    figures += asyncio.run(_beside(_folder(place, "beside"), seconds, _another_process, "cross_process"))
    figures += asyncio.run(_beside(_folder(place, "http"), seconds, _http, "http"))
    return Result(tuple(figures), (f"{_RATE} jobs/s, {_LISTENERS} listeners; from the commit's own moment",))


class _Seen(Struct):
    at: datetime


async def _here(folder: Path, seconds: float) -> list[Figure]:
    delays: list[float] = []
    async with processor(folder) as jp:
        listening = [asyncio.create_task(_listen(jp, delays)) for _ in range(_LISTENERS)]
        await asyncio.sleep(0.2)
        delays.clear()
        await pace(jp, _RATE, seconds)
        await asyncio.sleep(0.2)
        for task in listening:
            task.cancel()
    return _quantiles("in_process", delays)


_Listen = Callable[[Path, Server, list[float]], Coroutine[object, object, None]]


async def _beside(folder: Path, seconds: float, listen: _Listen, name: str) -> list[Figure]:
    delays: list[float] = []
    async with serving(folder) as server:
        listening = asyncio.create_task(listen(folder, server, delays))
        await asyncio.sleep(1.0)
        delays.clear()
        await server.do(f"pace {_RATE} {seconds}")
        await asyncio.sleep(0.5)
        listening.cancel()
        await asyncio.wait([listening])
    return _quantiles(name, delays)


async def _another_process(folder: Path, server: Server, delays: list[float]) -> None:
    config = SQLiteConfig(db_path=folder / "jobs.db")
    async with JobProcessor(config, enable_daemon=False) as jp, asyncio.TaskGroup() as tasks:
        for _ in range(_LISTENERS):
            tasks.create_task(_listen(jp, delays))


async def _listen(jp: JobProcessor, delays: list[float]) -> None:
    async with jp.streamer.reader() as reader:
        while True:
            events = (await reader.next()).events
            now = datetime.now(UTC)
            delays += [(now - event.at).total_seconds() for event in events]


async def _http(folder: Path, server: Server, delays: list[float]) -> None:
    async def listen() -> None:
        stream = await connect(server.port)
        while frames := await stream.read():
            now = datetime.now(UTC)
            told = [line[6:] for line in frames.splitlines() if line.startswith(b'data: {"cursor"')]
            delays.extend((now - json.decode(data, type=_Seen).at).total_seconds() for data in told)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_LISTENERS):
            tasks.create_task(listen())


def _quantiles(name: str, delays: list[float]) -> list[Figure]:
    names = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return [lower(f"{name}_{label}", 1e3 * quantile(delays, q), "ms") for label, q in names.items()]


def _folder(place: Place, name: str) -> Path:
    folder = place.folder / name
    folder.mkdir()
    return folder
