"""Turn a request into a job for storage: check the options, name the callable, encode the arguments.

Everything that can be refused is refused here, with the field, the value and the fix, before anything is stored.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FunctionType
from typing import Any, Literal, NamedTuple, cast

from msgspec.structs import replace

from asyncjobs.backends.base import NewJob
from asyncjobs.checks import is_a, listed, reading
from asyncjobs.clock import from_datetime
from asyncjobs.core import plain
from asyncjobs.core.codec import (
    callable_label,
    describe_callable,
    is_async_callable,
    refuse_reserved_parameters,
    wraps_async,
)
from asyncjobs.core.codec.adapted import heeds_stop
from asyncjobs.core.codec.adapters import can_run
from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.codec.names import seems
from asyncjobs.core.retry import DEFAULT_RETRY, RetryPolicy, checked_policy
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import DEFAULT_QUEUE, NO_NAME, Dependency, Handle, Isolation, Limit
from asyncjobs.requests import JobRequest
from asyncjobs.runtime import callers
from asyncjobs.runtime.call_templates import CallTemplates, encode_bound
from asyncjobs.runtime.decorator import NO_OPTIONS, JobOptions, get_job_options
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.main_script import refuse_without_guard
from asyncjobs.runtime.requests import checked_arguments, checked_tuple

LONGEST_ID = 512
_LONGEST_NAME = 200
_LONGEST_DURATION = 10 * 365 * 86_400.0
_BEYOND = 1 << 62
"""More than any duration, and still a float."""
_INT64 = 1 << 63
_NO_TIMEOUT = (
    "timeout= cannot stop the plain function {!r}: after the timeout, current_job().cancelled is True; the job keeps "
    "its slot until the function returns, and then fails"
)
_MAX_INTERRUPTIONS = 3
_IDS = frozenset({"job_id", "job_ids", "depends_on", "id"})
"""Fields that accept a handle; in others, which name something else, a handle is a mistake."""
_PLAIN_LISTS: frozenset[type] = frozenset({list, tuple})


class Optional(Handle):
    """A dependency that need not complete; made by ``jp.optional``.

    Among arguments it stands for the job's result, or for ``None``.
    """

    __slots__ = ()
    optional = True

    @property
    def job_id(self) -> str:
        """The job's id, as a plain string."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return f"optional({str.__repr__(self)})"

    def __reduce__(self) -> tuple[type[Optional], tuple[str]]:
        return (Optional, (self.job_id,))


