"""Handle SIGTERM and Ctrl-C in a program that a processor is embedded in.

Signals belong to the program. Only Python's own handling of them is changed, and only while that makes sense: of
SIGTERM, which would end the process at once, while a processor runs jobs (ADR 10); of Ctrl-C, while a processor is
being left, or cannot be left. The first signal leaves the processor, the second hands jobs back, the third ends the
process, whatever blocks it. A handler that the program or its server has installed stays in charge, and one that is
installed over ours is not removed.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import anyio

from asyncjobs.runtime.wakeups import LoopHandle

_CLEAN_UP = 5.0
"""Seconds that the program gets, after the drain, to leave the code around the block."""
_LOOK_EVERY = 0.2
LEAVE, HURRY = 1, 2
"""The requests of the first and of the second signal."""
_OF_LOOPS = ("asyncio.runners", "trio._core._ki")
"""Modules whose SIGINT handler does what Python's default handler does."""


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


# -- SIGTERM


class Resident:
    """A processor that runs jobs in this process, as the handler of SIGTERM sees it.

    :param leave: begins to leave it in order, as Ctrl-C does; called on its loop.
    :param hurry: makes it hand back the running jobs.
    """

    def __init__(self, leave: Callable[[], object], hurry: Callable[[], object]) -> None:
        self.loop: LoopHandle = LoopHandle()
        self._on_signal = [leave, hurry]

    def deliver(self, what: int) -> bool:
        """Leave the processor (``LEAVE``), or hand its jobs back (``HURRY``). Return False if its loop does not run."""
        return self.loop.running and self.loop.call_soon(self._on_signal[what - 1])


class Termination:
    """The handler of SIGTERM while processors run jobs in a program without its own handler.

    The first signal leaves them, the second makes them hand back running jobs, the third ends the process.
    """

    def __init__(self) -> None:
        self._residents: list[Resident] = []
        self._signals = 0
        self._pid = os.getpid()

    @staticmethod
    def join(resident: Resident) -> Termination | None:
        """Have SIGTERM leave this processor, too. Return None if the program has a handler, or off the main thread."""
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
        """Forget a processor that was left. Return whether it was the last one after SIGTERM: the process ends."""
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
                if self._signals == HURRY:
                    _let_the_next_one_end(signal.SIGTERM)
                return
        _die(signal.SIGTERM)


