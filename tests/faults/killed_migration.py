"""Open a file, and be killed while it is migrated. Arguments: file, after how many statements of the migration.

``0`` is before the first of them; as many as there are is before the commit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from functools import partial
from typing import Any

from asyncjobs import SQLiteBackend, SQLiteConfig


class Killing(sqlite3.Connection):
    """A connection that ends its process after a number of statements of the migration, or before they count."""

    left = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        changes = sql.split()[0] in ("CREATE", "ALTER", "DROP", "UPDATE") or sql.startswith("PRAGMA user_version =")
        if (changes or sql == "COMMIT") and not Killing.left:
            os.kill(os.getpid(), signal.SIGKILL)
        Killing.left -= changes
        return super().execute(sql, *parameters)


async def main(path: str) -> None:
    async with SQLiteBackend(SQLiteConfig(db_path=path)):
        print("opened", flush=True)


if __name__ == "__main__":
    Killing.left = int(sys.argv[2])
    sqlite3.connect = partial(sqlite3.connect, factory=Killing)
    asyncio.run(main(sys.argv[1]))
