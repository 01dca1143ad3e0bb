"""Stop an ``async def`` body as its event loop stops a task.

On asyncio, the body gets one ``CancelledError``, and its clean-up in ``finally`` and ``__aexit__`` may await. Every
await is cancelled only after ``cancel_grace`` seconds. anyio alone would do that from the beginning, and no session
would ever be closed. On trio, where programs expect that, every await is cancelled from the beginning (ADR 13).
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio

from asyncjobs.runtime.anyio_internals import cancel_unless_shielded, takes_foreign_cancellations

if TYPE_CHECKING:
    import asyncio

_LONGEST_DELAY = 0.02
"""Seconds between two checks whether the body has left its shielded section."""


class Body(Protocol):
    """A running body, as the code that stops it sees it. Methods may be called repeatedly, and after its end."""

    def stop(self) -> None:
        """Cancel the body, and give it ``cancel_grace`` seconds to clean up."""
        ...

    def hurry(self) -> None:
        """End the time for clean-up, if the body was asked to stop."""
        ...

    def pause(self) -> None:
        """Pause its timeout until ``resume``."""
        ...

    def resume(self) -> None:
        """Continue with the remaining time."""
        ...


class BodyScope:
    """A context manager around an ``async def`` body.

    :param grace: seconds between the first cancellation and that of every await.
    :param timeout: seconds after which ``timed_out`` is called, unless the body has ended.
    :param around: a scope around the rest of the task, which ends with the body: it is cancelled with it (asyncio).
        Default: the body gets one of its own.
    """

    # Defaults that most bodies never change.
    _timer: asyncio.TimerHandle | None = None
    _next_try: asyncio.Handle | None = None
    _delay = 0.0
    _left = 0.0
    _stopped = False
    _over = False
    delivered: bool = False
    """Whether the body has been cancelled."""

    def __init__(
        self,
        grace: float,
        timeout: float | None,
        timed_out: Callable[[], None],
        around: anyio.CancelScope | None = None,
    ) -> None:
        self._grace = grace
        self._timeout = timeout
        self._timed_out = timed_out
        self.task: asyncio.Task[Any] | None = current_asyncio_task()
        """What runs the body; None on trio."""
        kind = _kind_of_scope(self.task is None)
        self._around = around
        self._outer = kind() if around is None else around
        self._inner = kind()

    def __enter__(self) -> Self:
        if self._timeout is not None:
            if self.task is not None:
                self._timer = self.task.get_loop().call_later(self._timeout, self._timed_out)
            else:
                self._outer.deadline = anyio.current_time() + self._timeout
        if self._around is None:
            self._outer.__enter__()
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._next_try is not None:
            self._next_try.cancel()
        caught = self._inner.__exit__(kind, error, traceback)
        if self._around is None:
            if caught:
                self._outer.__exit__(None, None, None)
            else:
                caught = self._outer.__exit__(kind, error, traceback)
        if self.task is None and self._outer.cancel_called:
            self.delivered = True
            self._timed_out()  # by the deadline, unless it was asked to stop before
        return bool(caught)

    def ends_here(self) -> bool:
        """Whether a cancellation that the body let through came from ``stop``, so that it ends here.

        Otherwise it is the worker's, or on trio the scope's, and must be re-raised; or the body raised it itself.
        """
        return self.task is not None and self._stopped

    def stop(self) -> None:
        """See ``Body``."""
        if self._over or self._stopped:
            return
        self._stopped = True
        if self.task is None or self._grace == 0:
            self.delivered = True
            self._outer.cancel()
        else:
            self._deliver(self.task)

    def hurry(self) -> None:
        """See ``Body``."""
        if self.task is not None and self._stopped:
            self.delivered = True
            self._inner.cancel()

    def pause(self) -> None:
        """See ``Body``."""
        if self._timer is not None and self.task is not None:
            self._left = self._timer.when() - self.task.get_loop().time()
            self._timer.cancel()
        elif self._timeout is not None and self.task is None:
            self._left = self._outer.deadline - anyio.current_time()
            self._outer.deadline = math.inf

    def resume(self) -> None:
        """See ``Body``."""
        if self._over or self._stopped or self._timeout is None:
            return
        if self.task is not None:
            self._timer = self.task.get_loop().call_later(max(0.0, self._left), self._timed_out)
        else:
            self._outer.deadline = anyio.current_time() + self._left

    def _deliver(self, task: asyncio.Task[Any]) -> None:
        """Cancel the body once.

        That is not possible while the body shields itself or is about to resume: then it is tried again.
        """
        if self._cancel(task):
            self.delivered = True
            self._inner.deadline = task.get_loop().time() + self._grace
        elif self._next_try is None:
            self._next_try = task.get_loop().call_soon(self._try_again, task)
        else:
            self._delay = min(_LONGEST_DELAY, self._delay * 2 or 0.001)
            self._next_try = task.get_loop().call_later(self._delay, self._try_again, task)

    def _try_again(self, task: asyncio.Task[Any]) -> None:
        if not self._inner.cancel_called:
            self._deliver(task)

    def _cancel(self, task: asyncio.Task[Any]) -> bool:
        """Have the scopes cancel the task. Return whether they did.

        A cancelled scope cancels its tasks at once, and in every iteration of the loop until they have left it. The
        inner scope, shielded before the next iteration, keeps the outer one from repeating it.
        """
        if takes_foreign_cancellations(self._inner):
            return current_asyncio_task() is not task and cancel_unless_shielded(task, self._inner)
        before = task.cancelling()
        if self._outer.cancel_called:
            self._inner.shield = False  # the outer one continues
        else:
            self._outer.cancel()
        self._inner.shield = True
        return task.cancelling() > before


@functools.cache
def _kind_of_scope(trio: bool) -> type[anyio.CancelScope]:
    """Return the scope class of the event loop: ``anyio.CancelScope`` looks it up each time, which costs more."""
    return type(anyio.CancelScope())


def current_asyncio_task() -> asyncio.Task[Any] | None:
    """Return the task of asyncio that calls this, None on another event loop."""
    asyncio: Any = sys.modules.get("asyncio")  # imported only by programs that run on it
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # trio
        return None
