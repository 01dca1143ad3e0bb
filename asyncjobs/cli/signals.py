"""Handle SIGINT and SIGTERM in a command, from its first line to its exit.

Until a command is ready, and in commands that only wait, they end it: one line, exit code 130 or 143. Once a daemon or
``asyncjobs web`` is ready, they are how it is stopped, and are its own until the process has ended (``Kept``).
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
    """Have SIGTERM end a command in the way that Ctrl-C does, on whatever event loop, and remember which one it was."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._number = signal.SIGINT
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self)
        # Called after all threads have ended; then the interpreter would take handlers back, but for this one.
        atexit.register(_ignore)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM. A process that a job has forked ends as it would have without us."""
        if os.getpid() != self._pid:
            _end_by(number)
        self._number = signal.SIGTERM
        handler: Any = signal.getsignal(signal.SIGINT)  # of Python, of the event loop, or of a processor being left
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    def end_by_another(self, code: int) -> None:
        """Let another signal end the process at once, with the exit code that the command has earned already."""

        def leave(number: int, frame: FrameType | None) -> None:
            os._exit(code)

        if signal.getsignal(signal.SIGTERM) is self:
            signal.signal(signal.SIGTERM, leave)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, leave)

    @property
    def exit_code(self) -> int:
        """Return what a shell reports of a command that this signal ended."""
        return 128 + self._number

    @property
    def sentence(self) -> str:
        """Return the message for this signal."""
        return "interrupted" if self._number == signal.SIGINT else "ended by SIGTERM"


@contextmanager
def interruptible() -> Generator[None]:
    """Have Ctrl-C and SIGTERM interrupt what blocks the event loop here.

    asyncio's handler would cancel the task of the command, which notices only once nothing blocks it any more.
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
    """Handlers that call functions on the event loop, and stay when the loop has ended: until the process has.

    Those of asyncio are taken back with the loop, after which a late signal would end a process that has done all its
    work as if it had been killed.

    :param handlers: by signal; called on the loop that runs now.
    :param after_loop: called with the signal once that loop has ended.
    """

    def __init__(self, handlers: dict[int, Callable[[int], None]], after_loop: Callable[[int], None]) -> None:
        self._pid = os.getpid()
        self._loop = LoopHandle()
        self._handlers = handlers
        self._after_loop = after_loop
        for number in handlers:
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. A process that a job has forked ends as it would have without us."""
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
    os._exit(128 + number)  # the system keeps the first process of a container from dying of it
