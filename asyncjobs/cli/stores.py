"""Choose the store that a command works on: that of the settings, or the application's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.select import make_backend
from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.clock import SystemClock
from asyncjobs.config import BackendConfig, BackendType, SQLiteConfig
from asyncjobs.settings import Settings

if TYPE_CHECKING:
    from asyncjobs.runtime.engine import Engine


@dataclass(frozen=True)
class ChosenStore:
    """The store that a command works on.

    :param target: the settings of the store, or the application's own object.
    :param identity: distinguishes it from other stores of this user: daemons on two stores may have the same name.
    :param where: where it is: the absolute path of a file, or some words.
    """

    target: JobBackend | BackendConfig
    config: BackendConfig
    identity: str
    where: str

    @property
    def shown(self) -> str:
        """Return where it is, for people: a path relative to the working directory, if it is near."""
        return shown(self.where) if os.path.isabs(self.where) else self.where

    @property
    def file(self) -> Path | None:
        """Return the path of the database; None for a store that is not a file."""
        return self.config.file if isinstance(self.config, SQLiteConfig) else None

    @property
    def missing(self) -> bool:
        """Return whether there is nothing yet. Of a store that is not a file, this shows when it is opened."""
        return self.file is not None and not self.file.exists()

    def backend(self) -> JobBackend:
        """Return the store itself, not opened."""
        backend, _ = make_backend(self.target, None, SystemClock())
        return backend


def choose_store(settings: Settings, application: Callable[[], Engine]) -> ChosenStore:
    """Return the store of the settings if they name one, or else the application's own.

    :param application: imports the application, and returns its engine.
    :raises Failure: no other process can reach the store.
    """
    named = settings.backend is BackendType.SQS or "sqlite.db_path" in settings.origins
    if settings.app is None or named:
        config = settings.backend_config
        if config.identity is None:
            raise _in_memory()
        return ChosenStore(config, config, config.identity, config.where)
    engine = application()
    if "shared" not in engine.backend.capabilities:
        raise _in_memory()
    config = engine.settings.backend_config
    if config.identity is None:  # an application's own kind of store, which does not declare its identity
        return ChosenStore(engine.backend, config, f"{Path.cwd()} {settings.app}", f"the store of {settings.app}")
    return ChosenStore(engine.backend, config, config.identity, config.where)


def _in_memory() -> Failure:
    return Failure(
        "an in-memory store cannot be used from the command line", exit_code=USAGE, hint="set backend = 'sqlite'"
    )


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path relative to the working directory, if it is near."""
    try:
        relative = os.path.relpath(path)
    except ValueError:
        return str(path)
    return str(path) if relative.startswith("../..") else f"./{relative}" if not relative.startswith("..") else relative
