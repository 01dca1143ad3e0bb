"""From what the user names to a backend; the only module that knows them all, each imported when it is wanted."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TypeGuard

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import is_a
from asyncjobs.clock import Clock
from asyncjobs.config import BackendConfig, BackendType, MemoryConfig, SQLiteConfig
from asyncjobs.exceptions import ConfigurationError, nearest


def make_backend(
    backend: BackendType | str | os.PathLike[str] | BackendConfig | JobBackend,
    config: BackendConfig | None,
    clock: Clock,
) -> tuple[JobBackend, BackendConfig]:
    """The store that is meant, not opened yet, and its settings.

    :raises ConfigurationError: an unknown kind, or settings of another kind.
    """
    if is_a(backend, JobBackend):
        if config is not None:
            raise ConfigurationError(
                "config", config, problem="config= has no meaning beside a backend object", hint="configure the object"
            )
        return backend, getattr(backend, "config", None) or BackendConfig()
    if is_path(backend):
        if config is not None:
            raise ConfigurationError(
                "config", config, problem="a path says all", hint="put it into the settings: SQLiteConfig(db_path=…)"
            )
        backend = SQLiteConfig(db_path=backend)
    if is_a(backend, BackendConfig):
        if config is not None:
            raise ConfigurationError("config", config, problem="the settings are given twice", hint="drop config=")
        config = backend
    else:
        config = _config_for(backend, config)
    if is_a(config, SQLiteConfig):
        from asyncjobs.backends.sqlite.backend import SQLiteBackend

        return SQLiteBackend(config, clock=clock), config
    if is_a(config, MemoryConfig):
        from asyncjobs.backends.memory import MemoryBackend

        return MemoryBackend(config, clock=clock), config
    raise ConfigurationError("backend", config, allowed="a BackendType, SQLiteConfig, MemoryConfig or a JobBackend")


def is_path(backend: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a file is meant: a ``Path``, or a text with a slash or a suffix. Any other text names a backend."""
    if is_a(backend, str):
        return "/" in backend or os.sep in backend or bool(PurePath(backend).suffix)
    return hasattr(type(backend), "__fspath__")


def _config_for(kind: object, config: BackendConfig | None) -> BackendConfig:
    names = [str(known) for known in BackendType]
    if not is_a(kind, str) or kind not in names:
        near = nearest(kind, names) if is_a(kind, str) else None
        hint = f"did you mean {near!r}?" if near else None
        if is_a(kind, str) and kind and not near:
            hint = f"a path has a slash or a suffix: './{kind}' or '{kind}.db'"
        allowed = " or ".join(map(repr, names))
        raise ConfigurationError("backend", kind, allowed=allowed, hint=hint)
    wanted = {BackendType.SQLITE: SQLiteConfig, BackendType.MEMORY: MemoryConfig}[BackendType(kind)]
    if config is None:
        return wanted()
    if not is_a(config, wanted):
        raise ConfigurationError("config", config, allowed=f"a {wanted.__name__} for the backend {kind!r}")
    return config
