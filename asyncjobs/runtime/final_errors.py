"""Find out whether a failed body is to be tried again: look at its error, and at all that led to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

from asyncjobs.checks import is_a
from asyncjobs.core.codec.names import attribute
from asyncjobs.exceptions import JobNotCompletedError
from asyncjobs.runtime.step_values import StepNotKeptError

E = TypeVar("E", bound=BaseException)
_MARK = "__asyncjobs_final__"

_cause = cast("Callable[[BaseException], BaseException | None]", BaseException.__dict__["__cause__"].__get__)
_context = cast("Callable[[BaseException], BaseException | None]", BaseException.__dict__["__context__"].__get__)
_members = cast("Callable[[BaseException], Sequence[BaseException]]", BaseExceptionGroup.__dict__["exceptions"].__get__)


def mark_final(error: E) -> E:
    """Prevent automatic retries of a job that fails with this error, or because of it. Return the error."""
    error.__dict__[_MARK] = True
    return error


def is_final(error: BaseException) -> bool:
    """Return whether another attempt would be pointless: the result of a step is lost, a question was not answered, or
    the error is marked so.

    This includes errors that such an error caused, or that were raised while one was handled.
    """
    return any(
        is_a(one, StepNotKeptError) or (is_a(one, JobNotCompletedError) and one.final) or attribute(one, _MARK) is True
        for one in causes_of(error)
    )


def is_caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Return whether an error is of that kind, contains one, or has one among its causes and contexts."""
    return any(is_a(one, kind) for one in causes_of(error))


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its causes and contexts, and the members of exception groups, recursively."""
    seen: set[int] = set()
    level: list[BaseException | None] = [error]
    while level:
        one = level.pop()
        if one is None or id(one) in seen:
            continue
        yield one
        seen.add(id(one))
        level += (_cause(one), _context(one))  # bypasses attributes that a class of the program may define
        if issubclass(type(one), BaseExceptionGroup):
            level += _members(one)
