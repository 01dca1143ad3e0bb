"""Encode calls without options by what the first such call of a function has left: arguments, id and parents differ.

A short way of ``Submissions.encode``, and never another one. What it does not know takes the long way; what it refuses,
the long way refuses with the same error, since both bind, encode and measure the arguments by ``encode_bound``, and
nothing else can be refused in a call that has a template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from types import FunctionType
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple, replace

from asyncjobs.core.codec import EncodedCall, bind_arguments, encode_arguments, too_large
from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.requests import NewJob
from asyncjobs.models import Dependency, Handle
from asyncjobs.requests import JobRequest
from asyncjobs.runtime.decorator import JobOptions, get_job_options
from asyncjobs.runtime.requests import checked_arguments

_UNKNOWN = (Handle,)
"""Placeholders for values that exist only later."""
_DEFAULTS = astuple(JobRequest(func=print))[5:]
"""The options of a request: its fields behind ``func``, ``args``, ``kwargs``, ``job_id`` and ``depends_on``."""

Dependencies = Callable[[Any, Sequence[str], object], tuple[Dependency, ...]]
"""Returns the edges of a job, from its option ``depends_on``, the handles among its arguments, and these."""


class _Template(Struct, frozen=True):
    """A job without id and call; ``options`` are those of ``@job`` with which it was made."""

    options: JobOptions
    job: NewJob


class CallTemplates:
    """Templates of functions, each kept while its function lives.

    :param new_id: draws the id of a job.
    :param dependencies: checks what a job depends on.
    """

    def __init__(self, max_value_size: int, new_id: Callable[[], str], dependencies: Dependencies) -> None:
        self._max_value_size = max_value_size
        self._dependencies = dependencies
        self._new_id = new_id
        self._kept: IdentityCache[_Template] = IdentityCache()

    def encode(self, request: JobRequest, new_id: str | None = None) -> NewJob | None:
        """Encode a call by the template of its function; return None if it must take the long way."""
        func = request.func
        known = self._kept.get(func)
        if known is None or known.options is not get_job_options(func) or not _is_plain(request):
            return None
        bound, call = encode_bound(func, *checked_arguments(request), self._max_value_size)
        if not call.handles and type(request.depends_on) is tuple and not request.depends_on:
            return replace(known.job, id=new_id or self._new_id(), call=call.data)
        dependencies = self._dependencies(request.depends_on, call.handles, bound)
        return replace(
            known.job,
            id=new_id or self._new_id(),
            call=call.data,
            injects=bool(call.handles),
            dependencies=dependencies,
        )

    def keep(self, request: JobRequest, job: NewJob) -> None:
        """Keep what the long way has made of a call, if all but arguments, id and parents follows from the function.

        A timeout may cause a warning, and a process of its own is refused by what the main script does meanwhile.
        """
        func = request.func
        if type(func) is not FunctionType or not _is_plain(request):
            return
        if job.timeout is None and job.isolation == "thread":
            template = replace(job, id="", call=b"", injects=False, dependencies=())
            self._kept.put(func, _Template(get_job_options(func), template))


def encode_bound(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], largest: int
) -> tuple[tuple[tuple[Any, ...], Mapping[str, Any]], EncodedCall]:
    """Bind and encode the arguments of a call; return both forms.

    :raises SubmissionError: they do not fit the function, cannot be stored, or have more than ``largest`` bytes.
    """
    bound = bind_arguments(func, args, kwargs, _UNKNOWN)
    call = encode_arguments(func, *bound, Handle)
    if len(call.data) > largest:
        raise too_large("$.args", call.data, largest, "pass")
    return bound, call


def _is_plain(request: JobRequest) -> bool:
    """Return whether a request has no options but ``depends_on``, without ``==``, which may run code of the caller."""
    return type(request) is JobRequest and request.job_id is None and all(map(is_, astuple(request)[5:], _DEFAULTS))
