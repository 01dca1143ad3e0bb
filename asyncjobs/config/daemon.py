"""Define the settings of what runs jobs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, cast

from asyncjobs.checks import is_a, listed
from asyncjobs.config.checked import Checked
from asyncjobs.config.stores import BackendConfig
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.spellings import nearest


@dataclass(frozen=True, kw_only=True)
class DaemonConfig(Checked):
    """Settings of the loop that claims and runs jobs, embedded in a processor or in a separate process.

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
        15 for SQLite and memory, 45 for SQS; None until a processor or daemon is made for it.
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
        return self if known else replace(self, lease=store.default_lease)

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
