"""Suggest the closest existing id for an unknown one."""

from __future__ import annotations

from collections.abc import Iterator

from asyncjobs.backends.base import JobBackend
from asyncjobs.exceptions import BackendError, JobNotFoundError
from asyncjobs.spellings import nearest

_LONGEST = 64
_CANDIDATES = 100
"""Both bound the comparison, which is quadratic in the length and must not block the event loop."""


async def not_found(backend: JobBackend, job_id: str) -> JobNotFoundError:
    """Return the error for an unknown id, with the closest stored one."""
    return JobNotFoundError(job_id, near=await nearest_id(backend, job_id))


async def nearest_id(backend: JobBackend, job_id: str) -> str | None:
    """Return the stored id closest to ``job_id``; None when none is close.

    The search covers ids that begin like it: a handful of short reads, however many jobs there are. Never raises a
    ``BackendError``: the original error matters more than the hint.
    """
    if len(job_id) > _LONGEST:
        return None
    try:
        respelled = await backend.get_jobs([job_id.strip(), job_id.lower(), job_id.upper()])
        return respelled[0].id if respelled else nearest(job_id, await _candidates(backend, job_id))
    except BackendError:
        return None


async def _candidates(backend: JobBackend, job_id: str) -> dict[str, None]:
    found: dict[str, None] = {}
    for length in _shrinking(len(job_id)):
        found |= dict.fromkeys(await backend.find_ids(job_id[:length], _CANDIDATES))
        if len(found) >= _CANDIDATES:
            break
    return found


def _shrinking(length: int) -> Iterator[int]:
    """Yield the whole length, then ever smaller ones: 12, 11, 10, 8, 4, 0."""
    yield length
    cut = 1
    while cut < length:
        yield length - cut
        cut *= 2
    yield 0
