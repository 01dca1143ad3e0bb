"""Give a running body its methods to report, submit and ask: ``current_job()``."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context, ContextVar
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import anyio
import anyio.from_thread

from asyncjobs.backends.base import AttemptRef
from asyncjobs.clock import Clock
from asyncjobs.core.child_ids import child_id
from asyncjobs.error_texts import shown
from asyncjobs.exceptions import ConfigurationError, JobConflictError, JobStateError
from asyncjobs.forks import fork_count
from asyncjobs.models import BodyEvent, EventType
from asyncjobs.runtime import event_data
from asyncjobs.runtime.body_events import WithBodyEvents
from asyncjobs.runtime.child_keys import NO_KEY, OTHER_KEY, check_child_key, of_key
from asyncjobs.runtime.crewai_methods import CrewAIMethods
from asyncjobs.runtime.event_data import MAX_EVENT_BYTES, Piece, capped, printable
from asyncjobs.runtime.gate_methods import GateMethods
from asyncjobs.runtime.lending import Lender
from asyncjobs.runtime.misplaced_calls import blocks_loop, body_ended, in_forked_child
from asyncjobs.runtime.question_methods import QuestionMethods
from asyncjobs.runtime.step_children import children_of_step
from asyncjobs.runtime.step_methods import StepMethods
from asyncjobs.runtime.wakeups import LoopHandle
from asyncjobs.safe_logging import SafeLogger

if TYPE_CHECKING:
    from asyncjobs.runtime.asking import Asking
    from asyncjobs.runtime.handle import JobHandle
    from asyncjobs.runtime.steps import Steps

T = TypeVar("T")
logger = SafeLogger("asyncjobs")

_current: ContextVar[JobContext | None] = ContextVar("asyncjobs_current_job", default=None)
_in_thread: ContextVar[bool] = ContextVar("asyncjobs_waits_in_thread", default=False)

_LONGEST_NAME = 64
_MOST_FIELDS = 64


class Submit(Protocol):
    """How a body submits children: given by the processor, which knows how to encode them."""

    def __call__(
        self, parent: AttemptRef, func: Callable[..., Any] | None, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Store a child of this attempt, and return its handle."""
        ...


def current_job() -> JobContext:
    """Return the job whose body calls this, in ``async def`` and plain functions alike.

    :raises JobStateError: the caller is not inside a job.
    """
    context = _current.get()
    if context is None:
        hint = without_job("submit the function")
        raise JobStateError("?", "not running here", "current_job() works only inside a job's body", hint=hint)
    return context


def without_job(hint: str) -> str:
    """Return the hint for a call that needs a job; in another thread, explain how to give the job to a thread."""
    if threading.current_thread() is threading.main_thread():
        return hint
    of_threads = "a thread of a body gets its job from asyncio.to_thread(f), or contextvars.copy_context().run(f)"
    return f"{hint}; {of_threads}"


def find_current_job() -> JobContext | None:
    """Return the job whose body calls this, or None outside of one."""
    return _current.get()


def find_log_fields() -> dict[str, object]:
    """Return what a record of the body that calls this is to have, by name; nothing outside of one."""
    job = _current.get()
    if job is None:
        return {}
    return {"job_id": job.id, "attempt": job.attempt, "group": job.group, "worker_id": job.worker_id}


def current_in(context: Context | None) -> JobContext | None:
    """Return the job to which a context of contextvars belongs, or None."""
    return None if context is None else context.get(_current)


def check_cancelled() -> None:
    """Raise the cancellation error if the job whose plain body calls this should stop.

    It is ``anyio.from_thread.check_cancelled`` in the threads of bodies.
    """
    context = _current.get()
    if context is not None and context.cancelled:
        import asyncio  # only where it is raised: plain bodies in child processes do not need it

        raise asyncio.CancelledError(f"job {context.id!r} was asked to stop")


def enter(context: JobContext) -> None:
    """Make this the current job of the running task (or thread) and of all that it starts."""
    _current.set(context)


