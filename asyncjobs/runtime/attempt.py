"""Run one attempt: a body in, an ``Outcome`` out.

Whatever a body raises becomes a value: also ``SystemExit``, ``KeyboardInterrupt``, ``StopIteration``, a cancellation
that the body raised itself, exceptions that cannot be printed. Only the cancellation of the worker itself is re-raised.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, copy_context
from enum import Enum, auto
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
from msgspec import Struct

from asyncjobs.backends.base import ClaimedJob
from asyncjobs.checks import is_awaitable
from asyncjobs.core.codec import decode_arguments, decode_call, encode_result, too_large
from asyncjobs.core.codec.callables import result_reader
from asyncjobs.core.codec.names import seems
from asyncjobs.core.retry import exception_name, short_name
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError
from asyncjobs.forks import end_child
from asyncjobs.models import JobError, JobResult, JobStatus, Outcome, OutcomeKind
from asyncjobs.runtime.body_timeout import Countdown, Timer, Untimed
from asyncjobs.runtime.cancellation import Body, BodyScope
from asyncjobs.runtime.context import JobContext, enter
from asyncjobs.runtime.event_data import capped, printable
from asyncjobs.runtime.final_errors import is_caused_by, is_final
from asyncjobs.runtime.large_values import LARGE
from asyncjobs.runtime.lending import Interruptible
from asyncjobs.runtime.threads import Threads

if TYPE_CHECKING:
    import asyncio

_LONGEST_MESSAGE = 10_000
_LOST_IN_PARKING = "the job is parked; its body raised another error meanwhile, which is ignored: {}"
_LONGEST_TRACEBACK = 65_536
_traceback_of = BaseException.__dict__["__traceback__"].__get__
"""From ``BaseException`` itself: a class may have a property of that name."""

_UNSET: Any = object()
_NO_RESULTS: Mapping[str, JobResult] = {}

ReadResults = Callable[[Sequence[str]], Awaitable[Mapping[str, JobResult]]]
FindFunction = Callable[[str], Callable[..., Any] | None]


class Stop(Enum):
    """Why an attempt is asked to stop."""

    CANCELLED = auto()
    TIMED_OUT = auto()
    RELEASED = auto()
    PARKED = auto()
    LOST = auto()


class RunningAttempt:
    """An attempt in progress: how to stop it, and whether it holds its slot."""

    # Defaults that most attempts never change.
    parked_on: str | None = None
    """The id of the gate on which the job is parked when this attempt ends."""
    countdown: Timer | None = None
    """The timeout of a body in a thread."""
    scope: anyio.CancelScope | None = None
    """What the task of this attempt runs in from beginning to end, on asyncio."""
    thread_scope: anyio.CancelScope | None = None
    """The scope around a body in a thread: only ``abandon`` cancels it."""
    _untimed: Untimed | None = None

    def __init__(self, job: ClaimedJob, context: JobContext) -> None:
        self.job = job
        self.context = context
        self.stop_reason: Stop | None = None
        self.abandoned: bool = False
        self.refused = False
        """Whether the body ended with a ``BackendClosedError``, or with an error that one caused."""
        self.has_slot = False
        self.waits = 0
        """The number of waits of its body for other jobs, which lend its slot."""
        self.lends_token = False
        self.over = False
        """Whether its body has ended, or its reports are ignored from now on."""
        self.threaded = False
        self.body: Body | None = None
        """An ``async def`` body, or one in a child process, once it runs."""
        self.wait_scopes: set[Interruptible] = set()
        """The waits for other jobs that are not cancelled with the body: in threads, on other loops."""

    def stop(self, reason: Stop) -> None:
        """Ask the body to stop. The first reason is kept."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.context.stop()
        if self.body is not None:
            self.body.stop()
        for scope in list(self.wait_scopes):  # a copy: in a child process, another thread adds to it
            scope.cancel()

    def time_out(self) -> None:
        """Ask the body to stop: its timeout is up."""
        self.stop(Stop.TIMED_OUT)

    def park(self, gate_id: str) -> None:
        """Ask the body to stop: its job waits for this gate, and runs again after that."""
        self.parked_on = gate_id
        self.stop(Stop.PARKED)

    @property
    def untimed(self) -> Untimed:
        """The context manager around waits of the body that pause its timeout."""
        if self._untimed is None:
            self._untimed = Untimed(lambda: self.countdown if self.body is None else self.body)
        return self._untimed

    def hurry(self) -> None:
        """Give a body that has been asked to stop no more time for its clean-up."""
        if self.body is not None:
            self.body.hurry()

    def abandon(self) -> None:
        """Stop waiting for a thread that does not end."""
        self.abandoned = True
        if self.thread_scope is not None:
            self.thread_scope.cancel()


class Unawaited(Struct, frozen=True):
    """An awaitable that a plain function returned, to be awaited on the loop."""

    value: Awaitable[Any]

    def close(self) -> None:
        """Discard the awaitable: Python would warn of a coroutine that was never awaited."""
        if inspect.iscoroutine(self.value):
            self.value.close()


