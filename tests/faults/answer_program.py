"""A process that answers with many calls at once: ``python -m tests.faults.answer_program FILE NAME COUNT``.

It tells ``opened``, reads a line, and then gives COUNT answers to the gate ``race``, each with a value and a name of
its own, while it gives COUNT equal ones to the gate ``same``. It tells what came of each: ``race won VALUE``,
``race lost BY AT``, ``same STATUS``.
"""

from __future__ import annotations

import sys

import anyio
import anyio.to_thread

from asyncjobs import JobProcessor, JobStateError, SQLiteConfig
from tests.faults.bodies import tell


async def race(jp: JobProcessor, value: str) -> None:
    try:
        await jp.answer_job("race", value, by=f"by-{value}")
    except JobStateError as error:
        at = "never" if error.answered_at is None else error.answered_at.isoformat()
        tell("race", "lost", error.answered_by, at)
    else:
        tell("race", "won", value)


async def same(jp: JobProcessor) -> None:
    tell("same", await jp.answer_job("same", "yes", by="ana"))


async def main(path: str, name: str, count: str) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        tell("opened")
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as tasks:
            for number in range(int(count)):
                tasks.start_soon(race, jp, f"{name}-{number}")
                tasks.start_soon(same, jp)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
