"""Many streams at once, and clients that misbehave: nobody misses anything, and nobody waits for anybody else."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import socket
from pathlib import Path

import anyio
import pytest

from asyncjobs import MemoryBackend, SQLiteConfig
from asyncjobs.runtime.events.frames import CHUNK
from tests.web.stream_support import UVICORN, Site, deaf, eventually, nothing, say, site, take_events
from tests.web.support import PATIENCE

pytestmark = pytest.mark.anyio

IDS = re.compile(rb"^id: (\d+)\nevent", re.MULTILINE)


class Tab:
    """A client that is cut off again and again, and comes back with the last id that it saw whole."""

    def __init__(self, port: int, seed: int) -> None:
        self.seen: list[int] = []
        self.cuts = 0
        self._port = port
        self._rng = random.Random(seed)

    async def read_up_to(self, last: int) -> None:
        while not self.seen or self.seen[-1] < last:
            await self._connect(last)

    async def _connect(self, last: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        after = f"Last-Event-ID: {self.seen[-1]}\r\n" if self.seen else ""
        # HTTP/1.0: no chunks in between.
        writer.write(f"GET /v1/events HTTP/1.0\r\nHost: 127.0.0.1\r\n{after}\r\n".encode())
        budget = self._rng.randint(0, 40_000)
        data = b""
        try:
            while budget > 0 and (more := await reader.read(min(budget, 9_000))):
                budget -= len(more)
                whole, mark, data = (data + more).rpartition(b"\n\n")
                self.seen += map(int, IDS.findall(whole + mark))
                if self.seen and self.seen[-1] >= last:
                    return
        finally:
            self.cuts += 1
            writer.transport.abort()


async def test_tabs_that_are_cut_at_any_byte_see_every_event_once(tmp_path: Path) -> None:
    jobs, tabs = 500, 12
    async with site(SQLiteConfig(db_path=tmp_path / "jobs.db")) as here:
        reading = [Tab(here.port, seed) for seed in range(tabs)]
        with anyio.fail_after(3 * PATIENCE):
            async with anyio.create_task_group() as tasks:
                for tab in reading:
                    tasks.start_soon(tab.read_up_to, 3 * jobs)
                for _ in range(jobs):
                    await here.jp.submit_job(nothing)
        assert all(tab.seen == list(range(1, 3 * jobs + 1)) for tab in reading)
        assert sum(tab.cuts for tab in reading) > 5 * tabs


def own_memory() -> int:
    """Bytes of this process that belong to no file."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def stuck(here: Site) -> int:
    """Streams whose send waits for their client."""
    return sum(it.sending is not None for it in here.app.streams._streams)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured as Linux tells it")
async def test_clients_that_never_read_hold_nobody_and_little_memory(tmp_path: Path) -> None:
    """40 of them, while 20 MB of events are told to one that reads."""
    count, jobs, lines, size = 40, 5, 100, 40_000
    async with site(SQLiteConfig(db_path=tmp_path / "jobs.db")) as here:
        async with here.stream() as blocks:
            await anext(blocks)
            sockets = [deaf(here.port) for _ in range(count)]
            try:
                await eventually(lambda: len(here.app.streams) == count + 1)
                gc.collect()
                before = own_memory()
                seen: list[int] = []
                for _ in range(jobs):
                    await (await here.jp.submit_job(say, lines, size, local=True))  # it does not wait for them
                    seen += [int(frame.id or 0) for frame in await take_events(blocks, lines + 3)]
                assert seen == list(range(1, jobs * (lines + 3) + 1))
                await eventually(lambda: stuck(here) == count)
                # And now that all of them are stuck:
                for n in range(50):
                    await (await here.jp.submit_job(nothing))
                    assert len(await take_events(blocks, 3)) == 3, n
                assert stuck(here) == count
                gc.collect()
                # What is on its way to each, what its server keeps, and pages that are shared; not 20 MB each.
                assert own_memory() - before < count * 4 * CHUNK + 80e6
            finally:
                for client in sockets:
                    client.close()
        await eventually(lambda: len(here.app.streams) == 0)


@pytest.mark.parametrize("http", UVICORN)
async def test_many_connections_at_once_and_one_that_sends_a_byte_at_a_time(http: str) -> None:
    count = 150
    async with site(MemoryBackend(), http) as here:
        slow = socket.create_connection(("127.0.0.1", here.port))
        slow.setblocking(False)
        request = b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        connections = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", here.port) for _ in range(count)))
        for _, writer in connections:
            writer.write(request)
        try:
            slow.send(request[:1])
            await eventually(lambda: len(here.app.streams) == count)
            slow.send(request[1:2])
            await here.jp.submit_job(nothing)
            with anyio.fail_after(PATIENCE):
                for reader, _ in connections:
                    await reader.readuntil(b"event: completed")
            slow.send(request[2:])
            await eventually(lambda: len(here.app.streams) == count + 1)
        finally:
            slow.close()
            for _, writer in connections:
                writer.transport.abort()
        await eventually(lambda: len(here.app.streams) == 0)
