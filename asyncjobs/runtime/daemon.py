"""Run the jobs of a store in this process, in the background."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import CheckedArguments, is_a
from asyncjobs.config import BackendConfig, BackendType, DaemonConfig
from asyncjobs.exceptions import BackendClosedError, ConfigurationError
from asyncjobs.models import Job
from asyncjobs.runtime.engine import Engine
from asyncjobs.runtime.inside import refuse_to_stop_inside
from asyncjobs.runtime.runner import Runner
from asyncjobs.runtime.setup import new_engine


class JobDaemon(CheckedArguments):
    """Claims and runs jobs of any process, while it is entered, or from ``start`` until ``stop``.

    ::

        async with JobDaemon(backend, num_workers=4, functions=[render]):
            async with JobProcessor(backend, enable_daemon=False) as jp:
                print(await (await jp.submit_job(render, "report")))

    A ``JobProcessor`` has its own: ``jp.daemon``.

    :param backend: the store, as for ``JobProcessor``. It is opened if it is closed, and closed again if nothing
        else has it open.
    :param config: settings. Default: those of ``DaemonConfig()``.
    :param num_workers: jobs that run at the same time; overrides ``config``.
    :param poll_interval: seconds between two checks for changes by other processes; overrides ``config``.
    :param functions: functions that this process may run.
    """

    _settings = (("config", DaemonConfig),)

    def __init__(
        self,
        backend: BackendType | str | os.PathLike[str] | BackendConfig | JobBackend,
        config: DaemonConfig | None = None,
        *,
        num_workers: int | None = None,
        poll_interval: float | None = None,
        functions: Iterable[Callable[..., Any]] = (),
    ) -> None:
        config = DaemonConfig() if config is None else config
        if not is_a(config, DaemonConfig):
            raise ConfigurationError("config", config, allowed="a DaemonConfig")
        if num_workers is not None:
            config = replace(config, num_workers=num_workers)
        if poll_interval is not None:
            config = replace(config, poll_interval=poll_interval)
        self._engine = new_engine(backend, daemon=config, functions=functions)
        self._own: anyio.Lock | None = anyio.Lock()  # guards the end; None: something else starts and stops the engine
        self._started = False

    @classmethod
    def of_engine(cls, engine: Engine) -> JobDaemon:
        """Return the daemon of an engine that something else starts and stops."""
        daemon = cls.__new__(cls)
        daemon._engine = engine
        daemon._own = None
        return daemon

    async def start(self) -> None:
        """Open the store and begin to claim.

        :raises BackendClosedError: it runs already.
        """
        await self._engine.start()
        self._started = True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._leave(error)

    @property
    def runner(self) -> Runner:
        """The worker that runs jobs, or ran them last.

        :raises BackendClosedError: there has not been one yet.
        """
        runner = self._engine.last_runner
        if runner is None:
            raise BackendClosedError("this daemon has not run yet", hint="async with JobDaemon(…) as daemon:")
        return runner

    @property
    def config(self) -> DaemonConfig:
        """Its settings."""
        return self.runner.config

    @property
    def worker_id(self) -> str:
        """The id of its worker in the store; a new one after its lease was lost."""
        return self.runner.worker_id

    @property
    def running(self) -> list[str]:
        """The ids of the jobs that run here now."""
        return self.runner.running

    @property
    def unfinished(self) -> int:
        """How many of them ``stop`` waits for: jobs that wait for other jobs are handed back at once."""
        return self.runner.unfinished

    @property
    def left_behind(self) -> bool:
        """Whether bodies that ignore their cancellation continue here after the end; threads do not count."""
        return self.runner.left_behind

    def may_run(self, job: Job) -> bool:
        """Return whether jobs of its queue and function run here, as far as known: claims find refused ones."""
        return self.runner.may_run(job)

    def give_back(self) -> None:
        """Do not wait for running jobs: hand them back, now if the daemon is stopping, otherwise once it stops."""
        self.runner.give_back()

    def close(self) -> None:
        """Stop claiming jobs. ``stop`` does this, too, and waits for running jobs."""
        self.runner.close()

    async def stop(self) -> None:
        """Stop claiming; running jobs get ``shutdown_timeout`` seconds, and the rest goes back to pending, uncounted.

        A daemon that does not belong to a processor also releases the store. A second call returns once that is done.

        :raises JobStateError: called by a body that runs here, for which it would wait.
        """
        refuse_to_stop_inside(self.runner.executor)
        if self._own is None:
            await self.runner.stop()
        else:
            await self._leave(None)

    async def _leave(self, error: BaseException | None) -> bool | None:
        assert self._own is not None, "a processor leaves its engine itself"
        with anyio.CancelScope(shield=True):  # another call that ends it takes a bounded time
            await self._own.acquire()
        try:
            if not self._started:
                return None
            self._started = False
            return await self._engine.stop(error)
        finally:
            self._own.release()
