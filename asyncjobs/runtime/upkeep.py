"""What an operator does with a store, as methods of the processor."""

from __future__ import annotations

import os
from collections.abc import Iterable

from msgspec.structs import replace

from asyncjobs.backends.base import JobBackend
from asyncjobs.models import TERMINAL, JobQuery, name_text

_PAGE = 500


class Upkeep:
    """Part of ``JobProcessor``."""

    @property
    def backend(self) -> JobBackend:
        """The store."""
        raise NotImplementedError

    def _removed(self, job_ids: list[str]) -> None:
        """Let go of what is kept here of jobs that are no more."""
        raise NotImplementedError

    async def remove_jobs(self, jobs: JobQuery | str | Iterable[str], *, components: bool = False) -> list[str]:
        """Remove finished jobs for good, with their results and events, before their retention is over.

        A graph goes as a whole: jobs that depend on each other, and jobs with those submitted from inside them.

        :param jobs: ids, or a query (its limit and cursor do not matter; without a status it means finished jobs).
        :param components: also remove all that they are connected with, once it has ended.
        :returns: the ids of the jobs that were removed. Unknown ids are left out.
        :raises JobStateError: one of them, or of what they are connected with, has not ended, or was not named; it says
            which. Nothing was removed.
        """
        backend = self.backend
        if isinstance(jobs, JobQuery):
            ids = await _found(backend, jobs if jobs.status is not None else replace(jobs, status=sorted(TERMINAL)))
        else:
            ids = [jobs] if isinstance(jobs, str) else list(jobs)
        removed = list(await backend.remove_jobs([name_text(job_id) for job_id in ids], components=components))
        self._removed(removed)
        return removed

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the store to a new file (mode 0600), as of one moment, while work goes on. It is opened like
        the store itself.

        :raises ConfigurationError: the file exists, cannot be made, or this store is not kept in a file.
        """
        await self.backend.backup(path)

    async def compact(self, patience: float = 10.0) -> int:
        """Give what removed jobs took back to the file system; returns by how many bytes the file became smaller.

        Nobody can write meanwhile, so do it when little happens. It needs room for a second copy.

        :param patience: seconds that it may take. Others give up after their ``busy_timeout`` (30 by default).
        :raises BackendError: ``code`` is ``compact-timeout``: it takes longer; nothing was changed.
        :raises BackendConnectionError: somebody else held the lock of the file all the time.
        """
        return await self.backend.compact(patience)


async def _found(backend: JobBackend, query: JobQuery) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await backend.find_jobs(replace(query, limit=_PAGE, cursor=cursor, order="oldest"))
        ids += [job.id for job in page]
        cursor = page.next
        if cursor is None:
            return ids
