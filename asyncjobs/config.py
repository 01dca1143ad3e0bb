"""Define the settings: frozen objects that are checked when they are made."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from asyncjobs.checks import is_a, listed, reading, refuse_unknown
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.spellings import nearest

MEBIBYTE = 1 << 20


class BackendType(StrEnum):
    """The kinds of stores. ``MEMORY`` keeps nothing after the process; it is for tests."""

    SQLITE = "sqlite"
    MEMORY = "memory"


class Checked:
    """Refuses unknown settings, naming the nearest known one, before ``__init__`` could raise a bare TypeError."""

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """Check the names of the settings."""
        known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type] - every subclass is a dataclass
        refuse_unknown(cls.__name__, settings, known)
        if args:
            raise ConfigurationError(
                cls.__name__,
                args[0],
                problem=f"{cls.__name__} takes its settings by name",
                hint=f"{cls.__name__}({next(iter(cls.__annotations__), known[0])}={args[0]!r})",
            )
        return super().__new__(cls)

    def _number(
        self, name: str, low: float, high: float = math.inf, *, whole: bool = False, above: bool = False
    ) -> None:
        value = getattr(self, name)
        kind = "a whole number" if whole else "a number"
        allowed = f"{kind} {'above' if above else 'from'} {low:g}" + ("" if high == math.inf else f" to {high:g}")
        numeric = issubclass(type(value), int if whole else (int, float)) and not is_a(value, bool)
        if not numeric or not low <= value <= high or (above and value == low) or value == math.inf:
            raise ConfigurationError(f"{type(self).__name__}.{name}", value, allowed=allowed)


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


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(BackendConfig):
    """Settings of the store in memory: none of its own."""


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
    :param max_size: bytes that the file may grow to; then ``BackendError``. Default None: what the disk holds.
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


@dataclass(frozen=True, kw_only=True)
class DaemonConfig(Checked):
    """Settings of the loop that claims and runs jobs, embedded in a processor or a process of its own.

    :param num_workers: attempts that run at the same time, async ones and threads together. Default 32.
    :param queues: names of the queues that it serves; None (default) means every queue.
    :param allowed_modules: modules (or packages, with all that is in them) whose functions it may import and run.
        None (default): what this process submitted itself or registered, and functions of modules of the program that
        are imported already.
    :param preload: modules that are imported before the first job is claimed, and in child processes before the first
        one they run: libraries whose import takes seconds. The start fails if one cannot be imported. Default: none.
    :param shutdown_timeout: seconds that running jobs get when it stops. Default 30.
    :param cancel_grace: seconds that an ``async def`` body may clean up (``finally``, ``__aexit__``) once it is
        cancelled, because it was asked to, took too long, or ``shutdown_timeout`` is over; then every await of it is
        cancelled. Not on trio. Default 5.
    :param poll_interval: longest time in seconds between looks for changes by other processes. Default 0.25.
    :param lease: seconds without a heartbeat after which its attempts are given to others. Default: that of the store,
        15 for SQLite and memory; None until a processor or daemon is made for it.
    :param heartbeat: seconds between heartbeats; at most a third of the lease. Default 5, or that third
        if it is less.
    :param unrunnable_after: seconds after which a ready job fails if every live worker on its queue refuses its
        function; ``why()`` reports it before. Default None: never; ``asyncjobs daemon start``: 10 minutes.
    :param name: name of this worker for people. Default: host name and process id.
    :param capture_logging: lowest level of the records of the ``logging`` module that become ``log`` events of the job
        that emits them: a name, or its number. None: none do. Loggers keep their own levels: without one,
        Python makes no record below WARNING. Default ``"INFO"``.
    :param capture_print: lines that a job writes to ``sys.stdout`` and ``sys.stderr`` become ``log`` events, too, and
        still go where they went. Default False. What a body in a process of its own prints (``isolation="process"``)
        is always both.
    :param retention: seconds after which finished jobs are removed, with their results and events, once all jobs that
        they are connected with have been finished for as long. None (default) keeps everything.
    """

    num_workers: int = 32
    queues: tuple[str, ...] | None = None
    allowed_modules: tuple[str, ...] | None = None
    preload: tuple[str, ...] = ()
    shutdown_timeout: float = 30.0
    cancel_grace: float = 5.0
    poll_interval: float = 0.25
    lease: float = cast("float", None)  # set by ``for_store``
    heartbeat: float = cast("float", None)  # set below, when the lease is known
    name: str | None = None
    capture_logging: str | int | None = "INFO"
    capture_print: bool = False
    retention: float | None = None
    unrunnable_after: float | None = None

    def __post_init__(self) -> None:
        if self.unrunnable_after is not None:
            self._number("unrunnable_after", 0, above=True)
        self._number("num_workers", 1, 10_000, whole=True)
        self._number("shutdown_timeout", 0)
        self._number("cancel_grace", 0)
        self._number("poll_interval", 0, 60, above=True)
        self._check_times()
        if self.retention is not None:
            self._number("retention", 0, 100 * 365 * 86_400)
        for name in ("queues", "allowed_modules"):
            value: Any = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, self._names(name, value))
        object.__setattr__(self, "preload", self._modules("preload", self.preload))
        raw: object = self.capture_print
        if raw is not True and raw is not False:
            raise ConfigurationError("DaemonConfig.capture_print", raw, allowed="True or False")
        self.capture_level  # noqa: B018 - asked for here, so that a bad one is refused here

    def _check_times(self) -> None:
        lease, heartbeat = cast("float | None", self.lease), cast("float | None", self.heartbeat)
        if lease is not None:
            self._number("lease", 0, 86_400, above=True)
            if heartbeat is None:
                object.__setattr__(self, "heartbeat", min(5.0, lease / 3))
        if lease is not None or heartbeat is not None:
            longest = 86_400 if lease is None else lease
            self._number("heartbeat", 0, longest / 3 * (1 + 1e-9), above=True)  # 0.6 / 3 is below 0.2

    def for_store(self, store: BackendConfig) -> DaemonConfig:
        """Return these settings for a store, whose default for the lease counts if none is given.

        :raises ConfigurationError: the heartbeat is more than a third of that.
        """
        known = cast("float | None", self.lease) is not None
        return self if known else dataclasses.replace(self, lease=store.default_lease)

    @property
    def capture_level(self) -> int | None:
        """``capture_logging`` as a number."""
        raw: object = self.capture_logging
        levels = logging.getLevelNamesMapping()
        if is_a(raw, str) and raw.upper() in levels:
            return levels[raw.upper()]
        if raw is None or (is_a(raw, int) and not is_a(raw, bool) and raw >= 0):
            return raw
        near = nearest(raw.upper(), levels) if is_a(raw, str) else None
        raise ConfigurationError(
            "DaemonConfig.capture_logging",
            raw,
            allowed="a level of the logging module, such as 'INFO' or 20, or None",
            hint=f"did you mean {near!r}?" if near else None,
        )

    def _modules(self, name: str, value: object) -> tuple[str, ...]:
        field, allowed = f"DaemonConfig.{name}", "a tuple of names of modules, such as ('numpy', 'shop.models')"
        several = issubclass(type(value), (list, tuple))
        names = listed(field, cast("tuple[Any, ...]", value), allowed) if several else []
        if not several or not all(is_a(one, str) and all(map(str.isidentifier, str.split(one, "."))) for one in names):
            raise ConfigurationError(field, value, allowed=allowed)
        return tuple(map(str.__str__, names))

    def _names(self, name: str, value: Any) -> tuple[str, ...]:
        field, allowed = f"DaemonConfig.{name}", "a tuple of names, or None"
        several = issubclass(type(value), (list, tuple, set, frozenset))
        names = listed(field, value, allowed) if several else []
        if not names or not all(is_a(entry, str) and entry for entry in names):
            raise ConfigurationError(field, value, allowed=allowed)
        return tuple(map(str.__str__, names))  # of a ``(str, Enum)`` member its value


@dataclass(frozen=True, kw_only=True)
class LoggingConfig(Checked):
    """How the command line and the daemon log. A processor inside a program adds no handler.

    :param level: lowest level that is written: ``"debug"``, ``"info"``, ``"warning"``, ``"error"``. Default ``"info"``.
    :param format: ``"text"`` for people, ``"json"`` and ``"logfmt"`` for programs. Default ``"auto"``: text on a
        terminal, logfmt otherwise.
    :param file: also write to this file; created with mode 0600, rotated. Default None.
    :param max_bytes: size after which the file is rotated. Default 10 MiB.
    :param backups: rotated files that are kept. Default 5.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json", "logfmt"] = "auto"
    file: str | os.PathLike[str] | None = None
    max_bytes: int = 10 * MEBIBYTE
    backups: int = 5

    def __post_init__(self) -> None:
        for name, allowed in (
            ("level", ("debug", "info", "warning", "error")),
            ("format", ("auto", "text", "json", "logfmt")),
        ):
            value = getattr(self, name)
            if not is_a(value, str) or value not in allowed:
                near = nearest(value, allowed) if is_a(value, str) else None
                hint = f"did you mean {near!r}?" if near else None
                raise ConfigurationError(f"LoggingConfig.{name}", value, allowed=", ".join(allowed), hint=hint)
        self._number("max_bytes", 4096, whole=True)
        self._number("backups", 0, 1000, whole=True)
