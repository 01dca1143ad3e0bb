"""Run the attempts of a worker: a task for each, which can be left behind if it does not end.

On asyncio, the tasks are in no task group, because a group ends only with its last task: one body that shields an
endless wait would block its worker, and with it the program that leaves the processor (ADR 26). They also cost a
fraction of what tasks of a group do, and there is one for each job (ADR 29). On trio, they are in a nursery of the
worker: no task there outlives its nursery.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus
from anyio.lowlevel import current_token

from asyncjobs.error_texts import only_error
from asyncjobs.runtime.attempt import RunningAttempt

if TYPE_CHECKING:
    from asyncio import Task

_MOMENT = 1.0
"""Seconds for cancelled attempts to end, after which they are left behind."""

_left: set[Task[None]] = set()
"""The tasks that were left behind: asyncio itself keeps tasks only weakly."""


class Crew:
    """Runs attempts, from ``run`` until that is cancelled."""

    def __init__(self) -> None:
        self.can_leave: bool = hasattr(current_token().native_token, "call_soon_threadsafe")
        """Whether attempts that do not end can be left behind: not on trio."""
        self.left_behind: bool = False
        """Whether attempts continue that are no longer waited for."""
        self._loop: Any = current_token().native_token if self.can_leave else None
        self._scopes: dict[Task[None], anyio.CancelScope] = {}
        self._new_scope = type(anyio.CancelScope())  # anyio.CancelScope looks it up each time, which costs more
        self._ending = False
        self._error: BaseException | None = None
        self._failed, self._over = anyio.Event(), anyio.Event()
        self._context = copy_context()
        self._nursery = None if self.can_leave else anyio.create_task_group()

    def start(self, run: Callable[[RunningAttempt], Coroutine[Any, Any, None]], running: RunningAttempt) -> None:
        """Run another attempt."""
        if self._nursery is not None:
            self._nursery.start_soon(run, running)
            return
        scope = running.scope = self._new_scope()
        # Not in the context of whoever made the store commit: that may be a body, or a caller's task.
        task: Task[None] = self._loop.create_task(
            _run_in(scope, run, running), name=running.job.attempt.job_id, context=self._context.copy()
        )
        self._scopes[task] = scope
        task.add_done_callback(self._on_task_done, context=self._context)

    def _on_task_done(self, task: Task[None]) -> None:
        del self._scopes[task]
        _left.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self._failed.set()
        if self._ending and not self._scopes:
            self._over.set()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Run attempts until this is cancelled: then cancel them, and wait until they have ended.

        :raises: what one of them raised.
        """
        if self._nursery is not None:
            async with self._nursery:
                task_status.started()
                await anyio.sleep_forever()
        try:
            task_status.started()
            await self._failed.wait()
        finally:
            await self._end()
        if self._error is not None:
            raise only_error(self._error)

    async def _end(self) -> None:
        if not self._scopes:
            return
        self._ending = True
        for scope in list(self._scopes.values()):
            scope.cancel()
        with anyio.move_on_after(_MOMENT, shield=True):
            await self._over.wait()
        self.left_behind = bool(self._scopes)
        _left.update(self._scopes)


async def _run_in(
    scope: anyio.CancelScope, run: Callable[[RunningAttempt], Coroutine[Any, Any, None]], running: RunningAttempt
) -> None:
    with scope:
        await run(running)
