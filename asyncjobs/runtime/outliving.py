"""Let a call that must not be left half-done end, even if its caller is cancelled."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import anyio

from asyncjobs.runtime.cancellation import current_asyncio_task

T = TypeVar("T")


@functools.cache
def _kind_of_scope() -> type[anyio.CancelScope]:
    """Return the scope class of asyncio: ``anyio.CancelScope`` looks it up each time, which costs more."""
    return type(anyio.CancelScope())


async def outlive(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await a call; if cancelled meanwhile, let its shielded part end, and raise the cancellation afterwards.

    asyncio's own cancellation (``asyncio.timeout``, ``TaskGroup``, ``wait_for``, ``Task.cancel``) bypasses shields,
    which are anyio's. So on asyncio the call runs in a separate task, in which such a cancellation becomes one of
    anyio.
    """
    if current_asyncio_task() is None:
        return await call()
    import asyncio  # it runs this

    scope = _kind_of_scope()()

    async def run() -> T | None:
        with scope:
            return await call()
        return None  # it was cancelled, and so was the caller

    task = asyncio.create_task(run())
    ended = asyncio.get_running_loop().create_future()  # ``asyncio.wait`` costs more than the call of a store in memory
    task.add_done_callback(lambda _: ended.done() or ended.set_result(None))
    cancelled: asyncio.CancelledError | None = None
    try:
        await ended
    except asyncio.CancelledError as error:
        cancelled = error
        scope.cancel()
        with anyio.CancelScope(shield=True):
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError as again:
                    cancelled = again
    if cancelled is not None and (task.cancelled() or task.exception() is None):
        raise cancelled
    return cast("T", task.result())
