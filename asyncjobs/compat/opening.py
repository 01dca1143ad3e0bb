"""Reach the store behind a tracker without the loop of the caller: by a second opening, for the time of one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import anyio

from asyncjobs.compat.file import RecordFile
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.processor import JobProcessor, get_engine
from asyncjobs.runtime.engine import Engine
from asyncjobs.sync import SyncJobs

T = TypeVar("T")


class StoreOpening:
    """Opens the store of a tracker's file, without a daemon, whenever a call needs it.

    :param processor: the processor of the program, which must use the same file; None without one.
    :raises ConfigurationError: it keeps its jobs elsewhere.
    """

    def __init__(self, file: RecordFile, processor: JobProcessor | SyncJobs | None) -> None:
        self._engine: Engine | None = None if processor is None else _engine_of(processor)
        self._config = SQLiteConfig(db_path=file.path)
        if self._engine is not None:
            config = self._engine.settings.backend_config
            self._config = _checked_config(config, file)
        self._config = dataclasses.replace(self._config, readers=1)

    @property
    def has_processor(self) -> bool:
        """Return whether the tracker was given a processor."""
        return self._engine is not None

    def check(self) -> None:
        """Make sure that the processor of the tracker is there.

        :raises BackendClosedError: it was left, is not entered yet, or belongs to the parent of this process.
        """
        if self._engine is not None:
            self._engine.check_entered()

    def allow(self, functions: Iterable[tuple[str, Callable[..., Any]]]) -> None:
        """Allow the processor of the program to run functions that the tracker submits."""
        if self._engine is not None:
            for name, function in functions:
                self._engine.functions.add(name, function)

    def call(self, function: Callable[[Engine], Awaitable[T]], *, runs: bool = False) -> T:
        """Call an async function with the engine of a second opening, on a loop in a thread of its own.

        :param runs: whether it may run jobs, while no worker is alive.
        """
        options: dict[str, Any] = {"enable_daemon": False}
        if runs:
            options["fallback"] = "sync"
        if self._engine is not None:
            options |= {"functions": self._engine.functions.registered.values(), "daemon": self._engine.settings.worker}
        with SyncJobs(self._config, **options) as jobs:

            async def run() -> T:
                return await function(get_engine(jobs.processor))

            return jobs.call(run)

    def check_may_run(self) -> bool:
        """Return whether jobs may be run in the caller: a running loop would stand still until they have ended.

        With a processor they may: it is how the program has chosen to run them.
        """
        return self._engine is not None or not _is_on_loop()

    def refusal_to_run(self, what: str) -> ConfigurationError:
        """Return the error for a job that would be run in a caller that has a running loop."""
        return ConfigurationError(
            "processor",
            None,
            problem=f"{what} would run here, and stop the running event loop until it has ended",
            hint="async with JobProcessor(tracker.file) as jp: JobTracker(…, processor=jp) has it run beside the loop",
        )


def _is_on_loop() -> bool:
    try:
        anyio.get_cancelled_exc_class()
    except RuntimeError:  # no library for asynchronous code runs in this thread
        return False
    return True


def _engine_of(processor: object) -> Engine:
    if isinstance(processor, SyncJobs):
        processor = processor.processor
    if not isinstance(processor, JobProcessor):
        raise ConfigurationError("processor", processor, allowed="a JobProcessor, a SyncJobs, or None")
    return get_engine(processor)


def _checked_config(config: object, file: RecordFile) -> SQLiteConfig:
    if not isinstance(config, SQLiteConfig):
        raise ConfigurationError(
            "processor",
            config,
            problem="the processor of a JobTracker must keep its jobs in a file of SQLite, beside the records",
            hint=f"JobProcessor({str(file.path)!r})",
        )
    if config.file.resolve() != file.path.resolve():
        raise ConfigurationError(
            "processor",
            str(config.file),
            problem=f"the processor keeps its jobs in {config.file}, and this JobTracker its records in {file.path}",
            hint=f"both need one file: JobProcessor({str(file.path)!r}), or JobTracker({str(config.file)!r}, …)",
        )
    return config