class Tools(Struct, frozen=True):
    """What an attempt needs from its worker."""

    threads: Threads
    read_results: ReadResults
    find_function: FindFunction
    is_async: Callable[[str, Callable[..., Any]], bool]
    max_value_size: int
    cancel_grace: float


async def run_attempt(running: RunningAttempt, function: Callable[..., Any], tools: Tools) -> Outcome:
    """Decode the call, run the body, encode its result, and return the outcome."""
    enter(running.context)
    try:
        results = await read_injected(running.job, tools.read_results)
        call = running.job, function, results, tools.find_function
        if _is_large(running.job, results):
            args, kwargs = await in_thread(read_arguments, *call, abandon_on_cancel=True)
        else:
            args, kwargs = read_arguments(*call)
        is_async = tools.is_async(running.job.function, function)  # refuses a callable that is not a job function
    except Exception as error:
        return failure(error, retryable=False)
    if running.stop_reason is not None:
        return final_outcome(running, None)  # asked to stop before the body began: it never begins
    if is_async:
        return await run_async(running, function, args, kwargs, tools.max_value_size, tools.cancel_grace)
    return await _run_in_thread(running, function, args, kwargs, tools)


async def read_injected(job: ClaimedJob, read_results: ReadResults) -> Mapping[str, JobResult]:
    """Read the results that the job's arguments name."""
    if not job.injects:
        return _NO_RESULTS
    wanted: list[str] = []
    decode_call(job.call, wanted.append)
    return await read_results(list(dict.fromkeys(wanted)))


def _is_large(job: ClaimedJob, results: Mapping[str, JobResult]) -> bool:
    if len(job.call) > LARGE:
        return True
    return bool(results) and any(len(result.value or b"") > LARGE for result in results.values())


