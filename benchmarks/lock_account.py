"""What a process pays for the write lock of its file: how long it has it, and how long it waits for others."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

from msgspec import Struct, field

from asyncjobs.backends.sqlite import commit as module
from asyncjobs.backends.sqlite import writer


class LockAccount(Struct):
    """``held``: seconds from the beginning of a transaction that was committed to its end; ``waited``: from the first
    try that found the file locked to the beginning of the one that did not; ``refused``: the tries that did.

    ``on_loop``: the seconds of each commit, and of each try, that the main thread made, where the event loop is.
    """

    commits: int = 0
    on_loop: list[float] = field(default_factory=list[float])
    held: float = 0.0
    refused: int = 0
    waited: float = 0.0


def keep_account() -> LockAccount:
    """Count from now on. For a process with one writer, which is told of each of its transactions in turn."""
    account = LockAccount()
    since: float | None = None

    def counted(*arguments: Any, **named: Any) -> module.Committed:
        nonlocal since
        began = time.perf_counter()
        try:
            committed = module.commit(*arguments, **named)
        except sqlite3.OperationalError:
            account.refused += 1
            since = began if since is None else since
            raise
        finally:
            if threading.current_thread() is threading.main_thread():
                account.on_loop.append(time.perf_counter() - began)
        if since is not None:
            account.waited += began - since
            since = None
        account.commits += 1
        account.held += time.perf_counter() - began
        return committed

    writer.commit = counted
    return account
