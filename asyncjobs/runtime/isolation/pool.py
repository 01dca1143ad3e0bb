"""Start child processes for jobs with ``isolation="process"``, keep them warm, and end them.

``process`` is one child process, ``session`` the exchange of messages with it during one job, ``child`` the program
that it runs. A process is reused only after a body that succeeded.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from functools import partial

import anyio
from anyio.lowlevel import current_token
from msgspec.structs import replace

from asyncjobs.clock import Clock
from asyncjobs.config import DaemonConfig
from asyncjobs.core.state import SECOND
from asyncjobs.models import Outcome
from asyncjobs.runtime.attempt import ReadResults, RunningAttempt, failure, final_outcome, read_injected
from asyncjobs.runtime.context import enter
from asyncjobs.runtime.isolation.echo import Echo
from asyncjobs.runtime.isolation.process import Process, start
from asyncjobs.runtime.isolation.protocol import Setup, encode_call
from asyncjobs.runtime.isolation.session import AttemptSession
from asyncjobs.runtime.job_access import BodyAccess
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

_STARTED_AT_ONCE = 4
"""Processes that are started at the same time. The system call holds the GIL; the longer start-up runs in parallel."""


class ProcessPool:
    """The child processes of one worker: at most one for each slot that runs a body, and as many idle ones.

    :param jobs: where bodies submit jobs, and wait for them.
    """

    idle_time: float = 60.0
    """Seconds after which an idle process is ended."""
    most_jobs = 1000
    """Jobs that one process runs, which bounds the memory that bodies leak."""
    grace: float = 1.0
    """Seconds between a stop request to a body and the end of its process by SIGKILL. An awaited body gets
    ``cancel_grace`` seconds first."""

    def __init__(
        self, read_results: ReadResults, config: DaemonConfig, clock: Clock, jobs: BodyAccess, max_value_size: int
    ) -> None:
        self._jobs = jobs
        self._read_results = read_results
        self._config = config
        self._clock = clock
        self._max_value_size = max_value_size
        self._idle: deque[Process] = deque()
        self._returned = Wakeup()
        self._closed = False
        self._echo = Echo()
        self._starting = anyio.CapacityLimiter(_STARTED_AT_ONCE)

    @property
    def idle(self) -> list[int]:
        """The ids of the idle processes."""
        return [process.pid for process in self._idle]

    async def run(self, running: RunningAttempt, function: str | None = None) -> Outcome:
        """Run one attempt in a process and return its outcome. The attempt keeps its slot until this returns.

        :param function: the name by which the process finds it. Default: the stored one.
        """
        enter(running.context)
        try:
            results = await read_injected(running.job, self._read_results)
        except Exception as error:
            return failure(error, retryable=False)
        job = running.job if function is None else replace(running.job, function=function)
        call = encode_call(job, results)
        while running.stop_reason is None:
            try:
                process = self._idle.pop() if self._idle else await start(self._setup(), self._starting)
            except Exception as error:  # border: the system cannot start a process
                return failure(error, policy=running)
            if running.stop_reason is not None:  # asked to stop before its body began: the body never runs
                await self._put_back(process)
                break
            try:
                outcome = await self._run_in(process, running, call)
            except Exception as error:  # border: a defect of asyncjobs fails this job; the worker continues
                logger.exception("communication with the process of job %r failed", running.job.attempt.job_id)
                return failure(error, policy=running)
            if outcome is not None:
                return outcome
        return final_outcome(running, None)

    async def _run_in(self, process: Process, running: RunningAttempt, call: bytes) -> Outcome | None:
        """Return the outcome; None if the process had died since its last job, so that this job was not started."""
        session = AttemptSession(
            process,
            running,
            self._jobs,
            self._max_value_size,
            self._echo,
            grace=self.grace,
            cancel_grace=self._config.cancel_grace,
        )
        in_order = False
        try:
            await session.run(call)
            in_order = session.succeeded and running.stop_reason is None
        finally:
            if in_order:
                process.jobs += 1
                await self._put_back(process)
            else:
                await self._end(process, politely=session.ended is not None and running.stop_reason is None)
        died_before = session.ended is None and not session.began and process.jobs > 0
        return None if died_before and running.stop_reason is None else session.outcome()

    async def _put_back(self, process: Process) -> None:
        if self._closed or len(self._idle) >= self._config.num_workers or process.jobs >= self.most_jobs:
            await self._end(process, politely=True)
            return
        process.idle_since = self._clock.monotonic()
        self._idle.append(process)
        self._returned.notify()

    async def end_idle_forever(self) -> None:
        """End processes that were idle for too long, and remove those that died."""
        trouble = Outage(logger, "idle child processes cannot be ended")
        await look_forever(self._end_idle, None, trouble, self._clock)

    async def _end_idle(self) -> None:
        if not self._idle:
            await self._returned.wait()
            return
        await self._clock.sleep(self.idle_time / 4)
        due = self._clock.monotonic() - round(self.idle_time * SECOND)
        await self._end_all([p for p in self._idle if p.idle_since <= due or p.has_exited()])

    async def close(self) -> None:
        """End all idle processes; the others end with their job."""
        self._closed = True
        await self._end_all(list(self._idle))
        await self._echo.close()

    async def _end_all(self, processes: list[Process]) -> None:
        for process in processes:
            self._idle.remove(process)
        async with anyio.create_task_group() as tasks:
            for process in processes:
                tasks.start_soon(partial(self._end, process, politely=True))

    async def _end(self, process: Process, *, politely: bool) -> None:
        await process.end(politely=politely)
        process.close()

    def _setup(self) -> Setup:
        return Setup(
            path=[entry or os.getcwd() for entry in sys.path],
            argv=list(sys.argv),
            python_path=os.environ.get("PYTHONPATH"),
            loop="asyncio" if hasattr(current_token().native_token, "call_soon_threadsafe") else "trio",
            max_value_size=self._max_value_size,
            cancel_grace=self._config.cancel_grace,
            root_level=logging.getLogger().level,
            capture=self._config.capture_level,
            preload=self._config.preload,
            num_workers=self._config.num_workers,
        )
