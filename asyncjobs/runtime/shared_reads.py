"""Read results once for all callers that ask at the same moment: a thousand waits begin with one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import anyio.lowlevel

from asyncjobs.backends.base import JobBackend
from asyncjobs.models import JobResult

_PAGE = 500
"""Jobs that one query reads."""


class _Round:
    """The callers of one moment. ``results`` is None until they are read, and stays so if the read failed."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.results: dict[str, JobResult] | None = None
        self.done = anyio.Event()


class SharedReads:
    """Reads results of jobs, as of a moment after each call.

    The first caller reads, one turn of the event loop later, for all who have come by then. If it is cancelled, or the
    store fails, it alone ends with that, and the others read again.
    """

    def __init__(self, backend: JobBackend) -> None:
        self._backend = backend
        self._gathering: _Round | None = None

    async def get(self, job_ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Return the results of these jobs, perhaps with those of others; unknown ids are left out."""
        while True:
            joined = self._gathering
            if joined is None:
                return await self._lead(job_ids)
            joined.ids.update(dict.fromkeys(job_ids))
            await joined.done.wait()
            if joined.results is not None:
                return joined.results

    async def _lead(self, job_ids: Sequence[str]) -> Mapping[str, JobResult]:
        own = self._gathering = _Round()
        own.ids.update(dict.fromkeys(job_ids))
        try:
            try:
                await anyio.lowlevel.checkpoint()
            finally:
                self._gathering = None  # who comes from now on asks for a later moment
            wanted, found = list(own.ids), dict[str, JobResult]()
            for start in range(0, len(wanted), _PAGE):
                found.update(await self._backend.get_results(wanted[start : start + _PAGE]))
            own.results = found
        finally:
            own.done.set()
        return found
