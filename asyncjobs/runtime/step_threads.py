"""Run the plain functions of steps in threads, for bodies that are awaited."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar

import anyio

from asyncjobs.runtime.threads import Threads
from asyncjobs.runtime.wakeups import LoopHandle

T = TypeVar("T")

_inside: ContextVar[bool] = ContextVar("asyncjobs_inside_step_thread", default=False)
"""Whether the calling code belongs to a function that has a token already: waiting for another could last forever."""


class StepThreads:
    """Threads for the steps of a worker (or of one child process), with a separate limiter.

    :param most: functions that run at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = LoopHandle()
        self._pool = Threads(anyio.CapacityLimiter(most))
        self._free = Threads(anyio.CapacityLimiter(float("inf")))
        """For steps inside of steps, whose outer function waits and holds a token."""

    def is_here(self) -> bool:
        """Return whether the calling code runs on the loop of these threads."""
        return self._loop.is_here()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function that does not raise, in a thread; wait for its end even if the caller is cancelled."""
        context = copy_context()
        inside = context.run(_enter)
        if not self._loop.is_here():  # a body's thread with its own loop
            return await _run_once(function, context)
        with anyio.CancelScope(shield=True):
            return await (self._free if inside else self._pool).run(function, context)
        raise AssertionError("the scope is not cancelled itself")

    def close(self) -> None:
        """Let idle threads end."""
        self._pool.close()
        self._free.close()


def _enter() -> bool:
    inside = _inside.get()
    _inside.set(True)
    return inside


async def _run_once(function: Callable[[], T], context: Context) -> T:
    threads = Threads(anyio.CapacityLimiter(1))
    with anyio.CancelScope(shield=True):
        try:
            return await threads.run(function, context)
        finally:
            threads.close()
    raise AssertionError("the scope is not cancelled itself")
