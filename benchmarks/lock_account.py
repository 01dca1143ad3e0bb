"""What a process pays for the write lock of its file: how long it has it, and how long it waits for others."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from msgspec import Struct

from asyncjobs.backends.sqlite import commit as module
from asyncjobs.backends.sqlite import writer


class LockAccount(Struct):
    """``held``: seconds from the beginning of a transaction that was committed to its end; ``waited``: from the first
    try that found the file locked to the beginning of the one that did not; ``refused``: the tries that did."""

    commits: int = 0
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
        if since is not None:
            account.waited += began - since
            since = None
        account.commits += 1
        account.held += time.perf_counter() - began
        return committed

    writer.commit = counted
    return account
