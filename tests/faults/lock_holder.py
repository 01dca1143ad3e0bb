"""A program of somebody else that holds the write lock of a file: ``hold`` and ``let go``, line by line."""

from __future__ import annotations

import sqlite3
import sys

from tests.faults.bodies import tell


def main(path: str) -> None:
    connection: sqlite3.Connection | None = None
    for line in sys.stdin:
        if line.strip() == "hold":
            connection = sqlite3.connect(path, isolation_level=None, timeout=10)
            connection.execute("BEGIN IMMEDIATE")
            tell("held")
        elif connection is not None:
            connection.execute("ROLLBACK")
            connection.close()
            tell("free")


if __name__ == "__main__":
    main(sys.argv[1])
