"""``python -m benchmarks.daemon FILE``: a daemon in a process of its own. Says what it took when it is ready, and at
each line; ends when there are no more."""

from __future__ import annotations

import asyncio
import sys
import time

from msgspec import Struct, json

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from benchmarks.jobs import SLOTS, compute, noop
from benchmarks.lock_account import LockAccount, keep_account
from benchmarks.machine import memory


class Facts(Struct):
    """Seconds until it was ready; since its start, seconds of processor time, and what it paid for the write lock;
    bytes of memory of its own."""

    start: float
    processor: float
    own: int
    lock: LockAccount


async def _main(path: str) -> None:
    account = keep_account()
    began = time.perf_counter()
    config = DaemonConfig(num_workers=SLOTS, shutdown_timeout=0)
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=config, functions=[noop, compute]):
        start, used = time.perf_counter() - began, time.process_time()
        while True:
            facts = Facts(start, time.process_time() - used, memory().own, account)
            sys.stdout.buffer.write(json.encode(facts) + b"\n")
            sys.stdout.buffer.flush()
            if not await asyncio.to_thread(sys.stdin.readline):
                return


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
