"""The program's own script, which a child process loads a second time for a job of that script.

Loading it runs it. What must not happen again stands under ``if __name__ == "__main__":``; a script without that would
start the whole program in every child, and that one again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from io import open_code
from types import ModuleType
from typing import Any

from asyncjobs.core.codec.names import main_name
from asyncjobs.core.mains import SECOND_MAIN
from asyncjobs.exceptions import ConfigurationError

_MEND = 'put what starts the program under: if __name__ == "__main__":'


class _Loading:
    """What this process loads for a job now. Of the whole process: a module may start threads that do the rest."""

    module: str | None = None


@contextmanager
def loading(module: str) -> Generator[None, None, None]:
    """Around the import of the module of a job's function, in a child process."""
    _Loading.module = module
    try:
        yield
    finally:
        _Loading.module = None


def refuse_while_loading() -> None:
    """Called where a processor is entered.

    :raises ConfigurationError: a module starts the program while it is only loaded, for a job in a child process.
    """
    if _Loading.module is not None:
        raise _unguarded(_Loading.module)


def refuse_without_guard(function: str) -> None:
    """Called when a job of this stored function is submitted to run in a process of its own.

    :raises ConfigurationError: it is the main script's, which has no guard at all.
    """
    module = function.rpartition(":")[0]
    file: Any = getattr(sys.modules.get("__main__"), "__file__", None)
    if module == main_name() and isinstance(file, str) and not _guarded(file):
        raise _unguarded(module)


def load_main(path: str) -> None:
    """Run the script under another name than ``__main__``, and put it where ``__main__`` is looked for."""
    module = ModuleType(SECOND_MAIN)
    module.__file__ = path
    was = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules[SECOND_MAIN] = module
    try:
        with open_code(path) as file:
            code = compile(file.read(), path, "exec")
        exec(code, module.__dict__)
    except BaseException:
        sys.modules["__main__"] = was
        del sys.modules[SECOND_MAIN]
        raise


@lru_cache(maxsize=16)
def _guarded(file: str) -> bool:
    """Whether the guard may be there: a script that starts this program without the word does so when it is loaded."""
    try:
        with open(file, "rb") as source:
            return b"__main__" in source.read()
    except OSError:
        return True  # in a zip file, or gone: the child will see


def _unguarded(module: str) -> ConfigurationError:
    name = os.path.basename(module)
    return ConfigurationError(
        "isolation",
        "process",
        problem=f"{name} starts the program whenever it is loaded, and a job of it in a process of its own loads it",
        hint=_MEND,
    )
