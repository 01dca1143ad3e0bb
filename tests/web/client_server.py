"""A server that is killed and started again: ``python -m tests.web.client_server FILE PORT``. Says ``serving PORT``."""

from __future__ import annotations

import asyncio
import sys

import anyio
import uvicorn

from asyncjobs import JobProcessor, SQLiteConfig, current_job


async def walk(steps: int) -> int:
    """Say something at every step."""
    for step in range(steps):
        current_job().emit("step", {"step": step})
        await anyio.sleep(0.005)
    return steps


async def main(path: str, port: int) -> None:
    jp = JobProcessor(SQLiteConfig(db_path=path), functions=[walk])
    config = uvicorn.Config(jp.asgi_app(submit=True), port=port, log_level="warning")
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        while not server.started:
            await anyio.sleep(0.01)  # uvicorn has no event for it
        print("serving", server.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
