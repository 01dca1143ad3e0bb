"""Run a daemon as a process: notify the system of its state, and handle signals.

Before the daemon is ready, SIGTERM and SIGINT end it like any command. Afterwards, the first signal starts a drain: no
new claims; running jobs get ``shutdown_timeout`` and then ``cancel_grace``; leases are renewed and cancel requests
handled meanwhile. The second signal hands running jobs back at once. The exit code is 0 after one or two signals. The
third signal exits at once, with 128 plus the number of the signal.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

import anyio
from msgspec.structs import replace

from asyncjobs.cli.detached import LogStream
from asyncjobs.cli.sd_notify import Notifier
from asyncjobs.cli.signals import Kept
from asyncjobs.cli.state_files import DaemonState, StateFile
from asyncjobs.exceptions import BackendError
from asyncjobs.host import this_process
from asyncjobs.models import JobStatus
from asyncjobs.plurals import counted
from asyncjobs.processor import JobProcessor
from asyncjobs.runtime.daemon import JobDaemon
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.daemon")

_STATUS_EVERY = 5.0


class DaemonProcess:
    """Runs a processor until it is asked to stop.

    :param jp: not entered yet; with its daemon.
    :param serve: runs beside it, until the drain is over, such as the HTTP interface; calls
        ``task_status.started()`` once it listens.
    """

    def __init__(
        self,
        jp: JobProcessor,
        state: StateFile,
        initial: DaemonState,
        *,
        serve: Callable[..., Coroutine[Any, Any, None]] | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self._jp = jp
        self._file = state
        self._state = initial
        self._serve = serve
        self._on_ready = on_ready
        self._notify = Notifier()
        self._stopping = anyio.Event()
        self._signals = 0

    async def run(self) -> None:
        """Run until the process is asked to stop and has drained.

        :raises BackendError: the store cannot be opened.
        """
        daemon: JobDaemon | None = None
        async with anyio.create_task_group() as tasks:
            async with self._jp as jp, anyio.create_task_group() as serving:
                daemon = jp.daemon
                assert daemon is not None
                if self._serve is not None:
                    self._state = replace(self._state, http=await serving.start(self._serve, jp))
                self._ready(daemon)
                tasks.start_soon(self._notify_status, jp, daemon)
                if self._notify.watchdog is not None:
                    tasks.start_soon(self._notify_watchdog, self._notify.watchdog)
                await self._stopping.wait()
                self._drain(daemon)
                await daemon.stop()
                serving.cancel_scope.cancel()  # it serves requests until the drain is over, then it refuses connections
            tasks.cancel_scope.cancel()
        logger.info("daemon %r stopped", self._state.name)
        if daemon is not None and daemon.left_behind:
            self._leave_bodies()

    def _ready(self, daemon: JobDaemon) -> None:
        self._take_signals()
        self._state = replace(self._state, ready=True, worker=daemon.worker_id)
        self._file.write(self._state)
        self._notify.notify(READY=1, STATUS="ready")
        if self._on_ready is not None:
            self._on_ready()
        state, worker = self._state, daemon.worker_id
        extra = {"worker_id": worker}
        logger.info("daemon %r is ready: pid %d, %s", state.name, state.process.pid, state.store, extra=extra)

    def _drain(self, daemon: JobDaemon) -> None:
        timeout, grace = daemon.config.shutdown_timeout, daemon.config.cancel_grace
        self._state = replace(self._state, draining=True)
        self._file.write(self._state)
        self._notify.notify(STOPPING=1, STATUS="draining", EXTEND_TIMEOUT_USEC=round((timeout + grace + 15) * 1e6))
        if daemon.running:
            logger.info(
                "draining: %s up to %g s; a second signal hands back immediately",
                counted(len(daemon.running), "running job gets", "running jobs get"),
                timeout,
            )

    # -- signals

    def _take_signals(self) -> None:
        Kept(
            {
                signal.SIGTERM: self._stop,
                signal.SIGINT: self._stop,
                signal.SIGHUP: lambda _: _reopen_logs(),
                signal.SIGUSR1: lambda _: _dump(self._jp.daemon),
            },
            after_loop=self._stop_when_stopped,
        )

    def _stop(self, number: int) -> None:
        self._signals += 1
        daemon = self._jp.daemon
        if self._signals == 1:
            self._stopping.set()
        elif self._signals > 2:
            self._leave(number)
        elif daemon is not None:  # otherwise the drain is over, and the loop is about to end
            self._state = replace(self._state, handing_back=True)
            self._file.write(self._state)
            logger.warning("handing back %s now", counted(len(daemon.running), "running job"))
            daemon.give_back()

    def _stop_when_stopped(self, number: int) -> None:
        """Count a signal that arrives after the drain, when nothing is left to hand back."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._signals += 1
            if self._signals > 2:
                self._leave(number)

    def _leave(self, number: int) -> NoReturn:
        daemon = self._jp.daemon
        interrupts = ": running jobs are interrupted, and other workers run them again"
        logger.error("exiting immediately%s", interrupts if daemon is not None and daemon.running else "")
        logging.shutdown()
        os._exit(128 + number)

    def _leave_bodies(self) -> NoReturn:
        """Exit while bodies ignore their cancellation: closing the event loop would wait for them (ADR 26)."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, LogStream):
                stream.finish()
        self._file.release()
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed, or full
                stream.flush()
        os._exit(0)

    # -- signs of life

    async def _notify_watchdog(self, every: float) -> None:
        # From the event loop on purpose: the watchdog must detect a blocked loop.
        while True:
            self._notify.notify(WATCHDOG=1)
            await anyio.sleep(every)

    async def _notify_status(self, jp: JobProcessor, daemon: JobDaemon) -> None:
        while not self._stopping.is_set():
            try:
                counts = await jp.backend.count_jobs()
                self._notify.notify(STATUS=f"{len(daemon.running)} running, {counts.get(JobStatus.PENDING, 0)} pending")
            except BackendError as error:
                self._notify.notify(STATUS=f"store not available: {error.code}")
            except Exception as error:  # border: a failed status report must not end the daemon
                self._notify.notify(STATUS=f"jobs cannot be counted: {type(error).__name__}")
            with anyio.move_on_after(_STATUS_EVERY):
                await self._stopping.wait()


def initial_state(name: str, store: str, *, log: str | None, version: str, http_token: bool) -> DaemonState:
    """Return the state of this process before it is ready."""
    return DaemonState(
        name=name,
        store=store,
        process=this_process(),
        version=version,
        started_at=time.time(),
        arguments=sys.argv[1:],
        log=log,
        http_token=http_token,
    )


def _reopen_logs() -> None:
    """Reopen log files, after another program has rotated them."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()  # the next record reopens it
    logger.info("log file reopened")


def _dump(daemon: JobDaemon | None) -> None:
    """Log the running jobs and the stack of every thread."""
    logger.warning("thread dump requested; running jobs: %s", ", ".join(daemon.running if daemon else ()) or "none")
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
