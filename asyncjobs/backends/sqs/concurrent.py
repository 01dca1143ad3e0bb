"""Do many calls, some of them at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from asyncjobs.exceptions import BackendConnectionError

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 16


async def at_once(do: Callable[[T], Awaitable[R]], things: Sequence[T], most: int = _AT_ONCE) -> list[R]:
    """Do this with each of them, with so many at the same time; return the results in order.

    An error is raised once all have ended; of several, the first. After a call that was not answered in time no more
    are begun: each would take as long, and a caller waits for all.
    """
    results: dict[int, R] = {}
    errors: list[Exception] = []
    limiter = anyio.Semaphore(most)

    async def one(place: int, thing: T) -> None:
        try:
            results[place] = await do(thing)
        except Exception as error:  # border: it is raised below, and not in a group
            errors.append(error)
        finally:
            limiter.release()

    async with anyio.create_task_group() as tasks:
        for place, thing in enumerate(things):
            # Each waits for a turn of the event loop: to write and sign a call takes a millisecond of it.
            await limiter.acquire()
            if any(map(_is_silence, errors)):
                break
            tasks.start_soon(one, place, thing)
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(things))]


def _is_silence(error: Exception) -> bool:
    return isinstance(error, BackendConnectionError) and not error.transient
