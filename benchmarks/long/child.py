"""``python -m benchmarks.long.child PART FOLDER SIZE``: one part, alone in this process, while its input is open."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from msgspec import json

from benchmarks.long.parts import PROGRAMS
from benchmarks.long.work import Part, Size

INTERRUPTED = 130


def main(name: str, folder: str, size: str) -> None:
    """Run it; each line of output is a figure or a note, as JSON."""
    logging.disable(logging.WARNING)  # that jobs are left unfinished is the point
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    PROGRAMS[name](Part(name, Path(folder), json.decode(size, type=Size)))


def _leave_with_parent() -> None:
    """Whoever started this closes its input to end it, and so does the system, if it is killed."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