class Submissions:
    """Encodes requests for one processor."""

    def __init__(self, functions: Functions, max_value_size: int) -> None:
        self._functions = functions
        self._max_value_size = max_value_size
        self._checked: IdentityCache[bool] = IdentityCache()
        self._templates = CallTemplates(max_value_size, self.new_id, _all_dependencies)
        self._random = random.Random()  # a separate generator: a program that seeds the global one must not repeat ids

    def new_id(self) -> str:
        """Return a fresh job id: sortable by time, unique without asking the store."""
        return f"{time.time_ns() // 1000:014x}{self._random.getrandbits(64):016x}"

    def encode(self, request: JobRequest, owner: str | None, new_id: str | None = None) -> NewJob:
        """Check a request and encode it. ``owner`` is the worker that alone may run a ``local`` job; ``new_id`` is the
        id of a request without one, drawn by ``new_id()``.

        :raises SubmissionError: of the kind that fits. ConfigurationError: an option's value cannot work.
        """
        job = self._templates.encode(request, new_id)
        if job is None:
            job = self._encode(request, owner, new_id)
            self._templates.keep(request, job)
        return job

    def _encode(self, request: JobRequest, owner: str | None, new_id: str | None) -> NewJob:
        options = get_job_options(request.func)
        if options is not NO_OPTIONS:
            request = _with_defaults(request, options)
        callee = _callee(request, owner)
        func, name = callee.func, callee.name
        bound, call = encode_bound(func, callee.args, callee.kwargs, self._max_value_size)
        isolation: Isolation = "thread"
        if request.isolation is not None:
            isolation = _isolation(request.isolation, name, local=request.local)
        timeout = request.timeout
        if timeout is not None:
            timeout = _timeout(timeout, callee, isolation)
        job_id = request.job_id
        dependencies: tuple[Dependency, ...] = ()
        if call.handles or type(request.depends_on) is not tuple or request.depends_on:
            dependencies = _all_dependencies(request.depends_on, call.handles, bound)
        require = None if request.require is None else checked_require(request.require, len(dependencies))
        _check_choices(request)
        metadata = None if request.metadata is None else checked_metadata(request.metadata)
        return NewJob(
            id=(new_id or self.new_id()) if job_id is None else checked_name("job_id", job_id, LONGEST_ID),
            generated=job_id is None,
            function=name,
            call=call.data,
            injects=bool(call.handles),
            queue=DEFAULT_QUEUE if request.queue is None else checked_name("queue", request.queue),
            owner=owner if request.local else None,
            group=None if request.group is None else checked_name("group", request.group),
            metadata=metadata,
            priority=0 if request.priority is None else _whole("priority", request.priority, -_INT64),
            limit=None if request.limit is None else _limit(request.limit),
            retry=(
                DEFAULT_RETRY
                if request.retry is None and request.max_retries is None
                else _retry(request.retry, request.max_retries)
            ),
            max_interruptions=(
                _MAX_INTERRUPTIONS
                if request.max_interruptions is None
                else _whole("max_interruptions", request.max_interruptions, 1)
            ),
            timeout=timeout,
            isolation=isolation,
            run_at=None if request.run_at is None else _moment(request.run_at),
            delay=None if request.delay is None else round(duration("delay", request.delay) * SECOND),
            dependencies=dependencies,
            require=require,
            if_exists=request.if_exists,
        )

    def vouch(self, request: JobRequest, job: NewJob) -> None:
        """Allow this process to run the functions that it submits."""
        func = request.func
        if request.local:
            self._functions.add_local(job.id, job.function, func)
        elif not self._functions.has(job.function, func):
            if type(func) is not FunctionType and seems(func, partial):
                func = describe_callable(func).func
            if can_run(func):
                self._functions.add(job.function, func)

    def check_options(self, func: Callable[..., Any]) -> None:
        """Refuse a callee that has a parameter named like an option; checked once per function."""
        if self._checked.get(func) is None:  # by identity: a callable's own hash and equality may do anything
            refuse_reserved_parameters(func)
            self._checked.put(func, True)


class _Callee(NamedTuple):
    """The callee of a request, without partials, whose arguments are joined with those of the request."""

    func: Callable[..., Any]
    name: str
    is_async: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def _callee(request: JobRequest, owner: str | None) -> _Callee:
    func = request.func
    args, kwargs = checked_arguments(request)
    local: object = request.local
    if local is False:
        described = describe_callable(func)
        args, kwargs = described.join(args, kwargs)
        return _Callee(described.func, described.name, described.is_async, args, kwargs)
    if local is not True:
        raise ConfigurationError("local", local, allowed="True or False")
    is_async, name = is_async_callable(func), f"local:{callable_label(func)}"
    if owner is None:
        raise ConfigurationError(
            "local",
            True,
            problem="a local job runs in this process only, and no worker runs here",
            hint="open the JobProcessor with enable_daemon=True",
        )
    return _Callee(func, name, is_async, args, kwargs)


def _timeout(given: object, callee: _Callee, isolation: Isolation) -> float:
    timeout = duration("timeout", given, above=True)
    if not callee.is_async and isolation == "thread" and not wraps_async(callee.func) and not heeds_stop(callee.func):
        # With the name, the warning appears once per function for each line that submits it.
        callers.warn(_NO_TIMEOUT.format(callee.name), callee.func)
    return timeout


def _all_dependencies(depends_on: Any, handles: Sequence[str], bound: object) -> tuple[Dependency, ...]:
    """Return the jobs that are named, and those whose results are injected."""
    if not handles:
        return checked_dependencies(depends_on, {})
    injected = dict.fromkeys(handles, True)
    _note_needed(bound, injected)
    return checked_dependencies(depends_on, injected)


def _check_choices(request: JobRequest) -> None:
    """Refuse options that exclude each other, or whose value is not one of the allowed ones."""
    if request.delay is not None and request.run_at is not None:
        raise ConfigurationError("delay", request.delay, problem="delay and run_at exclude each other")
    checked_if_exists(request.if_exists)


