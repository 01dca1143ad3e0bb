"""Crowds of readers: cut off again and again, never reading, or just there."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from pathlib import Path

from benchmarks.jobs import processor
from benchmarks.load import EVENTS_A_JOB, run_jobs
from benchmarks.result import Figure, Place, Result, higher, lower
from benchmarks.stream_client import IDS, Server, Stream, connect, serving

_MEGABYTE = 1 << 20


# -- cut and reconnected


def cut(place: Place) -> Result:
    """500 readers that are cut off at random while 20,000 events are stored, and come back with their cursor.

    It fails unless each of them sees every event once, in order.
    """
    figures = asyncio.run(_cut_here(place)) + asyncio.run(_cut_over_http(place))
    return Result(tuple(figures), ("each saw every event once, in order",))


async def _cut_here(place: Place) -> list[Figure]:
    readers, events = place.pick(500, 100), place.pick(20_000, 3_000)
    jobs = -(-events // EVENTS_A_JOB)
    async with processor(_folder(place, "here")) as jp:
        before = int(await jp.backend.last_cursor())
        last = before + jobs * EVENTS_A_JOB
        cuts = 0

        async def read(seed: int) -> None:
            nonlocal cuts
            rng, seen = random.Random(seed), before
            while seen < last:
                calls, cuts = rng.randint(1, 20), cuts + 1
                try:
                    async with asyncio.timeout(rng.random()), jp.streamer.reader(after=str(seen)) as reader:
                        while calls and seen < last:
                            calls -= 1
                            batch = await reader.next()
                            seen = _next(seen, [int(event.cursor) for event in batch.events])
                except TimeoutError:
                    pass

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for seed in range(readers):
                tasks.create_task(read(seed))
            tasks.create_task(run_jobs(jp, jobs))
        seconds = time.perf_counter() - began
    return [
        higher("here_delivered", readers * (last - before) / seconds, "events/s"),
        higher("here_cuts", cuts / seconds, "cuts/s"),
    ]


async def _cut_over_http(place: Place) -> list[Figure]:
    readers, events = place.pick(500, 50), place.pick(20_000, 3_000)
    jobs = -(-events // EVENTS_A_JOB)
    cuts = 0
    async with serving(_folder(place, "http")) as server:
        before = (await server.do("look")).cursor
        last = before + jobs * EVENTS_A_JOB

        async def read(seed: int) -> None:
            nonlocal cuts
            rng, seen = random.Random(seed), before
            while seen < last:
                cuts += 1
                stream = await connect(server.port, str(seen).encode())
                budget = rng.expovariate(1 / 500_000)
                while budget > 0 and seen < last and (frames := await stream.read()):
                    budget -= len(frames)
                    seen = _next(seen, [int(found) for found in IDS.findall(frames)])
                stream.cut()

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for seed in range(readers):
                tasks.create_task(read(seed))
            tasks.create_task(server.do(f"jobs {jobs}"))
        seconds = time.perf_counter() - began
    return [
        higher("http_delivered", readers * (last - before) / seconds, "events/s"),
        higher("http_cuts", cuts / seconds, "cuts/s"),
    ]


def _next(seen: int, cursors: list[int]) -> int:
    if cursors != list(range(seen + 1, seen + 1 + len(cursors))):
        raise AssertionError(f"after {seen} came {cursors[:5]} … {cursors[-5:]}")
    return seen + len(cursors)


# -- never reading


def stalled(place: Place) -> Result:
    """Jobs a second, and one reader's events, beside 200 open streams that nobody reads; and what they cost.

    It fails unless the reader sees every event.
    """
    return Result(tuple(asyncio.run(_stalled(place))))


async def _stalled(place: Place) -> list[Figure]:
    readers, jobs = place.pick(200, 50), place.pick(30_000, 3_000)
    rates: list[float] = []
    own: list[float] = []
    async with serving(_folder(place, "stalled")) as server:
        await server.do("jobs 1000")
        for crowd in (0, readers):
            sockets = [_deaf(server.port) for _ in range(crowd)]
            facts = await server.streams(crowd)
            own.append(facts.own)
            last = facts.cursor + EVENTS_A_JOB * jobs
            reading = asyncio.create_task(_whole(server, facts.cursor, last))
            await server.streams(crowd + 1)
            facts = await server.do(f"jobs {jobs}")
            rates.append(jobs / facts.seconds)
            own.append(facts.own)
            await reading
            for client in sockets:
                client.close()
            await server.streams(0)
    growth, crowded = own[1] - own[0], own[3] - own[2]
    return [
        higher("jobs_without", rates[0], "jobs/s"),
        higher("jobs_beside", rates[1], "jobs/s"),
        higher("jobs_share", rates[1] / rates[0], "of without"),
        lower("memory_each", (crowded - growth) / readers / 1024, "KB"),
        lower("memory_growth", crowded / _MEGABYTE, "MB"),
    ]


def _deaf(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /v1/events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    return client


async def _whole(server: Server, seen: int, last: int) -> None:
    stream = await connect(server.port, str(seen).encode())
    while seen < last:
        seen = _next(seen, [int(found) for found in IDS.findall(await stream.read())])
    stream.cut()


# -- just there


def crowd(place: Place) -> Result:
    """Memory of an open stream that has nothing to say, how soon 500 of them are open, and how soon they hear."""
    return Result(tuple(asyncio.run(_crowd(place))))


async def _crowd(place: Place) -> list[Figure]:
    count = place.pick(500, 200)
    async with serving(_folder(place, "crowd")) as server:
        await server.do("jobs 100")
        after = str((await server.do("look")).cursor).encode()
        first = [await connect(server.port, after) for _ in range(20)]
        before = await server.streams(20)
        slow = socket.create_connection(("127.0.0.1", server.port))
        slow.send(b"G")  # a request that never comes to its end
        began = time.perf_counter()
        streams = await asyncio.gather(*(connect(server.port, after) for _ in range(count)))
        opened = time.perf_counter() - began
        facts = await server.streams(20 + count)
        began = time.perf_counter()
        await asyncio.gather(server.do("jobs 1"), *(_heard(stream) for stream in streams))
        heard = time.perf_counter() - began
        slow.close()
        for stream in (*first, *streams):
            stream.cut()
    return [
        lower("memory_each", (facts.own - before.own) / count / 1024, "KB"),
        higher("opened", count / opened, "streams/s"),
        lower("all_heard", 1e3 * heard, "ms"),
    ]


async def _heard(stream: Stream) -> None:
    while b"\nevent: completed" not in await stream.read():
        pass


def _folder(place: Place, name: str) -> Path:
    folder = place.folder / name
    folder.mkdir()
    return folder
