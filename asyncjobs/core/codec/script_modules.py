"""Find the loaded module of a script: a process that imported ``shop`` has what ``python shop.py`` stored."""

from __future__ import annotations

import os.path
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any, cast

from asyncjobs.core.mains import APP_MARK, MAIN

real_path = lru_cache(maxsize=64)(os.path.realpath)
_exists = lru_cache(maxsize=256)(os.path.exists)

_names: dict[str, str] = {}
"""The name under which the module of a script is loaded here, by the script's path."""
_missing: dict[str, int] = {}
"""How many modules were loaded when none of them was a script, by its path: searching all modules is slow."""


def script_module(path: str) -> ModuleType | None:
    """Return the loaded module of the script with this path, the main script or an imported one. Imports nothing.

    If there is no such file on this machine, the main script, or the module of ``--app``, stands for it if it has the
    same file name.
    """
    known = sys.modules.get(_names.get(path, ""))
    if known is not None:
        return known
    if _missing.get(path) == len(sys.modules):
        return None
    gone = not _exists(path)
    modules: list[tuple[str, Any]] = [(MAIN, sys.modules.get(MAIN)), *sys.modules.copy().items()]
    for name, module in modules:
        file = _module_file(module)
        if file is None or os.path.basename(file) != os.path.basename(path):
            continue
        if real_path(file) == path or (gone and (name == MAIN or APP_MARK in vars(module))):
            _names[path] = name
            return module
    if len(_missing) >= 256:
        _missing.clear()
    _missing[path] = len(sys.modules)
    return None


def _module_file(module: Any) -> str | None:
    try:
        namespace = cast("dict[str, object]", vars(module))
    except Exception:  # border: sys.modules can hold any object, even a proxy that raises on access
        return None
    file = namespace.get("__file__")
    return file if isinstance(file, str) and not file.startswith("<") else None
