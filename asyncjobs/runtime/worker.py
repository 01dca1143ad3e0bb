"""Run the jobs of a store in this process, under a name, beside whatever else uses the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import CheckedArguments, is_a
from asyncjobs.config import DaemonConfig
from asyncjobs.exceptions import BackendClosedError, ConfigurationError
from asyncjobs.runtime.events.publisher import EventPublisher
from asyncjobs.runtime.runner import Runner
from asyncjobs.runtime.setup import new_engine


class Worker(CheckedArguments):
    """Claims and runs jobs of any process, while it is entered.

    It has its own scheduler, heartbeat and store watcher, and the settings of ``DaemonConfig()``::

        async with JobProcessor(backend, enable_daemon=False) as jp:
            async with EventPublisher(backend) as publisher:
                async with Worker("renderer", backend, publisher, functions=[render]):
                    job = await jp.submit_job(render, "report")
                    print(await job)

    :param worker_id: its name for people. The store also gives it an ``id``, and a new one after its lease was lost.
    :param backend: the store. It is opened if it is closed, and closed again if nothing else has it open.
    :param event_publisher: passes on the events of its jobs. It is entered if necessary, and left again.
    :param functions: functions that this process may run.
    :raises ConfigurationError: an argument is of the wrong kind, or the publisher belongs to another store.
    """

    def __init__(
        self,
        worker_id: str,
        backend: JobBackend,
        event_publisher: EventPublisher,
        *,
        functions: Iterable[Callable[..., Any]] = (),
    ) -> None:
        name: object = worker_id
        if not is_a(name, str) or not name:
            raise ConfigurationError("worker_id", name, allowed="a name, as text that is not empty")
        publisher: object = event_publisher
        if not is_a(publisher, EventPublisher) or publisher.backend is not backend:
            raise ConfigurationError("event_publisher", publisher, allowed="an EventPublisher of the same backend")
        self.worker_id: str = str.__str__(name)
        """Its name for people."""
        self._engine = new_engine(
            backend, daemon=DaemonConfig(name=self.worker_id), functions=functions, publisher=event_publisher
        )

    async def __aenter__(self) -> Self:
        await self._engine.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._engine.stop(error)

    @property
    def id(self) -> str:
        """The id by which the store knows it, as in ``Job.worker_id``.

        :raises BackendClosedError: it has not been entered yet.
        """
        return self._runner.worker_id

    @property
    def running(self) -> list[str]:
        """The ids of the jobs that run here now.

        :raises BackendClosedError: it has not been entered yet.
        """
        return self._runner.running

    def close(self) -> None:
        """Stop claiming jobs. Leaving does this, too, and waits for running jobs.

        :raises BackendClosedError: it has not been entered yet.
        """
        self._runner.close()

    @property
    def _runner(self) -> Runner:
        runner = self._engine.last_runner
        if runner is None:
            raise BackendClosedError("this worker has not run yet", hint="async with Worker(…) as worker:")
        return runner
