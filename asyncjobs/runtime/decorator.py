"""Mark functions with ``@job``, and keep their own defaults for options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, overload

from msgspec import Struct
from msgspec.structs import asdict, replace

from asyncjobs.checks import is_a, refuse_unknown
from asyncjobs.core.codec.names import JOB_OPTIONS, attribute, seems
from asyncjobs.core.retry import RetryPolicy, checked_policy
from asyncjobs.error_texts import shown
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import Isolation, Limit

F = TypeVar("F", bound="Callable[..., Any] | staticmethod[..., Any] | classmethod[Any, ..., Any]")


class JobOptions(Struct, frozen=True, kw_only=True):
    """Defaults that ``@job`` sets on a function; the call site wins."""

    queue: str | None = None
    priority: int | None = None
    limit: tuple[str, int] | Limit | None = None
    retry: RetryPolicy | None = None
    max_retries: int | None = None
    max_interruptions: int | None = None
    timeout: float | None = None
    isolation: Isolation | None = None


NO_OPTIONS = JobOptions()
_GIVE_OUT: tuple[Any, ...] = (staticmethod, classmethod)


@overload
def job(func: F, /) -> F: ...
@overload
def job(
    *,
    queue: str | None = None,
    priority: int | None = None,
    limit: tuple[str, int] | Limit | None = None,
    retry: RetryPolicy | None = None,
    max_retries: int | None = None,
    max_interruptions: int | None = None,
    timeout: float | None = None,
    isolation: Isolation | None = None,
) -> Callable[[F], F]: ...
def job(
    func: Any = None,
    /,
    *,
    queue: str | None = None,
    priority: int | None = None,
    limit: tuple[str, int] | Limit | None = None,
    retry: RetryPolicy | None = None,
    max_retries: int | None = None,
    max_interruptions: int | None = None,
    timeout: float | None = None,
    isolation: Isolation | None = None,
    **unknown: Any,
) -> Any:
    """Mark a function as a job, with its own defaults for options of ``submit_job``.

    The function itself stays as it is. A marked function may be run by any embedded processor of a program that has
    imported its module, so a stored job runs after a restart without being submitted again.

    :raises ConfigurationError: ``retry`` is not a RetryPolicy, or is of a subclass.
    """
    refuse_unknown("@job", unknown, JobOptions.__struct_fields__, what="option")
    options = JobOptions(
        queue=queue,
        priority=priority,
        limit=limit,
        retry=None if retry is None else checked_policy(retry),
        max_retries=max_retries,
        max_interruptions=max_interruptions,
        timeout=timeout,
        isolation=isolation,
    )

    def mark(function: Any) -> Any:
        # The class gives out its inner function: mark that, so that the order of decorators makes no difference.
        inner: Any = function.__func__ if seems(function, _GIVE_OUT) else function
        try:
            setattr(inner, JOB_OPTIONS, options)
        except Exception:  # AttributeError, TypeError; border: its __setattr__ may be code of its own
            raise ConfigurationError(
                "job",
                inner,
                problem=f"{shown(inner)} accepts no attributes, and @job sets one on the function that it marks",
                hint="mark a function that calls it",
            ) from None
        return function

    return mark if func is None else mark(func)


def get_job_options(func: Callable[..., Any]) -> JobOptions:
    """Return the options that ``@job`` set on a callable. The outer one of partials wins, option by option."""
    if type(func) is FunctionType:  # nearly always: an attribute of one is read without running anything
        return found if type(found := getattr(func, JOB_OPTIONS, None)) is JobOptions else NO_OPTIONS
    found = attribute(func, JOB_OPTIONS)
    options = found if is_a(found, JobOptions) else NO_OPTIONS  # a mock or a proxy has any attribute
    if not seems(func, functools.partial):
        return options
    inner = get_job_options(func.func)
    if options is NO_OPTIONS or inner is NO_OPTIONS:
        return inner if options is NO_OPTIONS else options
    return replace(inner, **{name: value for name, value in asdict(options).items() if value is not None})
