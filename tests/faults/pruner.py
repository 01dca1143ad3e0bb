"""A program that removes a large graph and stands still at a point of one of its commits, to be killed there.

Arguments: file, point, at which commit of the removal.
"""

from __future__ import annotations

import asyncio
import sys
import threading

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.models import Dependency
from tests.faults.bodies import tell
from tests.faults.stores import new_job

SIZE = 3000


async def main(path: str, point: str, n: int) -> None:
    commits = 0
    removing = False

    def hook(at: str) -> None:
        nonlocal commits
        commits += removing and at == "begin"
        if removing and at == point and commits == n:
            tell("point", point)
            threading.Event().wait()

    async with SQLiteBackend(SQLiteConfig(db_path=path), hook=hook) as backend:
        hub = new_job("hub", group="old")
        graph = [hub, *(new_job(f"j{i}", group="old", dependencies=(Dependency("hub"),)) for i in range(SIZE - 1))]
        await backend.enqueue_jobs([*graph, new_job("other")])
        await backend.cancel_jobs(["hub"])
        tell("stored")
        removing = True
        removed = await backend.prune(2**62)
        tell("removed", removed)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
