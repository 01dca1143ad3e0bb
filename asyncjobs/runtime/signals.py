"""SIGTERM and Ctrl-C in a program that a processor is embedded in.

Signals belong to the program. Only what Python itself does with them is changed, and only while that makes sense:
SIGTERM, which would end the process at once, while a processor runs jobs (ADR 10); Ctrl-C while one is left. A handler
that the program or its server has installed stays in charge, and one that is installed over ours is not removed.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import anyio

from asyncjobs.runtime.wakeups import LoopHandle

_CLEAN_UP = 5.0
"""Seconds that the program has, after the drain, to leave what is around the block."""
_LOOK_EVERY = 0.2
_OF_LOOPS = ("asyncio.runners", "trio._core._ki")
"""Modules whose SIGINT handler is what Python does for a program that has none of its own."""


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


# -- SIGTERM


class Resident:
    """A processor that runs jobs in this process, as the handler of SIGTERM sees it.

    :param leave: has it left in order, as Ctrl-C does; on its loop.
    :param hurry: has it hand back what still runs.
    """

    def __init__(self, leave: Callable[[], object], hurry: Callable[[], object]) -> None:
        self.loop = LoopHandle()
        self._on_signal = [leave, hurry]

    def deliver(self, signals: int) -> bool:
        """Tell it of the signal with this number. False: there is nobody to be told."""
        return self.loop.running and self.loop.call_soon(self._on_signal[signals - 1])


class Termination:
    """The handler of SIGTERM while processors run jobs in a program that has none of its own.

    The first signal has them left, the second has them hand back what runs, the third ends the process.
    """

    def __init__(self) -> None:
        self._residents: list[Resident] = []
        self._signals = 0
        self._pid = os.getpid()

    @staticmethod
    def join(resident: Resident) -> Termination | None:
        """Have SIGTERM leave this processor, too. None: the program has a handler, or this is not its main thread."""
        if not _on_main_thread():
            return None
        handler: object = signal.getsignal(signal.SIGTERM)
        inherited = isinstance(handler, Termination) and handler._pid != os.getpid()
        if handler is signal.SIG_DFL or inherited:
            handler = Termination()
            try:
                signal.signal(signal.SIGTERM, handler)
            except ValueError:  # the main thread of an interpreter that is not the main one
                return None
        elif not isinstance(handler, Termination):
            return None
        handler._residents.append(resident)
        return handler

    @property
    def came(self) -> bool:
        """Whether there was a signal."""
        return self._signals > 0

    def part(self, resident: Resident) -> bool:
        """Forget a processor that has been left. True: it was the last one, and SIGTERM came: the process is to end."""
        if resident not in self._residents:
            return False
        self._residents.remove(resident)
        if self._residents:
            return False
        if signal.getsignal(signal.SIGTERM) is self and _on_main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return self._signals > 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal. A forked child is another process: it ends as it would have without us."""
        self._signals += 1
        if os.getpid() == self._pid and self._signals <= 2:
            delivered = [resident.deliver(self._signals) for resident in self._residents]
            if any(delivered):
                return
        _die()


def terminate() -> None:
    """End this process by SIGTERM, after what was written has gone out."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed, or replaced by something that cannot
    _die()


def _die() -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)  # the system keeps the first process of a container from dying of it


def terminate_after_clean_up() -> None:
    """End this process once the task that left the processor has ended, so that the blocks around it are left, too."""
    asyncio: Any = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task()
    except (AttributeError, RuntimeError):  # trio: a task there cannot be watched from outside
        terminate()
        return
    task.add_done_callback(lambda _: terminate())  # pyright: ignore[reportUnknownLambdaType] - any task
    task.get_loop().call_later(_CLEAN_UP, terminate)


# -- Ctrl-C


class CtrlC:
    """Ctrl-C while a processor is left: running jobs are handed back, and whoever handled it before handles it, too.

    Once more, it goes through. Nothing is changed where the program has a handler of its own.

    :param hurry: hands running jobs back; on the loop.
    """

    def __init__(self, hurry: Callable[[], object], loop: LoopHandle) -> None:
        self._hurry = hurry
        self._loop = loop
        self._pid = os.getpid()
        self._signals = 0
        self._raised = False
        handler: Any = signal.getsignal(signal.SIGINT)
        self._before: Any = handler if _on_main_thread() and _is_pythons(handler) else None
        if self._before is not None:
            try:
                signal.signal(signal.SIGINT, self)
            except ValueError:  # the main thread of an interpreter that is not the main one
                self._before = None

    @property
    def handled(self) -> bool:
        """Whether Ctrl-C now hands running jobs back."""
        return self._before is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        self._signals += 1
        if self._signals > 1 or os.getpid() != self._pid:
            self._before(number, frame)
            return
        self._loop.call_soon(self._hurry)
        try:
            self._before(number, frame)
        except KeyboardInterrupt:
            self._raised = True

    def remove(self) -> bool:
        """Let Ctrl-C be what it was before. True: one came whose ``KeyboardInterrupt`` is to be raised now."""
        if self._before is not None and signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, self._before)
        return self._raised


def _is_pythons(handler: Any) -> bool:
    if handler is signal.default_int_handler:
        return True
    while isinstance(handler, functools.partial):
        handler = handler.func
    return callable(handler) and getattr(handler, "__module__", None) in _OF_LOOPS


async def follow_server_exit(hurry: Callable[[], object]) -> None:
    """Hand running jobs back when the server that handles Ctrl-C is told to exit at once (uvicorn, by a second one).

    Its flag is read only: nothing is patched.
    """
    server: Any = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    if not hasattr(server, "force_exit"):
        return
    while not server.force_exit:  # noqa: ASYNC110 - there is nothing to wait for
        await anyio.sleep(_LOOK_EVERY)
    hurry()
