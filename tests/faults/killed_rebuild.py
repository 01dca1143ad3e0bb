"""Rebuild a file, and be killed at a check of whether to stop. Arguments: file, at which of them."""

from __future__ import annotations

import os
import signal
import sys
import threading

from asyncjobs import SQLiteConfig
from asyncjobs.backends.sqlite import vacuum


class Killing(threading.Event):
    """Is never set, and ends its process when it is asked for the last time."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def is_set(self) -> bool:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return False


if __name__ == "__main__":
    vacuum._EVERY = 100
    vacuum.rebuild(SQLiteConfig(db_path=sys.argv[1]), 60, Killing(int(sys.argv[2])))
    print("rebuilt", flush=True)
