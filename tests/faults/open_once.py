"""Open a file with a processor, and say what came of it: ``opened``, or the error's code and first line.

Not as root: once everything is imported (which others may not be allowed to read), it becomes nobody.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from asyncjobs import JobProcessor, SQLiteConfig
from asyncjobs.exceptions import JobProcessorError
from tests.faults.bodies import tell


async def opened(path: Path) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False):
        pass


async def main(path: Path) -> None:
    try:
        await opened(path)
        tell("opened")
    except JobProcessorError as error:
        tell(f"{error.code}:", error.args[0])


def become_nobody() -> None:
    """Much is imported only when a file is opened, and how much depends on the version of Python: open one first."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(opened(Path(folder) / "rehearsal.db"))
    os.setgid(65534)
    os.setuid(65534)


if __name__ == "__main__":
    if os.geteuid() == 0:
        become_nobody()
    asyncio.run(main(Path(sys.argv[1])))
