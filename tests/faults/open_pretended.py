"""Open a file as a version of the package with a newer schema would. Arguments: file. Says ``ready``, waits for a line,
opens it, says ``opened`` and the version that the file has then."""

from __future__ import annotations

import asyncio
import sqlite3
import sys

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite import schema
from tests.faults.bodies import tell


def pretend() -> None:
    """The next schema version: a table more."""
    schema.MIGRATIONS[schema.VERSION] = "CREATE TABLE novelty(n INTEGER PRIMARY KEY);"
    schema.VERSION += 1


async def main(path: str) -> None:
    async with SQLiteBackend(SQLiteConfig(db_path=path)):
        tell("opened", sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0])


if __name__ == "__main__":
    pretend()
    tell("ready")
    sys.stdin.readline()
    asyncio.run(main(sys.argv[1]))
