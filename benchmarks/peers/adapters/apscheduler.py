"""APScheduler 4, an alpha, on SQLite, which it opens as SQLAlchemy does: each commit synced.

Through aiosqlite: its documentation advises against that, but with an engine that blocks, "database is locked" ends it
as soon as jobs run at the same time.
"""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.peers.harness import SLOTS, Adapter, Surroundings

_apscheduler: Any = importlib.import_module("apscheduler")
_asyncio: Any = importlib.import_module("sqlalchemy.ext.asyncio")
_store: Any = importlib.import_module("apscheduler.datastores.sqlalchemy")


async def noop(value: int) -> int:
    return value


class Peer(Adapter):
    async def open(self) -> None:
        self._engine: Any = _asyncio.create_async_engine(
            f"sqlite+aiosqlite:///{Surroundings().folder / 'apscheduler.db'}"
        )
        store = _store.SQLAlchemyDataStore(self._engine)
        self._scheduler: Any = _apscheduler.AsyncScheduler(store, max_concurrent_jobs=SLOTS)
        await self._scheduler.__aenter__()
        await self._scheduler.start_in_background()

    async def close(self) -> None:
        await self._scheduler.__aexit__(None, None, None)
        await self._engine.dispose()

    async def submit(self, value: int) -> Any:
        return await self._scheduler.add_job(noop, args=[value], result_expiration_time=600)

    async def result(self, handle: Any) -> object:
        return (await self._scheduler.get_job_result(handle)).return_value
