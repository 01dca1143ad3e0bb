"""Undo the changes that a body made to its process, so that the next job finds the process as if it were new.

The state of modules (globals, caches, changes made by importing them) stays: that is why a process is kept.
"""

from __future__ import annotations

import gc
import locale
import logging
import os
import resource
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGCHLD,
    signal.SIGPIPE,
)
_LIMITS = tuple(number for name, number in vars(resource).items() if name.startswith("RLIMIT_"))
_MOST_PRIVATE = 0o077

Aspect: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object]]
"""One property of the process: how to read it, and how to restore it."""


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # the folder was removed
        return None


def _set_environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)
    time.tzset()


def _umask() -> int:
    # It can be read only by setting it. Meanwhile, a leftover thread must not create files that others can read.
    before = os.umask(_MOST_PRIVATE)
    os.umask(before)
    return before


def _armed_timers() -> list[int]:
    return [timer for timer in _TIMERS if signal.getitimer(timer) != (0.0, 0.0)]


def _disarm(armed_before: list[int]) -> None:
    for timer in _armed_timers():
        if timer not in armed_before:
            signal.setitimer(timer, 0)


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _set_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _limits() -> dict[int, tuple[int, int]]:
    return {limit: resource.getrlimit(limit) for limit in _LIMITS}


def _set_limits(before: dict[int, tuple[int, int]]) -> None:
    for limit, value in before.items():
        resource.setrlimit(limit, value)  # raises if the hard limit was lowered


def _interpreter() -> tuple[int, int, float, bool]:
    return sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.getswitchinterval(), gc.isenabled()


def _set_interpreter(before: tuple[int, int, float, bool]) -> None:
    sys.setrecursionlimit(before[0])
    sys.set_int_max_str_digits(before[1])
    sys.setswitchinterval(before[2])
    (gc.enable if before[3] else gc.disable)()


def _logging() -> tuple[int, int, list[logging.Handler]]:
    root = logging.getLogger()
    return root.level, root.manager.disable, list(root.handlers)


def _set_logging(before: tuple[int, int, list[logging.Handler]]) -> None:
    root = logging.getLogger()
    root.setLevel(before[0])
    logging.disable(before[1])
    root.handlers[:] = before[2]


def _paths() -> tuple[list[str], list[str]]:
    return list(sys.path), list(sys.argv)


def _set_paths(before: tuple[list[str], list[str]]) -> None:
    sys.path[:], sys.argv[:] = before


_ASPECTS: tuple[Aspect, ...] = (
    (_armed_timers, _disarm),  # before the handlers of their signals
    (_handlers, _set_handlers),
    (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
    ),
    (_folder, os.chdir),
    (lambda: dict(os.environ), _set_environment),
    (_umask, os.umask),
    (_limits, _set_limits),
    (lambda: os.getpriority(os.PRIO_PROCESS, 0), lambda nice: os.setpriority(os.PRIO_PROCESS, 0, nice)),
    (_interpreter, _set_interpreter),
    (_paths, _set_paths),
    (_logging, _set_logging),
    (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    (socket.getdefaulttimeout, socket.setdefaulttimeout),
)


class Surroundings:
    """A snapshot of the process before a body runs in it. For the main thread only, which owns the signals."""

    def __init__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        self._before = [read() for read, _ in _ASPECTS]

    def restore(self) -> bool:
        """Restore everything that has changed. Return whether that succeeded."""
        self._warnings.__exit__(None, None, None)
        try:
            for (read, write), before in zip(_ASPECTS, self._before, strict=True):
                if read() != before:
                    write(before)
                    if read() != before:
                        return False
        except Exception:  # border: a lowered hard limit, a removed folder, a patched module
            return False
        return True
