"""What a running body can say and ask: ``current_job()``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import anyio
import anyio.from_thread
from msgspec import msgpack

from asyncjobs.backends.base import AttemptRef
from asyncjobs.backends.clock import Clock
from asyncjobs.exceptions import ConfigurationError, JobStateError, NotSerializableError
from asyncjobs.models import BodyEvent, EventType
from asyncjobs.runtime.signals import Loop

T = TypeVar("T")

_current: ContextVar[JobContext | None] = ContextVar("asyncjobs_current_job", default=None)

_LEVELS = {name.lower(): name for name in logging.getLevelNamesMapping()}
_RESERVED_TYPES = frozenset(EventType) - {EventType.OUTPUT}
_LONGEST_TYPE = 64
MAX_EVENT_BYTES = 64 * 1024
"""Encoded bytes that one event of a body may take; longer log messages are cut and marked."""


class Submit(Protocol):
    """How a body submits children: given by the processor, which knows how to encode them."""

    def __call__(
        self, parent: AttemptRef, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]: ...


def current_job() -> JobContext:
    """The job whose body calls this, in ``async def`` and plain functions alike.

    :raises JobStateError: the caller is not inside a job.
    """
    context = _current.get()
    if context is None:
        raise JobStateError(
            "?", "not running here", "current_job() works only inside a job's body", hint="submit the function"
        )
    return context


def find_current_job() -> JobContext | None:
    """The job whose body calls this, or None outside of one."""
    return _current.get()


def enter(context: JobContext) -> None:
    """Make this the current job of the running task (or thread) and of all that it starts."""
    _current.set(context)


class JobContext:
    """One attempt, as its body sees it. Everything but ``submit_job`` is plain, thread-safe and does not block."""

    def __init__(
        self, attempt: AttemptRef, *, group: str | None, clock: Clock, loop: Loop, submit: Submit | None
    ) -> None:
        self._ref = attempt
        self._group = group
        self._clock = clock
        self._loop = loop
        self._submit = submit
        self._said: list[BodyEvent] = []
        self._lock = threading.Lock()
        self._stopped = False
        self.heard = False
        """Whether the body asked ``cancelled`` and was told to stop."""
        self._children = 0
        self.on_said: Callable[[], None] | None = None

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
    def cancelled(self) -> bool:
        """True once the body should stop: cancelled, timed out, shut down, or its lease is lost.

        ``async def`` bodies are cancelled besides; a plain function has to look.
        """
        if self._stopped:
            self.heard = True
        return self._stopped

    # -- saying

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the body is: ``done`` of ``total``. Newer progress replaces what was not stored yet."""
        if isinstance(done, bool) or not isinstance(done, (int, float)) or done != done:
            raise ConfigurationError("progress(done)", done, allowed="a number")
        if total is not None and (isinstance(total, bool) or not isinstance(total, (int, float)) or total != total):
            raise ConfigurationError("progress(total)", total, allowed="a number, or None")
        data = {"done": done, "total": total, "message": None if message is None else printable(message)}
        self._say(EventType.PROGRESS, data, merge=True)

    def emit(self, type: str, data: Mapping[str, Any] | None = None) -> None:
        """Store an event of the body's own, such as ``"output"`` or ``"preview"``.

        :param type: 1 to 64 characters; the engine's own types (``started``, ``completed``, …) are refused.
        :param data: plain values: None, bool, int, float, str, bytes, lists and dicts of these; at most 64 KiB.
        :raises ConfigurationError: a bad type. NotSerializableError: data that cannot be stored.
        """
        raw: object = type
        if not isinstance(raw, str) or not 0 < len(raw) <= _LONGEST_TYPE or not raw.isprintable():
            raise ConfigurationError("emit(type)", raw, allowed=f"1 to {_LONGEST_TYPE} printable characters")
        if raw in _RESERVED_TYPES:
            raise ConfigurationError(
                "emit(type)", raw, allowed="a type of your own", hint="the engine writes this type itself"
            )
        fields = dict(data or {})
        try:
            size = len(msgpack.encode(fields))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise NotSerializableError("$.data", f"not plain data ({error})") from error
        if size > MAX_EVENT_BYTES:
            raise NotSerializableError(
                "$.data",
                f"{size:,} bytes, more than the {MAX_EVENT_BYTES:,} of an event",
                hint="write it to a file and emit the path",
            )
        self._say(raw, fields, merge=False)

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Store a log line of this job. ``level`` is a name of the ``logging`` module; ``fields`` are plain values."""
        if level.lower() not in _LEVELS:
            raise ConfigurationError("log(level)", level, allowed=", ".join(sorted(_LEVELS)))
        text = printable(str(message))
        data: dict[str, Any] = {"level": level.lower(), "message": text[: MAX_EVENT_BYTES // 4]}
        if len(text) > MAX_EVENT_BYTES // 4:
            data["cut"] = len(text)
        if fields:
            data["fields"] = {name: _plain(value) for name, value in fields.items()}
        self._say(EventType.LOG, data, merge=False)

    def _say(self, type: str, data: dict[str, Any], *, merge: bool) -> None:
        event = BodyEvent(str(type), data, self._clock.now())
        with self._lock:
            first = not self._said
            if merge:
                self._said = [said for said in self._said if said.type != type]
            self._said.append(event)
        if first and self.on_said is not None:
            self._loop.call_soon(self.on_said)

    def take_said(self) -> tuple[BodyEvent, ...]:
        """What was said and is not stored yet; it is the caller's now."""
        with self._lock:
            said, self._said = self._said, []
        return tuple(said)

    def restore_said(self, events: tuple[BodyEvent, ...]) -> None:
        """They could not be stored: keep them for the next time, before what was said since."""
        with self._lock:
            self._said[:0] = events

    def stop(self) -> None:
        """Let ``cancelled`` be true."""
        self._stopped = True

    # -- submitting

    async def submit_job(self, func: Callable[..., Any], *args: Any, key: str | None = None, **options: Any) -> Any:
        """Submit a child of this job; the options are those of ``JobProcessor.submit_job``, but for ``job_id``.

        The child's id is ``<this id>/<key>``, or ``/<n>`` at the n-th call without a key. So a later attempt that
        submits the same work gets the existing child back; other work under the same id is ``JobConflictError``.
        Refused (``JobStateError``) once this attempt has lost its lease. Returns a ``JobHandle``.
        """
        return await self._call_submit(func, args, key, options)

    def submit_job_sync(self, func: Callable[..., Any], *args: Any, key: str | None = None, **options: Any) -> Any:
        """``submit_job`` for plain functions in their thread; use ``handle.result_sync()`` for the result."""
        return self.run_sync(self._call_submit, func, args, key, options)

    def run_sync(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call an async function from the body's thread and wait for what it returns."""
        return anyio.from_thread.run(function, *args, token=self._loop.token)

    async def _call_submit(
        self, func: Callable[..., Any], args: tuple[Any, ...], key: str | None, options: dict[str, Any]
    ) -> Any:
        if self._submit is None:
            raise JobStateError(self.id, "run without a processor", "it cannot submit jobs")
        if "job_id" in options:
            raise ConfigurationError(
                "job_id", options["job_id"], problem="a child's id comes from its parent's", hint="pass key=…"
            )
        if key == "":
            raise ConfigurationError("key", key, allowed="at least one character")
        if key is None:
            with self._lock:
                self._children += 1
                key = str(self._children)
        options["job_id"] = f"{self.id}/{key}"
        options.setdefault("group", self._group)
        return await self._submit(self._ref, func, args, options)


def printable(text: str) -> str:
    """Text that every encoder takes: lone surrogates are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    return printable(str(value))[:1024]