class JobContext(WithBodyEvents, StepMethods, GateMethods, QuestionMethods, CrewAIMethods):
    """One attempt, as its body sees it. Methods that report or read are plain, thread-safe and do not block; those for
    jobs, steps and questions are awaited, or block their thread."""

    # Defaults that most attempts never change.
    stop_noticed: bool = False
    """Whether the body has read ``cancelled`` after it was asked to stop."""
    _stopped = False
    _fork_warned = False
    _children = 0
    _steps: Steps | None = None
    _questions: Asking | None = None

    def __init__(
        self,
        attempt: AttemptRef,
        *,
        group: str | None,
        clock: Clock,
        loop: LoopHandle,
        submit: Submit | None,
        capture_level: int | None = None,
        capture_print: bool = False,
        on_event: Callable[[], None] | None = None,
        lender: Lender | None = None,
        open_steps: Callable[[JobContext, AttemptRef], Steps] | None = None,
        open_questions: Callable[[JobContext, AttemptRef], Asking] | None = None,
    ) -> None:
        self._ref = attempt
        self._group = group
        self._clock = clock
        self._loop = loop
        self._submit = submit
        self._lock = threading.Lock()
        self._forks = fork_count()
        self.capture_level = capture_level
        self.capture_print = capture_print
        self.unfinished_lines: dict[str, Any] = {}
        """By stream: the text printed since the last end of a line."""
        self._on_event = on_event
        self.lender = lender
        """Notified of waits through another processor than that of the worker."""
        self._open_steps = open_steps
        self._open_questions = open_questions

    def __repr__(self) -> str:
        return f"<job {self.id!r}, attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self._ref.job_id

    @property
    def attempt(self) -> int:
        """The number of this attempt: 1, 2, …"""
        return self._ref.attempt

    @property
    def group(self) -> str | None:
        """The job's group."""
        return self._group

    @property
    def worker_id(self) -> str:
        """The id of the worker that runs this attempt, as in ``jp.workers()``."""
        return self._ref.worker

    @property
    def cancelled(self) -> bool:
        """True once the body should stop: cancelled, timed out, shut down, or its lease is lost.

        ``async def`` bodies are also cancelled; a plain function has to check this.
        """
        if self._stopped:
            self.stop_noticed = True
        return self._stopped

    # -- reporting

    # None of these raises for its arguments: a body must not fail because of what it reports about itself. What cannot
    # be stored becomes a warning in the job's own log.

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress: ``done`` of ``total``, numbers of any kind. It replaces earlier progress that is not stored
        yet. A value that is not a number becomes a warning in the job's log.
        """
        number = event_data.number(done)
        if number is None:
            self._refuse("progress(done)", done, "is not a finite number")
            return
        whole = None if total is None else event_data.number(total)
        if total is not None and whole is None:
            self._refuse("progress(total)", total, "is neither a finite number nor None")
            return
        text = {"message": None} if message is None else capped("message", event_data.text(message))
        self._append(EventType.PROGRESS, {"done": number, "total": whole, **text})

    def emit(self, type: str, data: Mapping[str, Any] | None = None, *, append: str | None = None) -> None:
        """Store an event of the body's own, such as ``"output"`` or ``"preview"``. What cannot be stored becomes a
        warning in the job's log.

        :param type: 1 to 64 characters; the engine's own types (``started``, ``completed``, …) are refused.
        :param data: plain values: None, bool, int, float, str, bytes, lists and dicts of these; at most 64 KiB.
        :param append: the name of a text in ``data`` that is a piece of a longer one. Pieces with equal other fields
            become one event, up to 64 KiB, while they are not stored yet and no other event came in between: readers
            join the texts of the events that they get.
        """
        name, problem = event_data.event_type(type)
        if problem is not None:
            self._refuse("emit(type)", type, problem)
            return
        copy, size, problem = event_data.event(data)
        if problem is None and size > MAX_EVENT_BYTES:
            fix = "emit the path of a file" if append is None else "emit it in pieces"
            problem = f"is {size:,} bytes, more than the {MAX_EVENT_BYTES:,} of an event; {fix}"
        if problem is not None:
            self._refuse(f"emit({name!r}, data)", data, problem)
            return
        piece = None
        if append is not None:
            piece, refusal = event_data.piece(name, copy, append)
            if refusal is not None:
                self._refuse(*refusal)
                return
        self._append(name, copy, size, piece)

    def log(self, /, message: str, level: str | int = "info", **fields: Any) -> None:
        """Store a log line of this job. What cannot be stored becomes a warning in the job's log.

        :param level: a level of the ``logging`` module, by its name or number.
        :param fields: plain values; any other value is stored as text.
        """
        name = event_data.level(level)
        if name is None:
            self._refuse(
                "log(level)", level, f"is none of {', '.join(sorted(event_data.LEVELS))}; the line is logged as info"
            )
        data: dict[str, Any] = {"level": name or "info", **capped("message", event_data.text(message))}
        if fields:
            few = islice(fields.items(), _MOST_FIELDS)
            data["fields"] = {printable(name)[:_LONGEST_NAME]: event_data.field(value) for name, value in few}
        if len(fields) > _MOST_FIELDS:
            data["fields_cut"] = len(fields)
        self._append(EventType.LOG, data)

    def _refuse(self, what: str, value: object, problem: str) -> None:
        """Report in the job's log that an argument could not be stored."""
        text = f"{what} was left out: {shown(value)} {problem}"
        self._append(EventType.LOG, {"level": "warning", "logger": "asyncjobs", **capped("message", text)})

    def append_log(self, level: str, logger: str, message: Mapping[str, Any]) -> None:
        """Store a log event for a record or a printed line of the body."""
        self._append(EventType.LOG, {"level": level, "logger": printable(logger)[:200], **message})

    def relay(self, type: str, data: dict[str, Any], append: str | None = None) -> None:
        """Store a report from a child process, which has checked it already."""
        if type in (EventType.LOG, EventType.PROGRESS):
            self._append(type, data)
        else:
            self.emit(type, data, append=append)

    def _append(self, type: str, data: dict[str, Any], size: int | None = None, piece: Piece | None = None) -> None:
        if self.forked:
            self._drop_in_fork(type)
            return
        event = BodyEvent(str(type), data, self._clock.now())
        if self.body_events.add(event, size, piece) and self._on_event is not None:
            self._loop.call_soon(self._on_event)

    @property
    def forked(self) -> bool:
        """Whether this is a copy in a forked child, whose reports reach no worker."""
        return fork_count() != self._forks

    def refuse_lost(self) -> None:
        """Refuse a call that would reach no worker, or the worker of another job.

        :raises JobStateError: the body has ended, or this is a forked child.
        """
        if self.forked:
            raise in_forked_child(self.id)
        if self.is_over:
            raise body_ended(self.id)

    def _drop_in_fork(self, type: str) -> None:
        """Log once, in the forked child, that its reports are not stored: the body's reports never raise (ADR 14)."""
        if not self._fork_warned:
            self._fork_warned = True
            logger.warning(
                "reports of a forked child for job %r are not stored (%s): return them to the job to report them",
                self.id,
                type,
            )

    def stop(self) -> None:
        """Make ``cancelled`` true, and let no step begin."""
        self._stopped = True
        if self._steps is not None:
            self._steps.stop()

    @property
    def steps(self) -> Steps:
        """The steps of this attempt, for the engine: bodies call ``step``, ``recall``, ``keep``, ``forget``."""
        self.refuse_lost()
        if self._steps is None:
            if self._open_steps is None:
                raise JobStateError(self.id, "run without a processor", "it cannot keep steps")
            with self._lock:
                if self._steps is None:
                    self._steps = self._open_steps(self, self._ref)
            if self._stopped:  # asked to stop before the steps existed
                self._steps.stop()
        return self._steps

    @property
    def questions(self) -> Asking:
        """The questions of this attempt, for the engine: bodies call ``ask``."""
        self.refuse_lost()
        if self._questions is None:
            if self._open_questions is None:
                raise JobStateError(self.id, "run without a processor", "it cannot ask")
            self._questions = self._open_questions(self, self._ref)
        return self._questions

    @property
    def stopped(self) -> bool:
        """Whether the body has been asked to stop, for the engine: ``cancelled`` counts as noticed by the body."""
        return self._stopped

    @property
    def in_thread(self) -> bool:
        """Whether the calling code runs on the event loop on behalf of a thread that waits for it."""
        return _in_thread.get()

    # -- submitting

    @overload
    async def submit_job(
        self, func: Callable[..., Awaitable[T]], /, *args: Any, key: str | None = None, **options: Any
    ) -> JobHandle[T]: ...
    @overload
    async def submit_job(
        self, func: Callable[..., T], /, *args: Any, key: str | None = None, **options: Any
    ) -> JobHandle[T]: ...
    async def submit_job(
        self, func: Callable[..., Any], /, *args: Any, key: str | None = None, **options: Any
    ) -> JobHandle[Any]:
        """Submit a child of this job; the options are those of ``JobProcessor.submit_job``, except ``job_id``.

        The child's id is ``<this id>/<key>``, or ``/<n>`` at the n-th call without a key (in a step: the n-th of that
        step); deep in a tree, a digest stands for the ids of the ancestors. So a later attempt that submits the same
        work gets the existing child back; other work under the same id is ``JobConflictError``.
        Refused (``JobStateError``) once this attempt has lost its lease. Returns a ``JobHandle``.
        """
        return await self._call_submit(func, args, key, options)

    @overload
    def submit_job_sync(
        self, func: Callable[..., Awaitable[T]], /, *args: Any, key: str | None = None, **options: Any
    ) -> JobHandle[T]: ...
    @overload
    def submit_job_sync(
        self, func: Callable[..., T], /, *args: Any, key: str | None = None, **options: Any
    ) -> JobHandle[T]: ...
    def submit_job_sync(
        self, func: Callable[..., Any], /, *args: Any, key: str | None = None, **options: Any
    ) -> JobHandle[Any]:
        """``submit_job`` for plain functions in their thread; use ``handle.result_sync()`` for the result.

        :raises JobStateError: called on the event loop, by an ``async def`` body: ``await submit_job(…)`` there. Or in
            a forked child (``os.fork``, ``multiprocessing``), which cannot reach the job's processor.
        """
        self.refuse_on_loop("current_job().submit_job_sync(…)", "await current_job().submit_job(…)")
        return self.run_sync(self._call_submit, func, args, key, options)

    def run_sync(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call an async function from the body's thread and wait for its result.

        :raises JobStateError: called on the event loop, by an ``async def`` body: await the function there. Or in a
            forked child, where that loop does not run.
        """
        self.refuse_on_loop("current_job().run_sync(function, …)", "await function(…)")
        token = _in_thread.set(True)
        try:
            return self._wait_for(function, *args)
        finally:
            _in_thread.reset(token)

    def refuse_on_loop(self, call: str, twin: str) -> None:
        """Refuse a call that would block its thread forever: on the loop's own thread, and in a forked child.

        :param twin: the call to use instead in an ``async def`` function.
        :raises JobStateError: the calling code runs on the event loop, or in a forked child of the job's process.
        """
        if self.forked:
            raise in_forked_child(self.id)
        if self._loop.is_here():
            raise blocks_loop(self.id, call, twin)

    def _wait_for(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        return anyio.from_thread.run(function, *args, token=self._loop.token)

    async def _call_submit(
        self, func: Callable[..., Any] | None, args: tuple[Any, ...], key: str | None, options: dict[str, Any]
    ) -> Any:
        if self._submit is None:
            raise JobStateError(self.id, "run without a processor", "it cannot submit jobs")
        self.refuse_lost()
        if "job_id" in options:
            raise ConfigurationError(
                "job_id", options["job_id"], problem="a child's id comes from its parent's", hint="pass key=…"
            )
        check_child_key(key)
        named = key
        if named is None and (step := children_of_step(self)) is not None:
            named = step.next_name()
        elif named is None:
            with self._lock:
                self._children += 1
                named = str(self._children)
        options["job_id"] = child_id(self.id, named)
        options.setdefault("group", self._group)
        try:
            return await self._submit(self._ref, func, args, options)
        except ConfigurationError as error:
            raise of_key(error, self.id, key) from error.__cause__
        except JobConflictError as error:
            error.hint = NO_KEY if key is None else OTHER_KEY
            raise
