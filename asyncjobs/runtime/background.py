"""Run the background of a processor from the task that enters it until the task that leaves it.

A cancel scope, and with it a task group, belongs to one task. Fixtures, start-up and shut-down hooks and notebook cells
enter in one task and leave in another; so on asyncio the background has a task of its own (ADR 12). Trio has no tasks
outside of nurseries, and no such hooks: there both happen in one task.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import TaskStatus
from anyio.lowlevel import current_token

from asyncjobs.error_texts import only_error
from asyncjobs.safe_logging import SafeLogger

if TYPE_CHECKING:
    import asyncio

logger = SafeLogger("asyncjobs")

Main = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
"""Calls its argument once it has started, and ends when it is asked to. It shields itself from cancellation."""


class Background(Protocol):
    """One coroutine function that runs beside the program."""

    async def start(self, main: Main, stop: Callable[[], None]) -> None:
        """Run ``main``; return once it has started, or raise the error that prevented it.

        If cancelled meanwhile, call ``stop``, which asks ``main`` to end, and wait until it has ended.
        """
        ...

    def interrupt(self) -> bool:
        """Cancel the block of the program, as Ctrl-C does. Return False if the task that entered it has ended."""
        ...

    async def join(self, error: BaseException | None) -> bool | None:
        """Wait until ``main`` has ended; if cancelled meanwhile, keep waiting, and raise the cancellation afterwards.

        :param error: the error with which the block of the program ends, or None.
        :returns: True if that error was handled, and must not propagate.
        :raises: what ended ``main``, unless the block ends with an error of its own.
        """
        ...


def new_background() -> Background:
    """Return a background for the event loop that runs now."""
    return _OwnTask() if hasattr(current_token().native_token, "call_soon_threadsafe") else _Nursery()


class _OwnTask:
    """On asyncio: a task that belongs to none of the tasks that start it and wait for it."""

    def __init__(self) -> None:
        self._asyncio: Any = sys.modules["asyncio"]  # loaded; an import at the top would burden programs on trio
        self._started = anyio.Event()
        self._joined = False
        self._task: asyncio.Task[None]

    async def start(self, main: Main, stop: Callable[[], None]) -> None:
        self._entered = self._asyncio.current_task()
        self._task = self._asyncio.create_task(main(self._started.set), name="asyncjobs")
        self._task.add_done_callback(self._on_task_done)
        try:
            await self._started.wait()
        except BaseException:
            stop()
            if not self._started.is_set():
                self._task.cancel()
            await self._end()
            raise
        if self._task.done():
            await self.join(None)

    def interrupt(self) -> bool:
        return self._entered.cancel()

    async def join(self, error: BaseException | None) -> bool | None:
        self._joined = True
        cancelled = await self._end()
        if not self._task.cancelled() and (problem := self._task.exception()) is not None:
            if error is None:
                raise only_error(problem)
            logger.error("the background of a JobProcessor failed while the program left it", exc_info=problem)
        if cancelled is not None:
            raise cancelled
        return None

    async def _end(self) -> BaseException | None:
        """Wait for the end. Return a cancellation that arrived meanwhile."""
        cancelled: BaseException | None = None
        with anyio.CancelScope(shield=True):
            while not self._task.done():
                try:  # the shield is anyio's: ``Task.cancel()`` goes through it
                    await self._asyncio.wait([self._task])
                except self._asyncio.CancelledError as error:
                    cancelled = error
        return cancelled

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not self._started.is_set():
            self._started.set()  # ``start`` raises what ended it
        elif not self._joined and not task.cancelled() and (error := task.exception()) is not None:
            # The program continues, and gets the error when it leaves the block.
            logger.error("jobs no longer run here: the background has ended with an error", exc_info=error)


class _Nursery:
    """On trio: a task group of the task that starts it and waits for it."""

    def __init__(self) -> None:
        self._tasks = anyio.create_task_group()

    async def start(self, main: Main, stop: Callable[[], None]) -> None:
        async def run(*, task_status: TaskStatus[None]) -> None:
            await main(task_status.started)

        await self._tasks.__aenter__()
        try:
            await self._tasks.start(run)
        except BaseException as error:
            stop()
            self._tasks.cancel_scope.cancel()
            cause = only_error(error)
            if isinstance(cause, anyio.get_cancelled_exc_class()):
                await self._tasks.__aexit__(type(error), error, error.__traceback__)
                raise
            await self._tasks.__aexit__(None, None, None)
            raise cause from None

    def interrupt(self) -> bool:
        self._tasks.cancel_scope.cancel()
        return True

    async def join(self, error: BaseException | None) -> bool | None:
        # Pass the group a cancellation, which it must match with its scope, but no error of the user: those leave the
        # block as they are, not wrapped in an ExceptionGroup.
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return await self._tasks.__aexit__(type(error), error, error.__traceback__)
        await self._tasks.__aexit__(None, None, None)
        return None
