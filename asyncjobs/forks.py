"""Whether this process was forked: what a child inherits of its parent's connections must not be used.

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
    """How many forks lie between the first process of this line and this one. It differs in a child."""
    return _Forks.count
