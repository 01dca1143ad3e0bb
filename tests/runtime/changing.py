"""Bodies that change the process in which they run, and one that reports it. It imports nothing of the tests."""

from __future__ import annotations

import gc
import locale
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import anyio

os.environ["SET_BY_THE_MODULE"] = "at import"
kept: list[str] = []


def surroundings() -> dict[str, Any]:
    """Report what a job finds of its process."""
    mask = os.umask(0o077)
    os.umask(mask)
    return {
        "pid": os.getpid(),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "umask": mask,
        "recursion": sys.getrecursionlimit(),
        "digits": sys.get_int_max_str_digits(),
        "collected": gc.isenabled(),
        "handlers": {number: str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGUSR1)},
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "level": logging.getLogger().level,
        "disabled": logging.root.manager.disable,
        "log handlers": [type(handler).__name__ for handler in logging.getLogger().handlers],
        "filters": [str(entry) for entry in warnings.filters],
        "socket timeout": socket.getdefaulttimeout(),
        "locale": locale.setlocale(locale.LC_ALL),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }


def _variables() -> None:
    os.environ["LEFT_BEHIND"] = "yes"
    os.environ.pop("SET_BY_THE_MODULE")


def _log_handler() -> None:
    logging.getLogger().addHandler(logging.StreamHandler())


def _level() -> None:
    logging.getLogger().setLevel(3)
    logging.disable(logging.CRITICAL)


CHANGES: dict[str, Callable[[], object]] = {
    "folder": lambda: os.chdir("/"),
    "environment": _variables,
    "umask": lambda: os.umask(0o123),
    "recursion": lambda: sys.setrecursionlimit(4321),
    "digits": lambda: sys.set_int_max_str_digits(1000),
    "collected": gc.disable,
    "handlers": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}),
    "timer": lambda: signal.alarm(30),
    "path": lambda: sys.path.insert(0, "/left/behind"),
    "arguments": lambda: sys.argv.append("left behind"),
    "level": _level,
    "log handlers": _log_handler,
    "filters": lambda: warnings.simplefilter("error"),
    "socket timeout": lambda: socket.setdefaulttimeout(1.5),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C"),
    "files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
}


def change(what: str) -> dict[str, Any]:
    """Make a change, and report what is then."""
    CHANGES[what]()
    return surroundings()


async def change_async(what: str) -> dict[str, Any]:
    """Do so in an event loop."""
    await anyio.sleep(0)
    return change(what)


def remember(what: str) -> list[str]:
    """Keep something in a module, and return all that is kept."""
    kept.append(what)
    return kept


def lose_the_folder(back: bool) -> int:
    """Remove the folder of the process, from within or from a new one; return the id of the process."""
    before = os.getcwd()
    os.chdir(tempfile.mkdtemp())
    if not back:
        os.chdir(before)
        shutil.rmtree(before)
    else:
        os.rmdir(os.getcwd())
    return os.getpid()


def lower_a_limit() -> int:
    """Lower a limit, which an ordinary user cannot raise again; return the id of the process."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")  # as for that user, also where tests run as root

    resource.setrlimit = refuse
    return os.getpid()
