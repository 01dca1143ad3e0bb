"""Run blocking calls in daemon threads, which do not keep a program from exiting.

anyio's worker threads, and busy threads of asyncio's executor, are joined at exit. anyio's idle threads end only when
the loop shuts down in order, which does not happen if Ctrl-C interrupts ``run_until_complete``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint, current_token

T = TypeVar("T")
_abandoned: set[threading.Thread] = set()
_LOOK_EVERY = 1.0
"""Seconds between two turns of a loop that waits for a call: how long a signal may go unnoticed."""


async def in_thread(
    function: Callable[..., T], *args: Any, abandon_on_cancel: bool = False, stop: threading.Event | None = None
) -> T:
    """Run a function in a new daemon thread, and return its result.

    :param abandon_on_cancel: return at once when the caller is cancelled. Default: wait until the function has ended.
    :param stop: an event that is set when the caller is cancelled. The function must check it and return soon, because
        the cancelled caller waits for that.
    """
    await checkpoint()
    native: Any = current_token().native_token
    # asyncio's loop and trio's token each have a thread-safe call that neither blocks nor returns a result.
    call_soon: Callable[[Callable[[], object]], object] = getattr(native, "call_soon_threadsafe", None) or (
        native.run_sync_soon
    )
    context = copy_context()
    outcome: Future[T] = Future()
    done = anyio.Event()

    def work() -> None:
        try:
            outcome.set_result(context.run(function, *args))
        except BaseException as error:  # border: raised where it is awaited
            outcome.set_exception(error)
        with suppress(RuntimeError):  # the loop is closed: no caller waits
            call_soon(done.set)

    thread = threading.Thread(target=work, name="asyncjobs-call", daemon=True)
    thread.start()
    try:
        with anyio.CancelScope(shield=not abandon_on_cancel and stop is None):
            await _wait(done)
    except anyio.get_cancelled_exc_class():
        if stop is not None:
            stop.set()
            with anyio.CancelScope(shield=True):
                await done.wait()
        else:
            _abandoned.difference_update([other for other in _abandoned if not other.is_alive()])
            _abandoned.add(thread)
        raise
    return outcome.result()


async def _wait(done: anyio.Event) -> None:
    """Wait for the call, and let the loop turn meanwhile.

    asyncio's loop is not woken by a signal whose handler is not its own. One that comes right before the loop waits for
    events, or that another thread receives, is handled once the loop turns again.
    """
    while not done.is_set():
        with anyio.move_on_after(_LOOK_EVERY):
            await done.wait()


def call_is_abandoned() -> bool:
    """Return whether a function is still running whose caller was cancelled and did not wait for it."""
    return any(thread.is_alive() for thread in _abandoned)
