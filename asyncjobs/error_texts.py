"""Write values and causes into the messages of errors."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Sequence
from typing import cast

_LONGEST_SHOWN = 200
_NAMED = 10
"""The most ids that a message names; the attributes of the error have all of them."""
_name_of = type.__dict__["__name__"].__get__  # not kind.__name__: a metaclass may run code of its own there


def shown(value: object) -> str:
    """Return a short representation of any object for a message, in Python syntax. Never fails."""
    try:
        written = str.__str__(repr(value))
    except Exception:  # border: its own code
        return f"<{_name_of(type(value))} that cannot be printed>"
    return written if len(written) <= _LONGEST_SHOWN else f"{written[:_LONGEST_SHOWN]}…"


def some(ids: Sequence[str]) -> str:
    """Return the first of these ids for a message, and how many more there are."""
    more = len(ids) - _NAMED
    return ", ".join(map(repr, ids[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def shown_path(path: Sequence[str]) -> str:
    """Return a path of ids for a message: both ends of a long one."""
    return " → ".join(path if len(path) <= 2 * _NAMED else (*path[:_NAMED], "…", *path[-_NAMED:]))


def only_error(error: BaseException) -> BaseException:
    """Return the error inside exception groups of one, however deeply nested."""
    while isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        if len(inner) != 1:
            break
        error = inner[0]
    return cast("BaseException", error)


_RETRY_FIRST = re.compile(r"\n  hint: (await jp\.handle\([^\n]*\)\.retry\(\)), then retry this job$")
_RETRIED_ID = re.compile(r"""await jp\.handle\(('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)\.retry\(\)""")


def render_retry(*job_ids: str) -> str:
    """Return the calls that retry these jobs, as they are written in a program."""
    return ", ".join(f"await jp.handle({job_id!r}).retry()" for job_id in job_ids)


def split_cause(message: str) -> tuple[str, tuple[str, ...]]:
    """Return the message of an error without the hint of ``raised_in_body``, and the job ids in that hint."""
    found = _RETRY_FIRST.search(message)
    if found is None:
        return message, ()
    return message[: found.start()], tuple(literal_eval(written) for written in _RETRIED_ID.findall(found[1]))
