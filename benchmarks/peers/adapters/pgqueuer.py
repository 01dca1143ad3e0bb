"""PgQueuer on PostgreSQL, synced: one worker process that takes a hundred jobs at a time, or one. It keeps no results.

That a job has ended is what its watcher tells, by NOTIFY. The worker records that for as many jobs as it takes at a
time, else each 100 ms: a hundred are best for rates, one is best for a round trip.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from benchmarks.peers.harness import Adapter, Surroundings

_asyncpg: Any = importlib.import_module("asyncpg")
_pgqueuer: Any = importlib.import_module("pgqueuer")
_completion: Any = importlib.import_module("pgqueuer.core.completion")
_db: Any = importlib.import_module("pgqueuer.db")
_queries: Any = importlib.import_module("pgqueuer.queries")
_around = Surroundings()
_url = _around.url
_batch_size = 1 if _around.variant == "one at a time" else 100


async def work() -> None:
    """Run jobs: its command line does not start with the versions of what it depends on that pip takes today."""
    app: Any = _pgqueuer.PgQueuer(_db.AsyncpgDriver(await _asyncpg.connect(_url)))

    @app.entrypoint("noop")
    async def noop(job: object) -> None:
        """Do nothing."""

    await app.run(batch_size=_batch_size)


class Peer(Adapter):
    worker: ClassVar[Sequence[str]] = ("-m", "benchmarks.peers.adapters.pgqueuer")

    async def open(self) -> None:
        self._pool: Any = await _asyncpg.create_pool(_url, min_size=4, max_size=10)
        driver: Any = _db.AsyncpgPoolDriver(self._pool)
        self._queries: Any = _queries.Queries(driver)
        await self._queries.install()
        self._watcher: Any = _completion.CompletionWatcher(
            driver, queries=self._queries, debounce=timedelta(milliseconds=5)
        )
        await self._watcher.__aenter__()

    async def close(self) -> None:
        await self._watcher.__aexit__(None, None, None)
        await self._pool.close()

    async def submit(self, value: int) -> Any:
        (job,) = await self._queries.enqueue("noop", b"%d" % value)
        return job

    async def result(self, handle: Any) -> object:
        return await self._watcher.wait_for(handle)

    async def ended(self, handles: Sequence[Any]) -> None:
        await self._watcher.wait_for(handles[-1])

    async def submit_batch(self, values: range) -> list[Any]:
        payloads = [b"%d" % value for value in values]
        return list(await self._queries.enqueue(["noop"] * len(values), payloads, [0] * len(values)))


if __name__ == "__main__":
    asyncio.run(work())
