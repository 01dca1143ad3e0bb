"""``python -m benchmarks.stream_server FOLDER``: jobs and their event streams in a process of its own.

It says where it listens, then does what it is told on its standard input, a line each, and answers with a line of JSON.
It ends when the input does.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click
import uvicorn
from msgspec import json

from benchmarks.jobs import processor
from benchmarks.load import pace, run_jobs
from benchmarks.machine import memory


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Serve until the input ends."""
    asyncio.run(_serve(folder))


async def _serve(folder: Path) -> None:
    async with processor(folder) as jp:
        app = jp.asgi_app(max_streams=2_000)
        # h11 answers a request of HTTP/1.0 without chunks, which is cheap to read.
        config = uvicorn.Config(app, port=0, http="h11", log_level="error", lifespan="off", backlog=2_048)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

        async def say(**facts: float) -> None:
            facts |= {"own": memory().own, "streams": len(app.streams), "cursor": int(await jp.backend.last_cursor())}
            facts["processor"] = time.process_time()
            sys.stdout.buffer.write(json.encode(facts) + b"\n")
            sys.stdout.buffer.flush()

        await say(port=server.servers[0].sockets[0].getsockname()[1])
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            command, *numbers = line.decode().split()
            began = time.perf_counter()
            if command == "jobs":
                await run_jobs(jp, int(numbers[0]))
            elif command == "pace":
                await pace(jp, int(numbers[0]), float(numbers[1]))
            await say(seconds=time.perf_counter() - began)
        server.should_exit = True
        await serving


if __name__ == "__main__":
    main()