def checked_if_exists(given: Any) -> Literal["raise", "return"]:
    """Return what to do about an id that exists; refuse any other value."""
    # Check its type first: ``==`` may run code of the caller.
    if (type(given) is not str and not is_a(given, str)) or given not in ("raise", "return"):
        raise ConfigurationError("if_exists", given, allowed="'raise' or 'return'")
    return given


def checked_name(field: str, value: object, longest: int = _LONGEST_NAME) -> str:
    """Return a name that can be stored, shown and put into a URL; refuse any other."""
    if not is_a(value, str):
        raise ConfigurationError(field, value, allowed=f"a string of {_characters(longest)}")
    if field not in _IDS and is_a(value, Handle):
        raise ConfigurationError(field, value, allowed="a name", hint=NO_NAME)
    value = str.__str__(value)
    if not value or len(value) > longest:
        shown = value if len(value) <= 40 else f"{value[:20]}… ({len(value)} characters)"
        raise ConfigurationError(field, shown, allowed=_characters(longest))
    if not value.isprintable():
        for character in value:
            code = ord(character)
            if code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or code in (0x2028, 0x2029):
                raise ConfigurationError(field, value, allowed=_characters(longest))
    if field == "job_id" and value in (".", ".."):
        raise ConfigurationError(
            field, value, allowed="another name", hint="clients of HTTP resolve these away, as folders of a path"
        )
    return value


def _characters(longest: int) -> str:
    return f"1 to {longest} characters without control characters"


def duration(field: str, value: object, *, above: bool = False) -> float:
    """Return seconds, given as a number or a timedelta."""
    allowed = f"seconds {'above' if above else 'from'} 0"
    if is_a(value, timedelta):
        seconds = timedelta.total_seconds(value)
    elif is_a(value, int) and not is_a(value, bool):
        seconds = float(min(int.__int__(value), _BEYOND))
    elif is_a(value, float):
        seconds = float.__float__(value)
    else:
        raise ConfigurationError(field, value, allowed=allowed)
    if math.isnan(seconds):
        raise ConfigurationError(field, value, allowed=allowed)
    if seconds < 0 or (above and seconds == 0) or seconds > _LONGEST_DURATION:
        raise ConfigurationError(field, value, allowed=f"{allowed}, at most ten years")
    return seconds


def _whole(field: str, value: object, low: int, high: int = _INT64 - 1) -> int:
    number = int.__int__(value) if is_a(value, int) and not is_a(value, bool) else None  # an IntEnum, too
    if number is None or not low <= number <= high:
        raise ConfigurationError(field, value, allowed=f"a whole number from {low} to {high}")
    return number


def _moment(value: object) -> int:
    if not is_a(value, datetime):
        raise ConfigurationError("run_at", value, allowed="an aware datetime")
    if value.tzinfo is None:
        raise ConfigurationError(
            "run_at", value, allowed="an aware datetime", hint="datetime.now(UTC) + …, or value.astimezone()"
        )
    try:
        with reading("run_at", value):  # uses its time zone, whose class may be the caller's
            return from_datetime(value.astimezone(UTC))
    except ConfigurationError as error:
        if not isinstance(error.__cause__, OverflowError):
            raise
        # it could be stored, and never be read again
        raise ConfigurationError("run_at", value, allowed="a moment of the years 1 to 9999, in UTC") from None


def _isolation(given: object, function: str, *, local: bool) -> Isolation:
    name = str.__str__(given) if is_a(given, str) else ""
    if name == "thread":
        return "thread"
    if name != "process":
        raise ConfigurationError("isolation", given, allowed="'thread' or 'process'")
    if local:
        raise ConfigurationError(
            "isolation",
            given,
            problem="a local job runs in this process only, and isolation='process' runs it in another",
            hint="move the function to module level and remove local=True",
        )
    if os.name != "posix":
        raise ConfigurationError("isolation", given, allowed="'thread' on this system")
    refuse_without_guard(function)
    return "process"


