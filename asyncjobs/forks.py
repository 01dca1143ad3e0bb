"""Count forks of this process: a child must not use the connections that it inherits.

Forks are counted as they happen, because comparing process ids would take a system call at every use.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, NoReturn


class _Forks:
    count = 0

    @classmethod
    def happened(cls) -> None:
        cls.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Forks.happened)


def fork_count() -> int:
    """Return the number of forks between the original process and this one; a child has a higher one."""
    return _Forks.count


def end_child(error: BaseException | None) -> NoReturn:
    """Exit this forked child as if its program had returned or raised ``error``, without the parent's clean-up.

    A child of ``os.fork()`` in a job's body has the parent's stack below it, but none of the threads and tasks that
    wait there for the body.
    """
    code = 0
    try:
        if isinstance(error, SystemExit):
            code = _exit_code(error.code)
        elif error is not None:
            code = 1
            traceback.print_exception(error)
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                _flush(stream)
        finally:
            os._exit(code)


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (ValueError, OSError, AttributeError):  # closed, a pipe without a reader, or taken away by the body
        pass