def terminate() -> None:
    """End this process by SIGTERM, after flushing the output."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed, or replaced by something that cannot
    _die(signal.SIGTERM)


def _die(number: signal.Signals) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # the system keeps the first process of a container from dying of it


def _let_the_next_one_end(number: signal.Signals) -> None:
    """Leave the next signal to the system: a Python handler would wait for C code that blocks the main thread.

    The first process of a container would not die of it: there, our own handler ends it.
    """
    if os.getpid() != 1:
        signal.signal(number, signal.SIG_DFL)


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
    """The handler of Ctrl-C while processors run jobs in a program that leaves it to Python.

    While the program continues, Ctrl-C is passed on. While a processor is being left, it hands back the running jobs,
    and the next one ends the process, by the system's default action: a body may block the loop, or a clean-up may
    hang. If a body blocks the loop, so that no processor can be left, the third one ends the process.
    """

    def __init__(self, before: Any) -> None:
        self._before = before
        self._pid = os.getpid()
        self._residents: list[Resident] = []
        self._leaving: list[Resident] = []
        self._pending = 0
        """Signals that the loop has not handled yet, because it is blocked, or has begun to leave."""
        self._handed_back = self._raised = False

    @staticmethod
    def join(resident: Resident) -> CtrlC | None:
        """Have Ctrl-C hand back this processor's jobs while it is left. Return None if the program handles Ctrl-C."""
        if not _on_main_thread():
            return None
        handler: Any = signal.getsignal(signal.SIGINT)
        if isinstance(handler, _WayOut):
            handler = handler.before
        if not isinstance(handler, CtrlC) or handler._pid != os.getpid():
            if not _is_pythons(handler):
                return None
            handler = CtrlC(handler)
            try:
                signal.signal(signal.SIGINT, handler)
            except ValueError:  # the main thread of an interpreter that is not the main one
                return None
        # Those of a loop that was stopped for good, or that will be run again: they join again as they are left.
        handler._residents = [known for known in handler._residents if known.loop.running]
        handler._residents.append(resident)
        return handler

    @property
    def handled(self) -> bool:
        """Whether Ctrl-C now hands running jobs back."""
        return signal.getsignal(signal.SIGINT) is self

    def leave(self, resident: Resident) -> None:
        """Hand back the jobs of this processor, which is being left, at the next Ctrl-C; now if one came before."""
        self._leaving.append(resident)
        if self._handed_back:
            resident.deliver(HURRY)

    def part(self, resident: Resident) -> bool:
        """Forget a processor that has been left. Return whether a pending ``KeyboardInterrupt`` must be raised now."""
        for known in (self._residents, self._leaving):
            if resident in known:
                known.remove(resident)
        if not self._residents:
            ours = self.handled or (self._handed_back and signal.getsignal(signal.SIGINT) is signal.SIG_DFL)
            if ours and _on_main_thread():
                signal.signal(signal.SIGINT, _WayOut(self._before, resident.loop) if self._raised else self._before)
        raised, self._raised = self._raised, False
        return raised

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        loop = next((resident.loop for resident in self._residents if resident.loop.running), None)
        if os.getpid() != self._pid or loop is None:
            signal.signal(signal.SIGINT, self._before)  # nothing of ours runs; it may be that nothing ever will
            self._before(number, frame)
            return
        self._pending += 1
        if self._handed_back or self._pending > 2:
            _die(signal.SIGINT)
        if not self._leaving:
            loop.call_soon(self._answered)
            self._before(number, frame)
            return
        self._handed_back = True
        for resident in self._leaving:
            resident.deliver(HURRY)
        _let_the_next_one_end(signal.SIGINT)
        try:
            self._before(number, frame)
        except KeyboardInterrupt:
            pass
        self._raised = True

    def _answered(self) -> None:
        if not self._leaving:
            self._pending = 0


class _WayOut:
    """Ctrl-C after one that had running jobs handed back: the program is ending, and this one ends it.

    Unless it does not end: its loop is closed, and what runs is code of the program.

    :param before: the handler of the program that continues.
    """

    def __init__(self, before: Any, loop: LoopHandle) -> None:
        self.before = before
        self._loop = loop
        self._pid = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if os.getpid() == self._pid and (self._loop.call_soon(int) or _waits_for_threads(frame)):
            _die(signal.SIGINT)
        signal.signal(signal.SIGINT, self.before)
        self.before(number, frame)


def _waits_for_threads(frame: FrameType | None) -> bool:
    """Return whether the main thread has run all code of the program, and the interpreter waits for other threads."""
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == "threading"


@contextmanager
def next_ctrl_c_ends(loop: LoopHandle) -> Generator[None]:
    """Have the next Ctrl-C end the process while this is open, where Python would raise ``KeyboardInterrupt``.

    :param loop: the event loop that the program waits for.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or not _on_main_thread():
        yield
        return
    _let_the_next_one_end(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _WayOut(before, loop))


def _is_pythons(handler: Any) -> bool:
    if handler is signal.default_int_handler:
        return True
    while isinstance(handler, functools.partial):
        handler = handler.func
    return callable(handler) and getattr(handler, "__module__", None) in _OF_LOOPS


async def follow_server_exit(hurry: Callable[[], object]) -> None:
    """Hand running jobs back when the server that handles Ctrl-C is forced to exit (uvicorn: by a second Ctrl-C).

    Its flag is read only: nothing is patched.
    """
    server: Any = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    if not hasattr(server, "force_exit"):
        return
    while not server.force_exit:  # noqa: ASYNC110 - there is nothing to wait for
        await anyio.sleep(_LOOK_EVERY)
    hurry()
