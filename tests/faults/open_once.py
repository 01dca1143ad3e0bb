"""Open a file with a processor, and say what came of it: ``opened``, or the error's code and first line.

Not as root: once everything is imported (which others may not be allowed to), it becomes nobody.
"""

from __future__ import annotations

import asyncio
import os
import sys

from asyncjobs import JobProcessor, SQLiteConfig
from asyncjobs.backends.sqlite import backend
from asyncjobs.exceptions import JobProcessorError
from tests.faults.bodies import tell


async def main(path: str) -> None:
    try:
        async with JobProcessor(SQLiteConfig(path=path), enable_daemon=False):
            tell("opened")
    except JobProcessorError as error:
        tell(f"{error.code}:", error.args[0])


assert backend  # imported only when it is used, otherwise

if __name__ == "__main__":
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    asyncio.run(main(sys.argv[1]))
