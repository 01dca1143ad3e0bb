"""Name the command that starts a daemon on a store, for messages of programs that use the store."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from asyncjobs.backends.base import JobBackend
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.codec.names import module_of


def start_command(backend: JobBackend, functions: Iterable[str]) -> str | None:
    """Return the command that runs jobs of these stored functions, or None for a store that no other process reaches.

    A daemon runs the functions of a script by the name of its file.
    """
    config = getattr(backend, "config", None)
    if not isinstance(config, SQLiteConfig):
        return None
    modules: dict[str, None] = {}
    for function in functions:
        module = module_of(function)
        modules[Path(module).stem if module.endswith(".py") else module] = None
    allowed = [word for module in modules if module for word in ("--allow", module)]
    return shlex.join(["asyncjobs", "--db", str(config.file), "daemon", "start", *allowed])
