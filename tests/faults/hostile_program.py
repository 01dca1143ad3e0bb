"""A daemon of the next version, whose log server is away: ``python -m tests.faults.hostile_program FILE``."""

from __future__ import annotations

import asyncio
import logging
import sys

import anyio.to_thread

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig


class Away(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise ConnectionError("the log server is away")


async def main(path: str) -> None:
    ours = logging.getLogger("asyncjobs")
    ours.setLevel(logging.INFO)
    ours.addHandler(Away())
    config = DaemonConfig(num_workers=4, allowed_modules=("tests.faults.hostile_bodies",))
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=config) as jp:
        print("opened", flush=True)
        while True:
            said = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
            if said.strip() != "tell":
                return
            assert any(worker.alive for worker in await jp.workers())
            print("alive", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
