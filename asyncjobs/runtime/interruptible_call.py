"""Call async functions for a thread that Ctrl-C may interrupt while it waits for them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from asyncjobs.runtime.lending import BodyStopped

T = TypeVar("T")


class InterruptibleCall:
    """One call on the loop. It can be cancelled before its future is known: Ctrl-C may come between any two lines."""

    def __init__(self) -> None:
        self._cancelled = False
        self._scope: anyio.CancelScope | None = None

    def cancel(self) -> None:
        """End the call, whether it has begun or not. Must be called on the loop."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    async def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T | BodyStopped:
        """Call the function; return ``BodyStopped`` as a value: raised, it would end the portal, and with it the
        loop."""
        with anyio.CancelScope() as self._scope:
            if self._cancelled:
                self._scope.cancel()
            try:
                return await function(*args)
            except BodyStopped as stopped:
                return stopped
        return BodyStopped()  # no caller is left
