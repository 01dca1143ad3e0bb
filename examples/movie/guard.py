"""`python guard.py LIFE PROGRAM ARGUMENTS…`: run a program for as long as the process that wants its work is there.

LIFE is the reading end of a pipe whose other end that process keeps. When it is gone, even by SIGKILL, the pipe ends
and the program is killed; on Linux, the program is also killed when this guard is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def _tied_to_the_guard() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes
    import signal

    set_option = ctypes.CDLL(None, use_errno=True).prctl  # found before the fork: nothing is loaded in the child

    def tie() -> None:
        set_option(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)

    return tie


def main(life: int, command: list[str]) -> int:
    """Run a program to its end, or to the end of the process that wants it; return its exit code."""
    os.set_inheritable(life, False)
    child = subprocess.Popen(command, preexec_fn=_tied_to_the_guard())

    def watch() -> None:
        while os.read(life, 1):
            pass
        child.kill()

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    status = main(int(sys.argv[1]), sys.argv[2:])
    os._exit(status)  # the thread that watches is not waited for
