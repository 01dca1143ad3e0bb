"""Hold the attempts of a worker in a task group that can be left behind with those that do not end.

A task group ends when its last task does, so one body that shields an endless wait would hold its worker, and with it
the program that leaves the processor. So on asyncio the group has a task of its own, for which leaving waits only a
moment (ADR 26). On trio it is a nursery of the worker's: nothing there outlives its nursery.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus
from anyio.lowlevel import current_token

from asyncjobs.exceptions import only_error

if TYPE_CHECKING:
    from asyncio import Task

_MOMENT = 1.0
"""Seconds for cancelled attempts to end, after which they are left behind."""

_hosts: set[Task[None]] = set()
"""The tasks whose groups have not ended: asyncio itself keeps them only weakly."""


class Crew:
    """Runs attempts in a task group, from ``run`` until that is cancelled."""

    def __init__(self) -> None:
        self.can_leave = hasattr(current_token().native_token, "call_soon_threadsafe")
        """Whether what does not end can be left behind: not on trio."""
        self.left_behind = False
        """Whether attempts go on that are not waited for."""

    def start(self, attempt: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run one more."""
        self._group.start_soon(attempt, *args)

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Hold the attempts until this is cancelled: then cancel them, and wait until they have ended.

        :raises: what one of them raised.
        """
        self._group = anyio.create_task_group()
        if not self.can_leave:
            async with self._group:
                task_status.started()
                await anyio.sleep_forever()
        asyncio: Any = sys.modules["asyncio"]  # it runs this; imported above, programs on trio would pay for it
        begun, over = anyio.Event(), anyio.Event()
        host: Task[None] = asyncio.create_task(self._hold(begun), name="asyncjobs-attempts")
        _hosts.add(host)
        host.add_done_callback(_hosts.discard)
        host.add_done_callback(lambda _: begun.set())
        host.add_done_callback(lambda _: over.set())
        try:
            with anyio.CancelScope(shield=True):
                await begun.wait()
            task_status.started()
            await over.wait()
        finally:
            self._group.cancel_scope.cancel()
            with anyio.move_on_after(_MOMENT, shield=True):
                await over.wait()
            self.left_behind = not host.done()
        if not host.cancelled() and (error := host.exception()) is not None:
            raise only_error(error)

    async def _hold(self, begun: anyio.Event) -> None:
        async with self._group:
            begun.set()
            await anyio.sleep_forever()
