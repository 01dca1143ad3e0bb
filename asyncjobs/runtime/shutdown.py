"""Announce and speed up the shutdown of a processor that runs jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.exceptions import BackendError
from asyncjobs.models import JobStatus
from asyncjobs.paging import iter_pages
from asyncjobs.plurals import counted
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.background import Background
from asyncjobs.runtime.runner import Runner
from asyncjobs.runtime.signals import (
    CtrlC,
    Resident,
    Termination,
    follow_server_exit,
    terminate,
    terminate_after_clean_up,
)
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_STAYS = (
    "unfinished jobs stay in the store. 'await jp.drain()' before leaving waits for them; "
    "a daemon on the same store runs them"
)
_IN_MEMORY = (
    "unfinished jobs in an in-memory store end with this program, unless a JobProcessor is entered again on the "
    "same backend object. 'await jp.drain()' before leaving waits for them; a store in a file keeps them"
)
_ANSWERED_LATER = "any process that opens the store may answer"
_NEVER_ANSWERED = "gates in an in-memory store end with this program"
_PATIENCE = 1.0
"""Seconds of waiting after which a block that is left without a signal logs what it waits for."""


class Leaving:
    """The end of a processor's block, prepared from the moment when it is entered.

    :param runner: returns the worker that runs jobs here, while there is one.
    :param shutdown_timeout: seconds that running jobs get.
    :param background: of the processor.
    :param leave: begins to leave the processor if the task that entered it has ended.
    :param ctrl_c: whether Ctrl-C hands running jobs back although this is not the main thread; ``SyncJobs`` arranges
        that.
    """

    def __init__(
        self,
        runner: Callable[[], Runner | None],
        shutdown_timeout: float,
        background: Background,
        leave: Callable[[], None],
        clock: Clock,
        *,
        ctrl_c: bool,
    ) -> None:
        self._runner = runner
        self._shutdown_timeout = shutdown_timeout
        self._background = background
        self._leave = leave
        self._clock = clock
        self._ctrl_c_elsewhere = ctrl_c
        self._announced = self._alone = False
        self._alone_signal = Wakeup()
        self._resident = Resident(self._terminated, self._hurry)
        self._termination = Termination.join(self._resident)
        self._ctrl_c = CtrlC.join(self._resident)

    def begin(self, error: BaseException | None) -> None:
        """Begin to leave the block, by this error; log it if that takes time."""
        if self._ctrl_c is None or not self._ctrl_c.handled:  # a server in the block had it until now, perhaps
            self._ctrl_c = CtrlC.join(self._resident) or self._ctrl_c
        if self._ctrl_c is not None:
            self._ctrl_c.leave(self._resident)
        if error is not None:
            self._announce(again=isinstance(error, (KeyboardInterrupt, anyio.get_cancelled_exc_class())))

    async def listen(self) -> None:
        """Run this while the processor is entered: a signal handler must not leave it by itself."""
        await self._alone_signal.wait()
        self._leave()

    async def watch(self) -> None:
        """Run this while leaving waits for jobs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow_server_exit, self._hurry)
            await self._clock.sleep(_PATIENCE)
            self._announce(again=False)

    def end(self, error: BaseException | None) -> None:
        """End the leaving of the block, by this error.

        :raises KeyboardInterrupt: Ctrl-C came, and the program has not been interrupted.
        """
        interrupted = self._ctrl_c is not None and self._ctrl_c.part(self._resident)
        if self._termination is not None and self._termination.part(self._resident):
            terminate_after_clean_up()
        if interrupted and not isinstance(error, (KeyboardInterrupt, anyio.get_cancelled_exc_class())):
            raise KeyboardInterrupt

    def end_alone(self) -> None:
        """End with the background; if the block is not left, this is the end."""
        if self._alone and self._termination is not None and self._termination.part(self._resident):
            terminate()

    def _terminated(self) -> None:
        if not self._background.interrupt():
            self._alone = True
            self._alone_signal.notify()

    def _hurry(self) -> None:
        runner = self._runner()
        if runner is None:
            return
        running = len(runner.running)
        runner.give_back()  # first: the next Ctrl-C may come in the middle of a line of the log
        if running:
            logger.warning("handing back %s now", counted(running, "running job"))

    def _announce(self, *, again: bool) -> None:
        """Log once how many jobs run, the maximum time, and how to end the wait.

        :param again: whether a signal has come before.
        """
        runner, seconds = self._runner(), self._shutdown_timeout
        running = 0 if runner is None else runner.unfinished
        if self._announced or not running or not seconds:
            return
        self._announced = True
        logger.warning(
            "leaving: %s up to %g s to end, then %s back to the store%s",
            counted(running, "job still runs and gets", "jobs still run and get"),
            seconds,
            "it goes" if running == 1 else "they go",
            self._way_out(again=again),
        )

    def _way_out(self, *, again: bool) -> str:
        if self._termination is not None and self._termination.came:
            return "; a second SIGTERM hands back at once"
        if self._ctrl_c_elsewhere or (self._ctrl_c is not None and self._ctrl_c.handled):
            return "; a second Ctrl-C hands back at once" if again else "; Ctrl-C hands back at once"
        return ""


async def warn_of_unfinished(backend: JobBackend) -> None:
    """Log how many jobs the program leaves behind that no worker will run."""
    try:
        if any(worker.alive for worker in await backend.workers()):
            return
        counts = await backend.count_jobs()
        gates, parked = await _count_waiting(backend)
    except BackendError:
        return
    except Exception as error:  # border: a warning must not become the error of the program's block
        logger.error("unfinished jobs could not be counted: %s", error, exc_info=error)
        return
    left = counts.get(JobStatus.PENDING, 0) + counts.get(JobStatus.IN_PROGRESS, 0) - gates - parked
    persistent = "persistent" in backend.capabilities
    if left > 0:
        logger.warning(
            "%s left unfinished, and no worker is alive to run %s: %s",
            counted(left, "job is", "jobs are"),
            "it" if left == 1 else "them",
            _STAYS if persistent else _IN_MEMORY,
        )
    if gates or parked:
        logger.log(
            logging.INFO if persistent else logging.WARNING,
            "%s%s: %s",
            counted(gates, "gate waits for an answer", "gates wait for an answer"),
            f", and {counted(parked, 'job is', 'jobs are')} parked on one" if parked else "",
            _ANSWERED_LATER if persistent else _NEVER_ANSWERED,
        )


async def _count_waiting(backend: JobBackend) -> tuple[int, int]:
    """Count the open gates, and the jobs that are parked on one."""
    gates = parked = 0
    async for page in iter_pages(backend.find_jobs, JobQuery(waits_for="answer", limit=1000)):
        of_page = sum(job.gate is not None for job in page)
        gates += of_page
        parked += len(page) - of_page
    return gates, parked
