"""A worker: ``plain_worker.py STORE [SLOTS]``."""

from __future__ import annotations

import logging
import sys

import anyio

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig


async def main(path: str, slots: str = "32") -> None:
    daemon = DaemonConfig(allowed_modules=["tests.crewai"], heartbeat=0.5, lease=2.0, num_workers=int(slots))
    logging.getLogger("crewai").setLevel(logging.ERROR)
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=daemon):
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
