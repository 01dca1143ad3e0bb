"""Load the program's own script a second time, in a child process that runs a job of that script.

Loading it runs it. Code that must not run twice belongs under ``if __name__ == "__main__":``; otherwise every child
would start the whole program again, with children of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from io import open_code
from types import FunctionType, ModuleType
from typing import Any

from asyncjobs.core.codec import describe_callable
from asyncjobs.core.codec.names import main_name, module_of
from asyncjobs.core.mains import MAIN, SECOND_MAIN
from asyncjobs.exceptions import ConfigurationError

_MEND = 'put what starts the program under: if __name__ == "__main__":'


class _Loading:
    """The module that this process is loading for a job. Process-wide, since the module may start threads."""

    module: str | None = None


@contextmanager
def loading(module: str) -> Generator[None, None, None]:
    """Surround the import of the module of a job's function, in a child process."""
    _Loading.module = module
    try:
        yield
    finally:
        _Loading.module = None


def refuse_while_loading() -> None:
    """Refuse to enter a processor while a child process loads the script.

    :raises ConfigurationError: a module starts the program while it is only loaded, for a job in a child process.
    """
    if _Loading.module is not None:
        raise _unguarded(_Loading.module)


def refuse_without_guard(function: str) -> None:
    """Refuse a job with ``isolation="process"`` if loading its script would run the program again.

    :raises ConfigurationError: it is the main script's, which has no guard at all.
    """
    module = module_of(function)
    file: Any = getattr(sys.modules.get("__main__"), "__file__", None)
    if module == main_name() and isinstance(file, str) and not _guarded(file):
        raise _unguarded(module)


def name_for_child(name: str, function: Callable[..., Any]) -> str:
    """Return the name by which a child process finds a function that is stored as ``name``.

    The name differs for a function of a script that does not exist on this machine.
    """
    module = module_of(name)
    if not os.path.isabs(module) or os.path.exists(module):
        return name
    return describe_callable(function).name


def load_main(path: str) -> None:
    """Run the script under another name than ``__main__``, and register it as ``__main__``.

    Once it is loaded it is ``__main__``, and so is what it has defined: pickles, and the pools of ``multiprocessing``,
    then name it as they do in the process whose script it is.
    """
    module = ModuleType(SECOND_MAIN)
    module.__file__ = path
    was = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules[SECOND_MAIN] = module
    try:
        with open_code(path) as file:
            code = compile(file.read(), path, "exec")
        exec(code, module.__dict__)
        module.__dict__["__name__"] = MAIN
        _belongs_to_main(module.__dict__, set())
    except BaseException:
        sys.modules["__main__"] = was
        del sys.modules[SECOND_MAIN]
        raise


def _belongs_to_main(namespace: Mapping[str, Any], seen: set[int]) -> None:
    for value in list(namespace.values()):
        if not isinstance(value, (type, FunctionType)) or value.__module__ != SECOND_MAIN or id(value) in seen:
            continue
        seen.add(id(value))
        try:
            value.__module__ = MAIN
        except (AttributeError, TypeError):  # a metaclass may forbid it
            continue
        if isinstance(value, type):
            _belongs_to_main(vars(value), seen)


@lru_cache(maxsize=16)
def _guarded(file: str) -> bool:
    """Return whether a script may have the guard: without that word, loading the script starts the program."""
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
        problem=f"{name} starts the program whenever it is loaded, and a job in a child process loads it",
        hint=_MEND,
    )
