"""Lend the slot of a body that waits through another processor than the one that runs it.

A body may open a processor of its own on the same store, in its loop, in a thread with another loop, or in a child
process. Whichever it waits through, its slot is lent meanwhile, and in a drain it is released at once.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import anyio

from asyncjobs.runtime.wakeups import LoopHandle

if TYPE_CHECKING:
    from asyncjobs.runtime.context import JobContext


class BodyStopped(BaseException):
    """Raised at the wait of a body that is asked to stop, in a thread or on another loop; nothing that it does
    afterwards is recorded."""


class Interruptible(Protocol):
    """A wait that can be ended early."""

    def cancel(self) -> object:
        """End the wait; it may have ended already."""
        ...


class Lender(Protocol):
    """The worker of a body, or what stands for it in a child process. Both methods may be called from any thread."""

    def lend(self, context: JobContext, wait: Interruptible) -> None:
        """Lend the slot of this body while it waits. If the body is to stop, cancel the wait, unless the body is
        cancelled itself where it waits."""
        ...

    def take_back(self, context: JobContext, wait: Interruptible) -> None:
        """Take the slot back, even if none is free: the body continues, on another loop than the worker's."""
        ...


class WaitElsewhere:
    """A context manager around a wait of a body on the loop of a processor that does not run it."""

    def __init__(self, context: JobContext, lender: Lender) -> None:
        self._context = context
        self._lender = lender
        self._loop = LoopHandle()
        self._scope = anyio.CancelScope()

    @property
    def interrupted(self) -> bool:
        """Whether it was ended because the body is to stop."""
        return self._scope.cancelled_caught

    def cancel(self) -> None:
        """End the wait, from any thread."""
        self._loop.call_soon(self._scope.cancel)

    def __enter__(self) -> Self:
        self._scope.__enter__()
        self._lender.lend(self._context, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._lender.take_back(self._context, self)
        return bool(self._scope.__exit__(kind, error, traceback))
