"""``@job``: defaults for a function's options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import Isolation, Limit
from asyncjobs.runtime.functions import JOB_OPTIONS


class JobOptions(Struct, frozen=True, kw_only=True):
    """Defaults that ``@job`` leaves on a function; the call site wins."""

    queue: str | None = None
    priority: int | None = None
    limit: tuple[str, int] | Limit | None = None
    retry: RetryPolicy | None = None
    max_retries: int | None = None
    max_interruptions: int | None = None
    timeout: float | None = None
    isolation: Isolation | None = None


def job(
    func: Callable[..., Any] | None = None,
    *,
    queue: str | None = None,
    priority: int | None = None,
    limit: tuple[str, int] | Limit | None = None,
    retry: RetryPolicy | None = None,
    max_retries: int | None = None,
    max_interruptions: int | None = None,
    timeout: float | None = None,
    isolation: Isolation | None = None,
) -> Any:
    """Decorator: mark a function as a job, with its own defaults for options of ``submit_job``.

    The function itself stays as it is. A marked function may be run by any embedded processor of a program that has
    imported its module, so a stored job is taken up again after a restart without being submitted once more.
    """
    options = JobOptions(
        queue=queue,
        priority=priority,
        limit=limit,
        retry=retry,
        max_retries=max_retries,
        max_interruptions=max_interruptions,
        timeout=timeout,
        isolation=isolation,
    )

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, JOB_OPTIONS, options)
        return function

    return mark if func is None else mark(func)
