"""Run jobs with ``isolation="process"``, as the program ``python -m asyncjobs.runtime.isolation.child DOWN UP``.

``pool`` starts this program. It runs one job at a time; calls arrive through the pipe ``DOWN``. It has two threads: the
main thread runs the bodies (async ones in an event loop of their own), the other one reads the pipe. When the pipe
closes, also because the worker was killed, the process ends: at once if a body runs, together with all processes that
the body has started.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar, cast

import anyio
from msgspec.structs import replace

from asyncjobs.backends.base import AttemptRef, ClaimedJob
from asyncjobs.clock import SystemClock
from asyncjobs.config import DaemonConfig
from asyncjobs.core.codec import CallableNotFoundError, is_async_callable
from asyncjobs.core.retry import decode_policy
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import JobResult, Outcome
from asyncjobs.runtime import attempt
from asyncjobs.runtime.anyio_internals import worker_thread
from asyncjobs.runtime.asking import Asking
from asyncjobs.runtime.attempt import RunningAttempt, Stop, Unawaited, failure, read_arguments, run_async, run_plain
from asyncjobs.runtime.capture import capture
from asyncjobs.runtime.context import JobContext, Submit, check_cancelled, enter
from asyncjobs.runtime.event_data import Piece
from asyncjobs.runtime.isolation.channel import ParentChannel
from asyncjobs.runtime.isolation.loading import find_function, load, set_up_for_adapter
from asyncjobs.runtime.isolation.parent_jobs import ParentJobs
from asyncjobs.runtime.isolation.protocol import (
    Answer,
    Began,
    Call,
    Emitted,
    Ended,
    Lent,
    Setup,
)
from asyncjobs.runtime.isolation.protocol import Stop as StopFrame
from asyncjobs.runtime.isolation.steps import AtOnce, ChildSteps
from asyncjobs.runtime.isolation.surroundings import Surroundings
from asyncjobs.runtime.lending import Interruptible, Lender
from asyncjobs.runtime.misplaced_calls import in_forked_child
from asyncjobs.runtime.preload import import_modules
from asyncjobs.runtime.steps import Steps
from asyncjobs.runtime.wakeups import LoopHandle

T = TypeVar("T")

_LAST_WORDS = 1.0
"""Seconds that an idle process has to shut down in order, once its pipe was closed."""
_NOT_RETRIED = (ImportError, SyntaxError, CallableNotFoundError, ConfigurationError)
"""Errors of loading a function that another try would raise again."""


class Child:
    """Runs calls one after the other, as they arrive."""

    def __init__(self, link: ParentChannel, setup: Setup) -> None:
        self._link = link
        self._setup = setup
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy = False
        self._running: RunningAttempt | None = None
        self._restored = True
        self._loop: LoopHandle | None = None
        self._jobs = ParentJobs(link, setup.max_value_size)
        self._unloaded = setup.preload

    # -- the thread that listens

    def listen(self, frames: Iterator[Any]) -> None:
        """Handle frames until the pipe closes."""
        try:
            for message in frames:
                match message:
                    case Call():
                        self._busy = True
                        self._calls.put(message)
                    case StopFrame():
                        self._stop()
                    case Answer():
                        self._link.answered(message)
                    case _:
                        pass
        finally:
            if self._busy:
                die()
            self._calls.put(None)
            time.sleep(_LAST_WORDS)  # threads that earlier bodies left behind must not keep the process alive
            die()

    def _stop(self) -> None:
        with self._lock:
            if self._running is None:
                return
            if self._loop is not None:
                hurry = self._running.stop_reason is not None  # this is the second request
                self._loop.call_soon(self._running.hurry if hurry else partial(self._running.stop, Stop.CANCELLED))
            else:
                self._running.stop(Stop.CANCELLED)
                self._link.interrupt()

    # -- a body that waits through another processor

    def lend(self, context: JobContext, wait: Interruptible) -> None:
        """See ``Lender``."""
        with self._lock:
            running = self._running
            if running is None or running.context is not context:
                return
            if self._loop is None or not self._loop.is_here():
                running.wait_scopes.add(wait)
                if running.stop_reason is not None:
                    wait.cancel()
        self._link.send(Lent(waits=True))

    def take_back(self, context: JobContext, wait: Interruptible) -> None:
        """See ``Lender``."""
        with self._lock:
            running = self._running
            if running is None or running.context is not context:
                return
            running.wait_scopes.discard(wait)
        self._link.send(Lent(waits=False))

    # -- the thread that runs bodies

    def work(self) -> None:
        """Run calls until the pipe is closed."""
        with capture(DaemonConfig(capture_logging=self._setup.capture)):
            while (call := self._calls.get()) is not None:
                ended = copy_context().run(self._run, call)
                flush()
                self._busy = False
                self._link.send(ended)

    def _run(self, call: Call) -> Ended:
        job = replace(call.job, retry=decode_policy(call.job.retry), timeout=None)
        steps = ChildSteps(self._link, self._setup)
        context = ChildContext(
            job,
            self._link,
            self._jobs.submit,
            self._setup.capture,
            lender=self,
            open_steps=steps.open,
            open_questions=self._jobs.open_questions,
        )
        running = RunningAttempt(job, context)
        enter(context)
        self._link.begin(job.attempt)
        with self._lock:
            self._running = running
        try:
            outcome = self._outcome(running, call.results)
            return Ended(outcome, context.stop_noticed, running.refused, self._restored)
        finally:
            with self._lock:
                self._running = self._loop = None
            context.close_body_events()
            self._link.end()
            steps.close()

    def _outcome(self, running: RunningAttempt, results: Mapping[str, JobResult]) -> Outcome:
        job = running.job
        try:
            self._preload()
        except Exception as error:  # border: it may work in the next process, such as a device that was taken
            return failure(error, retryable=job.retry.retries(error))
        try:
            set_up_for_adapter(job.function)
            function = load(job.function)
        except BaseException as error:
            return failure(error, retryable=not isinstance(error, _NOT_RETRIED) and job.retry.retries(error))
        try:
            args, kwargs = read_arguments(job, function, results, find_function)
            is_async = is_async_callable(function)
        except Exception as error:
            return failure(error, retryable=False)
        surroundings = Surroundings()  # with the changes that the import of the module made, which happens once
        try:
            self._link.send(Began(is_async))
            if is_async:
                return self._run_async(running, function, args, kwargs, function)
            return self._run_plain(running, function, args, kwargs)
        finally:
            self._restored = surroundings.restore()

    def _preload(self) -> None:
        """Import the modules to preload. A process in which that fails runs no other job."""
        modules, self._unloaded = self._unloaded, ()
        if modules:
            import_modules(modules, freeze=True)

    def _run_plain(
        self, running: RunningAttempt, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Outcome:
        if running.stop_reason is not None:
            return attempt.final_outcome(running, None)
        with worker_thread(None, check_cancelled):
            outcome = run_plain(running, function, args, kwargs, self._setup.max_value_size)
        if not isinstance(outcome, Unawaited):
            return attempt.final_outcome(running, outcome)
        if running.stop_reason is not None:
            outcome.close()
            return attempt.final_outcome(running, None)
        self._link.send(Began(is_async=True))
        awaitable = outcome.value
        return self._run_async(running, lambda: awaitable, (), {}, function)

    def _run_async(
        self,
        running: RunningAttempt,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        returns: Callable[..., Any],
    ) -> Outcome:
        try:
            return anyio.run(self._await, running, function, args, kwargs, returns, backend=self._setup.loop)
        except BaseException as error:  # raised by a task that the body left running on the loop
            return failure(error, policy=running)

    async def _await(
        self,
        running: RunningAttempt,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        returns: Callable[..., Any],
    ) -> Outcome:
        with self._lock:
            self._loop = LoopHandle()
        if running.stop_reason is not None:
            return attempt.final_outcome(running, None)
        try:
            setup = self._setup
            return await run_async(
                running, function, args, kwargs, setup.max_value_size, setup.cancel_grace, returns=returns
            )
        finally:
            with self._lock:
                self._loop = None


class ChildContext(JobContext):
    """``current_job()`` in a child process: sends each report through the pipe at once."""

    def __init__(
        self,
        job: ClaimedJob,
        link: ParentChannel,
        submit: Submit,
        capture_level: int | None,
        *,
        lender: Lender,
        open_steps: Callable[[JobContext, AttemptRef], Steps],
        open_questions: Callable[[JobContext, AttemptRef], Asking],
    ) -> None:
        super().__init__(
            job.attempt,
            group=job.group,
            clock=SystemClock(),
            loop=cast("LoopHandle", AtOnce()),
            submit=submit,
            capture_level=capture_level,
            lender=lender,
            open_steps=open_steps,
            open_questions=open_questions,
        )
        self._link = link

    def _append(self, type: str, data: dict[str, Any], size: int | None = None, piece: Piece | None = None) -> None:
        """Send an event at once: pieces of a text are joined where they wait to be stored."""
        if self.forked:
            raise in_forked_child(self.id)
        if not self.is_over:
            self._link.send(Emitted(str(type), data, None if piece is None else piece.field))

    def _wait_for(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        return anyio.run(function, *args)


def flush() -> None:
    """Flush the standard streams before the outcome is sent; skip streams that the body has replaced or closed."""
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    for stream in (sys.stdout, sys.stderr):
        try:
            cast("Any", stream).flush()
        except (ValueError, OSError, AttributeError):
            pass


def die() -> NoReturn:
    """End this process at once, and all processes that the body has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def prepare(setup: Setup) -> None:
    """Apply the settings of the parent process."""
    sys.path[:] = setup.path
    sys.argv[:] = setup.argv
    if setup.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = setup.python_path
    logging.getLogger().setLevel(setup.root_level)
    logging.lastResort = None  # it would print records to standard error, and so a second time into the job's log
    for stream in (sys.stdout, sys.stderr):
        cast("Any", stream).reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable()  # on a crash, the stack goes to standard error, and so into the job's log


def main(arguments: Sequence[str]) -> None:
    """Serve until the pipe closes."""
    if len(arguments) != 2:
        sys.exit(
            "python -m asyncjobs.runtime.isolation.child is started by a worker, for its jobs with isolation='process'"
        )
    link = ParentChannel(int(arguments[0]), int(arguments[1]))
    frames = link.frames()
    setup = next(frames, None)
    if not isinstance(setup, Setup):
        return  # the worker is gone already
    prepare(setup)
    child = Child(link, setup)
    threading.Thread(target=child.listen, args=(frames,), name="asyncjobs-listen", daemon=True).start()
    child.work()


if __name__ == "__main__":
    main(sys.argv[1:])
