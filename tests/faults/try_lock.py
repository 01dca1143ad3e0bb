"""Another process that tries to take the write lock of a file, at once and after each line: ``lock busy|free``."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

from tests.faults.bodies import tell


def attempt(path: str) -> str:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return "busy"
        connection.execute("ROLLBACK")
        return "free"


if __name__ == "__main__":
    tell("lock", attempt(sys.argv[1]))
    for _ in sys.stdin:
        tell("lock", attempt(sys.argv[1]))
