"""Suggest the known name for an unknown one: a former name, or a misspelled one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

_FORMER_NAMES = {
    "slots": ("num_workers",),
    "workers": ("num_workers",),
    "concurrency": ("num_workers",),
    "max_workers": ("num_workers",),
    "attempts": ("tries", "max_retries"),
    "max_attempts": ("max_retries",),
    "retries": ("max_retries",),
    "path": ("db_path", "db"),
    "database": ("db_path", "db"),
    "dependencies": ("depends_on",),
    "after": ("depends_on",),
    "countdown": ("delay",),
    "eta": ("run_at",),
    "tags": ("metadata",),
    "function": ("func",),
    "find_page": ("find_jobs",),
    "job": ("stream_job",),
    "group": ("stream_group",),
    "all": ("stream_all",),
}
"""Former names of settings and options, and names in similar libraries, that do not resemble the present name."""
_FORMER_NAME = re.compile(rf"(?<![a-z])({'|'.join(_FORMER_NAMES)})$", re.IGNORECASE)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to ``name``, or None if none is close.

    A former name is also found as the end of a longer one: ``--slots``, ``DAEMON_SLOTS``.
    """
    names = list(known)
    renamed = _present_name(name, names)
    if renamed is not None:
        return renamed
    from difflib import get_close_matches  # only errors need it, and every program would pay 4 ms at its start

    matches = get_close_matches(name, names, n=1, cutoff=0.6)
    return matches[0] if matches else None


def _present_name(name: str, names: Collection[str]) -> str | None:
    former = _FORMER_NAME.search(name)
    if former is not None:
        for now in _FORMER_NAMES[former[1].lower()]:
            renamed = name[: former.start()] + _spelled(now, name)
            if renamed in names:
                return renamed
    return None


class FormerAttributes:
    """The base of classes that suggest the present name of a renamed attribute; Python suggests only similar names."""

    __slots__ = ()

    if not TYPE_CHECKING:  # else type checkers would accept any attribute

        def __getattr__(self, name: str) -> Any:
            """Raise the error for an attribute that does not exist."""
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            present = None if name.startswith("_") else _present_name(name, dir(self))
            if present is None:
                raise AttributeError(message, name=name, obj=self)
            raise AttributeError(f"{message}; did you mean {present!r}?")


def _spelled(name: str, like: str) -> str:
    if like.startswith("--"):
        return name.replace("_", "-")
    return name.upper() if like.isupper() else name
