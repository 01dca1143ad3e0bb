"""Wake a task, from the loop or from another thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import EventLoopToken, current_token


class Wakeup:
    """An event that is used again and again: notifications while no task waits are kept, as one.

    :param beside: one of the same event loop, whose class of events need not be looked up, which costs far more.
    """

    def __init__(self, beside: Wakeup | None = None) -> None:
        self._event = anyio.Event() if beside is None else beside._new_event()
        self._new_event = type(self._event)

    def notify(self) -> None:
        """Wake the waiting task, or let the next wait return at once. On the loop's thread only."""
        self._event.set()

    async def wait(self) -> None:
        """Return at the next notification (or at one that no task took yet)."""
        await self._event.wait()
        self._event = self._new_event()


class Home:
    """Where an object belongs: the event loop that runs now; with trio, the thread."""

    __slots__ = ("_ask", "_place")

    def __init__(self) -> None:
        asyncio: Any = sys.modules.get("asyncio")  # imported only by programs that run on it
        # The one way to ask that neither raises nor creates anything; asyncio.events exports it.
        running: Any = None if asyncio is None else asyncio._get_running_loop
        self._ask: Callable[[], object] = threading.get_ident if running is None or running() is None else running
        self._place = self._ask()

    def is_here(self) -> bool:
        """Return whether the caller runs there, at the cost of a comparison."""
        return self._ask() == self._place


def loop_runs_here() -> bool:
    """Return whether any event loop runs in the calling thread, so that a call must not block it."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:  # in callbacks, too, which are not tasks
        return True
    try:
        current_token()
    except RuntimeError:  # what anyio raises outside of a loop is one
        return False
    return True


class LoopHandle:
    """The event loop that runs now, as other threads see it."""

    def __init__(self) -> None:
        self._home = Home()
        self.token: EventLoopToken = current_token()
        native: Any = self.token.native_token
        # asyncio's loop and trio's token each have a way that neither blocks nor answers.
        self._soon: Callable[..., object] = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon

    def is_here(self) -> bool:
        """Return whether the calling code runs on this loop, so that waiting for it would block it."""
        return self._home.is_here()

    @property
    def running(self) -> bool:
        """Whether the loop runs at this moment, rather than being able to run again."""
        is_running: Callable[[], bool] | None = getattr(self.token.native_token, "is_running", None)
        return is_running is None or is_running()  # trio's token: that of a loop that has ended takes no calls

    def call_soon(self, function: Callable[..., object], *args: object) -> bool:
        """Have the loop call this, from any thread, without waiting; return whether the loop is still there."""
        try:
            self._soon(function, *args)
        except RuntimeError:  # asyncio: closed; trio's RunFinishedError is one, too
            return False
        return True
