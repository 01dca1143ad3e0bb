"""Keep every use of anyio's private names in one place, each with its reason."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.lowlevel import EventLoopToken

from asyncjobs.forks import fork_count

if TYPE_CHECKING:
    import asyncio


def takes_foreign_cancellations(scope: anyio.CancelScope) -> bool:
    """Return whether a cancelled scope swallows a cancellation that another scope has caused.

    It does before anyio 4.16: a task group in a body, cancelled because its host was cancelled, would end as if nothing
    had happened, and the body would continue after it. The attribute was added together with the fix.
    """
    return not hasattr(scope, "_cancelling_at_enter")


def cancel_unless_shielded(task: asyncio.Task[Any], inside: anyio.CancelScope) -> bool:
    """Cancel a task as its event loop does, unless a scope within ``inside`` shields it. Return whether that was done.

    For anyio versions with ``takes_foreign_cancellations``, which are released and do not change any more. Like anyio,
    do not cancel a task that is about to resume.
    """
    from anyio._backends import _asyncio

    states: Any = _asyncio._task_states  # pyright: ignore - the only way from a task to its scopes
    scope = states[task].cancel_scope
    while scope is not inside:
        if scope.shield:
            return False
        scope = scope._parent_scope
    waiter: Any = getattr(task, "_fut_waiter", None)
    if waiter is not None and waiter.done():
        return False
    task.cancel("the job was asked to stop")
    return True


@contextmanager
def worker_thread(loop: EventLoopToken | None, check_cancelled: Callable[[], None]) -> Generator[None]:
    """Make ``anyio.from_thread`` work in this thread: calls go to ``loop``, with the given ``check_cancelled``.

    anyio recognises its own threads by what it keeps in a ``threading.local``; ours are daemon threads, which anyio
    does not offer. ``from_thread`` gets the ``backend_class`` of the token there, which makes the call.

    :param loop: None if there is no loop here: each call gets one of its own.
    """
    from anyio._core import _eventloop

    kept: Any = _eventloop.threadlocals  # where from_thread looks
    backend: Any = _OwnLoop(check_cancelled) if loop is None else _TheLoop(loop, check_cancelled)
    kept.current_token = EventLoopToken(backend, None if loop is None else loop.native_token)
    try:
        yield
    finally:
        del kept.current_token


def forget_loop() -> None:
    """Mark the current context as outside of any event loop: otherwise ``anyio.run`` would refuse to start one."""
    sniffio: Any = sys.modules.get("sniffio")  # anyio uses it where it is installed
    if sniffio is not None:
        sniffio.current_async_library_cvar.set(None)


class _TheLoop:
    """Replaces the backend of a loop: trio's own would look for the loop in a thread that trio did not start."""

    def __init__(self, loop: EventLoopToken, check_cancelled: Callable[[], None]) -> None:
        self._loop = loop
        self._forks = fork_count()
        self.check_cancelled = check_cancelled

    def _refuse_in_fork(self) -> None:
        if fork_count() != self._forks:
            raise RuntimeError("the event loop does not run in a forked child: return the value to the job")

    def run_async_from_thread(self, func: Callable[..., Any], args: tuple[Any, ...], token: object) -> Any:
        self._refuse_in_fork()
        backend = cast("Any", self._loop.backend_class)
        return backend.run_async_from_thread(func, args, token=token or self._loop.native_token)

    def run_sync_from_thread(self, func: Callable[..., Any], args: tuple[Any, ...], token: object) -> Any:
        self._refuse_in_fork()
        backend = cast("Any", self._loop.backend_class)
        return backend.run_sync_from_thread(func, args, token=token or self._loop.native_token)


class _OwnLoop:
    """Replaces the backend where there is no loop."""

    def __init__(self, check_cancelled: Callable[[], None]) -> None:
        self.check_cancelled = check_cancelled

    def run_async_from_thread(self, func: Callable[..., Awaitable[Any]], args: tuple[Any, ...], token: object) -> Any:
        return anyio.run(func, *args)

    def run_sync_from_thread(self, func: Callable[..., Any], args: tuple[Any, ...], token: object) -> Any:
        async def call() -> Any:
            return func(*args)

        return anyio.run(call)
