"""A program that runs jobs in processes of their own until it is killed: ``python -m tests.faults.isolated_program``.

Says ``began BODY WORDS…`` on standard output for each of its jobs.
"""

from __future__ import annotations

import sys

import anyio

from asyncjobs import JobProcessor, MemoryBackend
from tests.runtime import isolated


async def main(*names: str) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        idle = await (await jp.submit_job(isolated.pid, isolation="process"))
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(_run, jp, name)
        print("idle", idle, flush=True)
        await anyio.sleep(isolated.FOREVER)


async def _run(jp: JobProcessor, name: str) -> None:
    handle = await jp.submit_job(getattr(isolated, name), isolation="process")
    stream = jp.stream_job(handle, types=["progress"])
    print("began", name, (await anext(stream)).data["message"], flush=True)
    await stream.aclose()  # it is a generator


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