def _limit(given: object) -> Limit:
    allowed = "(key, capacity), for example ('images', 3)"
    pair: Sequence[Any] = (given.key, given.capacity) if is_a(given, Limit) else checked_tuple("limit", given, allowed)
    if len(pair) != 2:
        raise ConfigurationError("limit", given, allowed=allowed)
    key, capacity = pair
    return Limit(checked_name("limit", key), _whole("limit", capacity, 1, 1_000_000))


def _with_defaults(request: JobRequest, options: JobOptions) -> JobRequest:
    """Return the request with the options of ``@job`` where the call gives none."""
    return replace(
        request,
        queue=_pick(request.queue, options.queue),
        priority=_pick(request.priority, options.priority),
        limit=_pick(request.limit, options.limit),
        retry=_pick(request.retry, options.retry),
        # The call site's number wins over a function's, and so does the number of its policy.
        max_retries=_pick(request.max_retries, options.max_retries) if request.retry is None else request.max_retries,
        max_interruptions=_pick(request.max_interruptions, options.max_interruptions),
        timeout=_pick(request.timeout, options.timeout),
        isolation=_pick(request.isolation, options.isolation),
    )


def _pick(first: Any, second: Any) -> Any:
    return second if first is None else first


def _retry(policy: object, max_retries: object) -> RetryPolicy:
    """Return the policy; a plain number that is given in the same place wins over it."""
    checked = DEFAULT_RETRY if policy is None else checked_policy(policy)
    if max_retries is None:
        return checked
    return replace(checked, max_retries=_whole("max_retries", max_retries, 0))


def checked_metadata(value: object) -> bytes | None:
    """Return metadata for storage; refuse anything but a dict of JSON values."""
    if not issubclass(type(value), Mapping):
        raise ConfigurationError("metadata", value, allowed="a dict with string keys and JSON values")
    with reading("metadata", value):
        written = plain.metadata(value)
    return None if written == b"{}" else written


def _note_needed(value: Any, optional: dict[str, bool]) -> None:
    """Record the handles in a call that are required: those that are not optional everywhere."""
    if isinstance(value, Handle):
        if not value.optional:
            optional[str.__str__(value)] = False
    elif isinstance(value, (list, tuple)):
        for item in cast("Sequence[Any]", value):
            _note_needed(item, optional)
    elif isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            _note_needed(item, optional)


def checked_dependencies(depends_on: Any, injected: Mapping[str, bool]) -> tuple[Dependency, ...]:
    """Return the edges, one per parent; optional only if every mention is, or ``depends_on`` makes an argument so.

    :param injected: the handles among the arguments, and whether they are optional.
    """
    parents: dict[str, bool] = {}
    for entry in _entries(depends_on):
        if is_a(entry, Optional):
            parents.setdefault(checked_name("depends_on", entry.job_id, LONGEST_ID), True)
        elif is_a(entry, str):
            parents[checked_name("depends_on", entry, LONGEST_ID)] = False
        else:
            raise ConfigurationError("depends_on", entry, allowed="ids, handles, jp.optional(…)")
    for job_id, optional in injected.items():
        parents.setdefault(job_id, optional)
    return tuple(Dependency(job_id, optional) for job_id, optional in parents.items())


def _entries(depends_on: object) -> Sequence[Any]:
    if depends_on is None:
        return ()
    if type(depends_on) in _PLAIN_LISTS:  # reading it runs no code of its class
        return cast("Sequence[Any]", depends_on)
    if is_a(depends_on, str):
        return (depends_on,)
    allowed = "ids, handles, jp.optional(…), or a list of these"
    if not issubclass(type(depends_on), (list, tuple, set, frozenset, dict)):
        raise ConfigurationError("depends_on", depends_on, allowed=allowed)
    return listed("depends_on", depends_on, allowed)


def checked_require(require: object, edges: int) -> int:
    """Return how many of its dependencies a job requires; refuse numbers outside of 1 to their count."""
    number = int.__int__(require) if is_a(require, int) and not is_a(require, bool) else 0
    if not 1 <= number <= edges:
        allowed = f"1 to {edges}, the number of dependencies" if edges else "None: this job has no dependencies"
        raise ConfigurationError("require", require, allowed=allowed)
    return number
