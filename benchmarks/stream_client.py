"""The other end of ``stream_server``: it is started and told what to do, and its streams are read, cheaply."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct, json

from benchmarks.machine import ROOT

IDS = re.compile(rb"^id: (\d+)\nevent", re.MULTILINE)
"""Ids of events: a checkpoint's is followed by an empty line."""
_READ = 1 << 18


class Facts(Struct):
    """What the server says: bytes of memory of its own, seconds of processor time, open streams, the end of the log."""

    own: float
    processor: float
    streams: int
    cursor: int
    seconds: float = 0.0
    port: int = 0


class Server:
    """A running server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        self._output = process.stdout
        self.port = 0

    async def hear(self) -> Facts:
        """Its next answer."""
        return json.decode(await self._output.readline(), type=Facts)

    async def do(self, command: str) -> Facts:
        """Have it do something, and wait until it is done."""
        self._input.write(command.encode() + b"\n")
        return await self.hear()

    async def streams(self, count: int) -> Facts:
        """Wait until so many are open."""
        while (facts := await self.do("look")).streams != count:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)
        return facts


@asynccontextmanager
async def serving(folder: Path) -> AsyncGenerator[Server]:
    """A server on a fresh file in this folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.stream_server", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    server = Server(process)
    try:
        server.port = (await server.hear()).port
        yield server
    finally:
        server._input.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


class Stream:
    """One connection: whole frames, as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""

    async def read(self) -> bytes:
        """Whole frames; b"" when the stream has ended."""
        while data := await self._reader.read(_READ):
            whole, mark, self._rest = (self._rest + data).rpartition(b"\n\n")
            if mark:
                return whole + mark
        return b""

    def cut(self) -> None:
        """Close the connection, without a word, whatever is still on its way."""
        self._writer.transport.abort()


async def connect(port: int, after: bytes | None = None) -> Stream:
    """Open a stream of everything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_READ)
    last = b"" if after is None else b"Last-Event-ID: " + after + b"\r\n"
    writer.write(b"GET /v1/events HTTP/1.0\r\nHost: 127.0.0.1\r\n" + last + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise AssertionError(head.decode())
    return Stream(reader, writer)
