"""Run jobs of taskiq over SQS: a program for an environment that has it, and not this package. See ``sqs_ours.py``.

Messages are received in tens, and acknowledged when the result is stored: in S3, which is what taskiq-aio-sqs has for
it. They are sent one by one, many at once: its batches are kept in memory for a while, and a shutdown loses them.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
from typing import Any

SLOTS = 32
WAIT = 2


async def main(role: str, endpoint: str, name: str, file: str, count: str) -> None:
    """Submit, or work until there are no more lines."""
    library: Any = importlib.import_module("taskiq_aio_sqs")
    api: Any = importlib.import_module("taskiq.api")
    where: dict[str, Any] = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    broker: Any = library.SQSBroker(
        name, max_number_of_messages=10, visibility_timeout=60, wait_time_seconds=WAIT, **where
    ).with_result_backend(library.S3Backend(name, **where))

    @broker.task(task_name="ran")
    async def ran(file: str) -> None:
        log = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.write(log, b"%d\n" % time.monotonic_ns())
        os.close(log)

    broker.is_worker_process = role == "work"
    if role == "submit":
        await broker.startup()
        _say("ready")
        await _line()
        await asyncio.gather(*(ran.kiq(file) for _ in range(int(count))))
        await broker.shutdown()
        _say("sent")
        await _line()
        return
    _say("ready")
    await _line()
    await broker.startup()
    working = asyncio.create_task(api.run_receiver_task(broker, max_async_tasks=SLOTS))
    await _line()
    working.cancel()
    await asyncio.wait([working])
    await broker.shutdown()


async def _line() -> None:
    await asyncio.to_thread(sys.stdin.readline)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
