"""Name the command that starts a daemon on a store, for messages of programs that use the store."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from asyncjobs.backends.base import JobBackend
from asyncjobs.config import SQLiteConfig, SQSConfig
from asyncjobs.core.codec.names import module_of


def start_command(backend: JobBackend, functions: Iterable[str]) -> str | None:
    """Return the command that runs jobs of these stored functions, or None for a store that no other process reaches.

    A daemon runs the functions of a script by the name of its file.
    """
    program = _program(getattr(backend, "config", None))
    if program is None:
        return None
    modules: dict[str, None] = {}
    for function in functions:
        module = module_of(function)
        modules[Path(module).stem if module.endswith(".py") else module] = None
    allowed = [word for module in modules if module for word in ("--allow", module)]
    return shlex.join([*program, "daemon", "start", *allowed])


def _program(config: object) -> list[str] | None:
    """Return the words of a command line that name the program, and the store."""
    match config:
        case SQLiteConfig():
            return ["asyncjobs", "--db", str(config.file)]
        case SQSConfig():
            return ["env", "ASYNCJOBS_BACKEND=sqs", *_variables(config), "asyncjobs"]
        case _:
            return None


def _variables(config: SQSConfig) -> list[str]:
    """Return the settings that are not the default, as variables of the environment."""
    default = SQSConfig(bucket=config.bucket)  # which determines another default
    changed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name == "bucket" or getattr(config, field.name) != getattr(default, field.name)
    }
    return [f"ASYNCJOBS_SQS_{name.upper()}={_text(value)}" for name, value in changed.items() if value is not None]


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={queue}" for name, queue in cast("Mapping[str, str]", value).items())
    return str(value)
