"""Name the module of the main script, which has a different name in each kind of process."""

from __future__ import annotations

MAIN = "__main__"
SECOND_MAIN = "__asyncjobs_main__"
"""The name under which a child process loads its parent's script, for a job of that script."""
# A spawned child of multiprocessing calls it "__mp_main__".
MAIN_NAMES = frozenset({MAIN, "__mp_main__", SECOND_MAIN})
APP_MARK = "__asyncjobs_app__"
"""The attribute that the command line sets on the module of ``--app``: it may stand for a script of that file name."""
NOT_BY_SCRIPT = (
    "put it into a module that the server imports and registers: JobProcessor(functions=[…]); or run it in a separate "
    "daemon with --app or --allow"
)
"""The hint for a function of a script, which a server does not know."""


def is_of_a_script(name: str) -> bool:
    """Return whether a stored name is that of a function of a script."""
    module = name.rpartition(":")[0]
    return module in MAIN_NAMES or module.endswith(".py")
