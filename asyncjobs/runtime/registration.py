"""Keep the row by which the store knows a worker."""

from __future__ import annotations

from asyncjobs.backends.base import JobBackend, NewWorker
from asyncjobs.config import DaemonConfig


class Registration:
    """A worker's row: the name that people see, and the id that the store gave it last."""

    def __init__(self, backend: JobBackend, config: DaemonConfig) -> None:
        self.worker_id: str = ""
        self._backend = backend
        self._row = NewWorker(
            name=config.name or "", slots=config.num_workers, queues=config.queues, lease=config.lease
        )

    async def register(self) -> None:
        """Make the worker known to the store, under a new id."""
        self.worker_id = await self._backend.register_worker(self._row)
