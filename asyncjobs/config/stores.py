"""Define the kinds of stores, and the settings of those that need no service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Literal

from asyncjobs.checks import is_a, reading
from asyncjobs.config.checked import MEBIBYTE, Checked
from asyncjobs.exceptions import ConfigurationError


class BackendType(StrEnum):
    """The kinds of stores. ``SQS`` spreads jobs over machines. ``MEMORY`` keeps nothing after the process; it is for
    tests."""

    SQLITE = "sqlite"
    SQS = "sqs"
    MEMORY = "memory"


@dataclass(frozen=True, kw_only=True)
class BackendConfig(Checked):
    """Settings of every store.

    :param max_value_size: bytes that one call's arguments, one result, or one event may take, encoded.
        Default 64 MiB. Larger arguments are refused at submit; a larger result fails its job.
    :param tries: times that a submission is tried while the store fails temporarily.
        Default 5, within about two seconds. (A locked file is waited for apart from that.)
    """

    max_value_size: int = 64 * MEBIBYTE
    tries: int = 5
    default_lease: ClassVar[float] = 15.0
    """``DaemonConfig.lease`` for a store of this kind, unless it is given."""

    def __post_init__(self) -> None:
        self._number("max_value_size", 1024, 1 << 30, whole=True)
        self._number("tries", 1, 100, whole=True)

    @property
    def identity(self) -> str | None:
        """Return what distinguishes the store from others of this user, or None if only one process can reach it."""
        return None

    @property
    def where(self) -> str:
        """Return where the store is, for people."""
        return "a store of one process"


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(BackendConfig):
    """Settings of the store in memory, which has no settings beyond those of every store."""


@dataclass(frozen=True, kw_only=True)
class SQLiteConfig(BackendConfig):
    """Settings of the SQLite store.

    :param db_path: the database file; made with mode 0600 when it is missing, its folder must exist.
        Default ``asyncjobs.db`` in the working directory.
    :param synchronous: ``"NORMAL"`` (default): an acknowledged write survives a crash of any process; the newest may
        be lost when the power fails. ``"FULL"``: also that, for one fsync a commit.
    :param busy_timeout: seconds to try while other processes lock the file, before ``BackendConnectionError``.
        Default 30.
    :param cache_size: MiB of page cache of the writing connection. Default 64.
    :param mmap_size: MiB of the file that are mapped for reading. Default 256.
    :param readers: reading connections, each with a thread. Default 2.
    :param checkpoint_size: bytes of write-ahead log after which it is written back. Default 4 MiB.
    :param max_size: largest size of the file in bytes, at least 262144; beyond it, ``BackendError``. Default None: no
        limit.
    :param allow_network_filesystem: open a file on NFS, SMB and the like, whose locks SQLite cannot trust.
        Default False.
    """

    db_path: str | os.PathLike[str] = "asyncjobs.db"
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    busy_timeout: float = 30.0
    cache_size: int = 64
    mmap_size: int = 256
    readers: int = 2
    checkpoint_size: int = 4 * MEBIBYTE
    max_size: int | None = None
    allow_network_filesystem: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        raw: object = self.db_path
        with reading("SQLiteConfig.db_path", raw):
            path: object = os.fspath(self.db_path) if is_a(raw, str) or hasattr(type(raw), "__fspath__") else None
        if not is_a(path, str) or not path:
            raise ConfigurationError("SQLiteConfig.db_path", raw, allowed="the path of a file")
        if "\x00" in path:
            raise ConfigurationError("SQLiteConfig.db_path", raw, allowed="a path without NUL characters")
        if path == ":memory:":
            raise ConfigurationError(
                "SQLiteConfig.db_path", raw, allowed="the path of a file", hint="use BackendType.MEMORY in tests"
            )
        wanted: object = self.synchronous
        if not is_a(wanted, str) or wanted not in ("NORMAL", "FULL"):
            raise ConfigurationError("SQLiteConfig.synchronous", wanted, allowed="'NORMAL' or 'FULL'")
        self._number("busy_timeout", 0, 600)
        self._number("cache_size", 1, 65_536, whole=True)
        self._number("mmap_size", 0, 1 << 20, whole=True)
        self._number("readers", 1, 64, whole=True)
        self._number("checkpoint_size", 65_536, whole=True)
        if self.max_size is not None:
            self._number("max_size", 262_144, whole=True)

    @property
    def file(self) -> Path:
        """The absolute path of the database."""
        return Path(os.path.abspath(os.path.expanduser(os.fspath(self.db_path))))

    @property
    def identity(self) -> str:
        """Return the absolute path of the database."""
        return str(self.file)

    @property
    def where(self) -> str:
        """Return the absolute path of the database."""
        return str(self.file)