def read_arguments(
    job: ClaimedJob, function: Callable[..., Any], results: Mapping[str, JobResult], find_function: FindFunction
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Decode the arguments of the call, with these results among them."""
    if not job.injects:
        return decode_arguments(job.call, function, None)

    def find_result(job_id: str) -> tuple[bytes, Callable[..., Any] | None] | None:
        result = results.get(job_id)
        if result is None or result.status is not JobStatus.COMPLETED or result.value is None:
            return None  # optional, or not needed, because ``require`` others completed
        returned_by = find_function(result.function)
        # What an adapter returns is read without its factory, which this process may never have run.
        return result.value, result_reader(result.function) if returned_by is None else returned_by

    return decode_arguments(job.call, function, find_result)


async def run_async(
    running: RunningAttempt,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    largest: int,
    grace: float,
    *,
    began: float | None = None,
    returns: Callable[..., Any] | None = None,
) -> Outcome:
    """Await an ``async def`` body.

    :param largest: maximum size of its result in bytes.
    :param grace: seconds that its clean-up may take, once it is asked to stop.
    :param began: when its timeout starts. Default: now.
    :param returns: the callable whose annotation the result must fit. Default: ``function``.
    """
    timeout = running.job.timeout
    if timeout is not None and began is not None:
        timeout = max(0.0, timeout - (anyio.current_time() - began))
    outcome: Outcome | None = None
    with BodyScope(grace, timeout, running.time_out, running.scope) as scope:
        running.body = scope
        try:
            value = await function(*args, **kwargs)
            _end_in_fork(running, None)
            outcome = _success(function if returns is None else returns, value, largest)
        except anyio.get_cancelled_exc_class() as error:
            _end_in_fork(running, error)
            if not scope.ends_here():
                if anyio.current_effective_deadline() == -math.inf:
                    raise  # the worker is cancelled, or on trio our scope
                outcome = failure(error, policy=running)  # the body cancelled itself
        except BaseException as error:
            _end_in_fork(running, error)
            outcome = failure(error, policy=running)
    running.body = None
    if scope.delivered:
        running.context.stop_noticed = True
    if running.scope is None and scope.task is not None and scope.task.cancelling():
        await _shake_off(scope.task)
    return final_outcome(running, outcome)


async def _shake_off(task: asyncio.Task[Any]) -> None:
    """Absorb a pending cancellation that the body left in its task by ``task.cancel()`` (asyncio only).

    It would be raised by what the task does next. A task that has nothing else to do may as well end as cancelled.
    """
    while task.cancelling():
        task.uncancel()
    try:
        await anyio.lowlevel.cancel_shielded_checkpoint()
    except anyio.get_cancelled_exc_class():
        pass


async def _run_in_thread(
    running: RunningAttempt,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    tools: Tools,
) -> Outcome:
    running.threaded = True
    began = anyio.current_time()
    context = copy_context()

    def body() -> Outcome | Unawaited:
        outcome = run_plain(running, function, args, kwargs, tools.max_value_size)
        if isinstance(outcome, Unawaited) and running.abandoned:
            outcome.close()  # no caller waits for its outcome now
        return outcome

    async def thread() -> Outcome | Unawaited | None:
        # A thread cannot be stopped: it keeps its slot and its lease until it returns, even if this task is cancelled.
        with anyio.CancelScope(shield=True) as running.thread_scope:
            return await tools.threads.run(body, context)
        return None

    timeout = running.job.timeout
    outcome = await (thread() if timeout is None else _timed(running, timeout, thread))
    if not isinstance(outcome, Unawaited):
        return final_outcome(running, outcome)
    if running.stop_reason is not None:
        outcome.close()
        return final_outcome(running, None)
    running.threaded, running.thread_scope = False, None
    _adopt(context)
    if running.job.timeout is not None:
        began += running.untimed.seconds
    body_of_it, largest = _returning(outcome.value), tools.max_value_size
    return await run_async(running, body_of_it, (), {}, largest, tools.cancel_grace, began=began, returns=function)


def _adopt(context: Context) -> None:
    """Copy the context variables that a plain function set in its thread, for the coroutine that it returned."""
    for variable, value in context.items():
        if variable.get(_UNSET) is not value:
            variable.set(value)


def _returning(value: Awaitable[Any]) -> Callable[[], Awaitable[Any]]:
    return lambda: value


def run_plain(
    running: RunningAttempt,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    largest: int,
) -> Outcome | Unawaited:
    """Call a plain body, in the thread that calls this."""
    try:
        value: object = function(*args, **kwargs)
        _end_in_fork(running, None)
        # A handle is awaitable, too, and is refused as a result. An instance that a class returns is itself the result.
        if is_awaitable(value) and not seems(function, type):
            return Unawaited(cast("Awaitable[Any]", value))
        return _success(function, value, largest)
    except BaseException as error:
        _end_in_fork(running, error)
        return failure(error, policy=running)


def _end_in_fork(running: RunningAttempt, error: BaseException | None) -> None:
    """End a forked child that leaves the body: the rest of the stack is the parent's work, which must not run twice."""
    if running.context.forked:
        end_child(error)


async def _timed(
    running: RunningAttempt, timeout: float, thread: Callable[[], Awaitable[Outcome | Unawaited | None]]
) -> Outcome | Unawaited | None:
    countdown = running.countdown = Countdown(timeout, running.time_out)
    outcome = None
    async with anyio.create_task_group() as watch:
        watch.start_soon(countdown.run)
        outcome = await thread()
        watch.cancel_scope.cancel()
    return outcome


def final_outcome(running: RunningAttempt, outcome: Outcome | None) -> Outcome:
    """Return the final outcome of an attempt, taking a stop request into account."""
    match running.stop_reason:
        case None:
            assert outcome is not None
            return outcome
        case Stop.TIMED_OUT:
            error = JobError("TimeoutError", f"the body took longer than its timeout of {running.job.timeout:g} s")
            retryable = running.job.retry.retries(TimeoutError())
            return Outcome(OutcomeKind.FAILED, error=error, retryable=retryable)
        case Stop.CANCELLED:
            # The body ended before it noticed the request: the store decides by the stored request.
            return outcome or Outcome(OutcomeKind.CANCELLED)
        case Stop.PARKED:
            if outcome is not None and outcome.error is not None:
                lost = f"{outcome.error.error_type}: {outcome.error.message}"
                running.context.append_log("warning", "asyncjobs", capped("message", _LOST_IN_PARKING.format(lost)))
            return Outcome(OutcomeKind.RELEASED)
        case Stop.RELEASED | Stop.LOST:
            # A body that has noticed it, and returns, may have done half of its work: it is run again.
            finished = (
                outcome is not None and outcome.kind is OutcomeKind.SUCCEEDED and not running.context.stop_noticed
            )
            return outcome if finished and outcome is not None else Outcome(OutcomeKind.RELEASED)


def _success(function: Callable[..., Any], value: Any, largest: int) -> Outcome:
    try:
        encoded = encode_result(function, value, "$.result")
        if len(encoded) > largest:
            raise too_large("$.result", encoded, largest, "return")
    except Exception as error:  # border: NotSerializableError, and any error that the value raises when it is inspected
        return failure(error, retryable=False)
    return Outcome(OutcomeKind.SUCCEEDED, encoded)


def failure(error: BaseException, *, policy: RunningAttempt | None = None, retryable: bool = True) -> Outcome:
    """Return the outcome of a body that raised; ``policy`` decides whether it is retried."""
    if policy is not None:
        retryable = policy.job.retry.retries(error) and not is_final(error)
        policy.refused = is_caused_by(error, BackendClosedError)
    return Outcome(OutcomeKind.FAILED, error=describe(error), retryable=retryable)


def describe(error: BaseException) -> JobError:
    """Return type name, message and traceback of an exception, without trusting any of its methods."""
    try:
        message = str.__str__(str(error))  # ``__str__`` may return a subclass that overrides methods
    except BaseException:
        message = f"<{short_name(type(error))} whose message cannot be printed>"
    trace: TracebackType | None = _traceback_of(error)
    while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
        trace = trace.tb_next  # our own frames explain nothing
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:
        try:
            text = "".join(traceback.format_tb(trace))
        except BaseException:  # the loader of a module may raise for its source
            text = "<the traceback cannot be printed>"
    return JobError(
        printable(exception_name(type(error)))[:200],
        printable(message)[:_LONGEST_MESSAGE],
        printable(text)[-_LONGEST_TRACEBACK:],
    )
