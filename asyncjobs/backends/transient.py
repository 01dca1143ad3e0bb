"""Repeat calls after transient failures, with exponential backoff, jitter, and a bound.

The backend decides which failures are transient (``BackendError.transient``). SQLite's lock is not among them: its
writer and readers have waited for it as long as makes sense, and a second layer would only multiply that. Loops that
must never give up (claiming, recording outcomes) have a separate backoff, without a bound.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from asyncjobs.backends.base import AttemptRef, JobBackend, NewJob
from asyncjobs.clock import Clock, from_datetime
from asyncjobs.exceptions import BackendConnectionError, BackendError, DuplicateJobError
from asyncjobs.plurals import counted

T = TypeVar("T")

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


def delay_before(attempt: int, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait before this attempt; attempt 2 is the first one that waits.

    The delay doubles each time. Half of it is random, so that callers that failed together do not return together.
    """
    return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** (attempt - 2)) * (0.5 + draw() / 2)


async def patiently(call: Callable[[int], Awaitable[T]], *, tries: int, clock: Clock) -> T:
    """Repeat ``call`` until it does not fail transiently, and return its result.

    :param call: gets the number of the attempt, from 1.
    :raises BackendConnectionError: it failed transiently ``tries`` times.
    """
    try:
        return await call(1)
    except BackendError as error:
        failed = error
    return await _try_again(call, failed, tries, clock)


async def _try_again(call: Callable[[int], Awaitable[T]], error: BackendError, tries: int, clock: Clock) -> T:
    """Repeat a call whose first attempt has failed."""
    attempt = 1
    while error.transient:
        if attempt >= tries:
            raise _used_up(error, attempt) from error
        attempt += 1
        await clock.sleep(delay_before(attempt))
        try:
            return await call(attempt)
        except BackendError as again:
            error = again
    raise error


async def enqueue_patiently(
    backend: JobBackend,
    jobs: Sequence[NewJob],
    parent: AttemptRef | None,
    *,
    tries: int,
    clock: Clock,
    trying: Callable[[], None] = lambda: None,
) -> Sequence[str]:
    """Submit jobs by ``backend.enqueue_jobs``, and repeat the call after transient failures.

    The jobs may have been stored although the call failed, so they are submitted again by their fixed ids, and those
    that exist are returned. An id that was taken before is refused as usual.

    :param trying: called right before each try: a claim that begins then joins its transaction.
    :raises BackendConnectionError: see ``patiently``; whether they are stored is unknown. ``.request`` has the jobs.
    """
    began = clock.now()
    try:
        try:
            trying()
            return await backend.enqueue_jobs(jobs, parent=parent)
        except BackendError as error:
            failed = error
        return await _try_again(partial(_submit_again, backend, jobs, parent, began, trying), failed, tries, clock)
    except BackendConnectionError as error:
        error.request = jobs
        raise


async def _submit_again(
    backend: JobBackend,
    jobs: Sequence[NewJob],
    parent: AttemptRef | None,
    began: int,
    trying: Callable[[], None],
    attempt: int,
) -> Sequence[str]:
    """Submit jobs that a call which began at ``began`` may have stored."""
    chosen = [job.id for job in jobs if not job.generated and job.if_exists == "raise"]
    for job in await backend.get_jobs(chosen) if chosen else ():
        if from_datetime(job.created_at) < began:
            raise DuplicateJobError(job.id)
    again = [replace(job, if_exists="return", generated=False) for job in jobs]
    trying()
    return await backend.enqueue_jobs(again, parent=parent)


def _used_up(error: BackendError, tries: int) -> BackendConnectionError:
    return BackendConnectionError(f"{error.args[0]} ({counted(tries, 'try', 'tries')})", tries=tries, transient=False)
