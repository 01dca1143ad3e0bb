"""Handle SIGINT and SIGTERM in a command, from its first line to its exit.

They end a command that is not ready yet or only waits: one line, exit code 130 or 143. Once a daemon or ``asyncjobs
web`` is ready, it handles them itself until the process has ended (``Kept``).
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from asyncjobs.runtime.wakeups import LoopHandle


class Interruption:
    """Make SIGTERM end a command like Ctrl-C, on any event loop, and remember which signal it was."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._number = signal.SIGINT
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self)
        # Called after all threads have ended. At exit, the interpreter would reset other handlers, but not this one.
        atexit.register(_ignore)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM. In a process that a job has forked, apply the default action."""
        if os.getpid() != self._pid:
            _end_by(number)
        self._number = signal.SIGTERM
        handler: Any = signal.getsignal(signal.SIGINT)  # Python's, the event loop's, or a leaving processor's
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    def end_by_another(self, code: int) -> None:
        """Let another signal end the process at once, with the exit code of the command."""

        def leave(number: int, frame: FrameType | None) -> None:
            os._exit(code)

        if signal.getsignal(signal.SIGTERM) is self:
            signal.signal(signal.SIGTERM, leave)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, leave)

    @property
    def exit_code(self) -> int:
        """Return the exit code that a shell reports for a command that this signal has ended."""
        return 128 + self._number

    @property
    def sentence(self) -> str:
        """Return the message for this signal."""
        return "interrupted" if self._number == signal.SIGINT else "ended by SIGTERM"


@contextmanager
def interruptible() -> Generator[None]:
    """Make Ctrl-C and SIGTERM interrupt code that blocks the event loop.

    asyncio's handler would cancel the task of the command, which takes effect only when the code stops blocking.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Kept:
    """Signal handlers that call functions on the event loop, and stay installed after the loop until the process ends.

    asyncio removes its own handlers with the loop. A late signal would then kill a process that has finished its work.

    :param handlers: functions by signal, called on the running loop.
    :param after_loop: called with the signal after the loop has ended.
    """

    def __init__(self, handlers: dict[int, Callable[[int], None]], after_loop: Callable[[int], None]) -> None:
        self._pid = os.getpid()
        self._loop = LoopHandle()
        self._handlers = handlers
        self._after_loop = after_loop
        for number in handlers:
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. In a process that a job has forked, apply the default action."""
        if os.getpid() != self._pid:
            _end_by(number)
        if not (self._loop.running and self._loop.call_soon(self._handlers[number], number)):
            self._after_loop(number)


def _ignore() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN)


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # the first process of a container does not die of a default action
