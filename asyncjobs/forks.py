"""Count forks of this process: a child must not use the connections that it inherits.

Counted when it happens, because asking for the process id at every call is a system call at every call.
"""

from __future__ import annotations

import os


class _Forks:
    count = 0

    @classmethod
    def happened(cls) -> None:
        cls.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Forks.happened)


def fork_count() -> int:
    """Return the number of forks between the first process of this line and this one; it differs in a child."""
    return _Forks.count
