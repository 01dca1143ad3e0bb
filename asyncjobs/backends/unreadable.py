"""Mark rows that cannot be read, because they are damaged or another program wrote them.

Such a row is shown with a mark, and with stand-ins for its unreadable columns. So it does not fail the page of jobs,
the stream or the claim that it is part of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import json, msgpack

from asyncjobs.core.retry import exception_name
from asyncjobs.models import JobError
from asyncjobs.safe_logging import SafeLogger

PREFIX = "unreadable: "
_REMEMBERED = 10_000
_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str})


def mark(problems: Sequence[str]) -> str:
    """Return the mark of a row, such as ``"unreadable: retry policy (DecodeError: Input data was truncated)"``."""
    return PREFIX + "; ".join(problems)


def problem(what: str, error: Exception) -> str:
    """Return a part of a mark: a field, and why it cannot be read."""
    return f"{what} ({exception_name(type(error)).rpartition('.')[2]}: {str(error)[:200]})"


def unreadable_job(marked: str) -> JobError:
    """Return the error of a job that cannot run because of this mark."""
    return JobError("UnreadableJobError", f"the stored job is {marked}")


def event_data(data: bytes | None) -> dict[str, Any]:
    """Decode the stored data of an event: msgpack of a mapping, or None for an empty one.

    Data that cannot be read, or cannot be sent as JSON, becomes the mark ``{"unreadable": …}``.
    """
    if data is None:
        return {}
    try:
        return read_event_data(data)
    except Exception as error:  # border: any bytes
        return marked_data([problem("event data", error)])


def read_event_data(data: bytes) -> dict[str, Any]:
    """Decode as ``event_data`` does, but raise the error of damaged bytes."""
    read = _mapping.decode(data)
    if not _PLAIN.issuperset(map(type, read.values())):
        json.encode(read)  # keys and values that no stream can send
    return read


def marked_data(problems: Sequence[str]) -> dict[str, Any]:
    """Return the stand-in for the data of an event that cannot be read."""
    return {"unreadable": mark(problems)}


def metadata(data: bytes | str | None) -> dict[str, Any]:
    """Decode the stored metadata of a job: JSON of an object, or None for an empty one.

    :raises Exception: the stored text is damaged; which error depends on the decoder.
    """
    return {} if data is None else _metadata.decode(data)


def _no_extension(code: int, _: memoryview) -> Any:
    raise ValueError(f"it has an extension of type {code}")


_mapping = msgpack.Decoder(dict[str, Any], ext_hook=_no_extension)
_metadata = json.Decoder(dict[str, Any])


class Once:
    """A log of unreadable rows that names each of them once."""

    def __init__(self, logger: SafeLogger) -> None:
        self._logger = logger
        self._known: set[tuple[str, object]] = set()

    def log(self, what: str, key: object, marked: str) -> None:
        """Log that ``what`` (a job, an event) with this key has this mark, unless it was logged before."""
        if (what, key) in self._known:
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known.add((what, key))
        self._logger.error("%s %r in the store is %s", what, key, marked)


class Shape:
    """The types that the columns of a row may have, and the stand-ins for values of other types.

    :param columns: name, types, stand-in; in order.
    """

    def __init__(self, *columns: tuple[str, tuple[type, ...], Any]) -> None:
        self._columns = columns
        self.sound: set[tuple[type, ...]] = set()
        """Types of rows that fit. There are few: a column has one type, or is NULL."""

    def fits(self, row: Sequence[Any]) -> bool:
        """Return whether every column has one of its types."""
        types = tuple(map(type, row))
        if types in self.sound:
            return True
        if any(kind not in allowed for kind, (_, allowed, _) in zip(types, self._columns, strict=True)):
            return False
        self.sound.add(types)
        return True

    def mend(self, row: Sequence[Any], readers: Sequence[Reader]) -> tuple[list[Any], list[str]]:
        """Return the row with stand-ins for what does not fit or cannot be read, and a list of those problems."""
        values: list[Any] = []
        problems: list[str] = []
        for value, (name, allowed, instead) in zip(row, self._columns, strict=True):
            fits = type(value) in allowed
            values.append(value if fits else instead)
            if not fits:
                problems.append(f"{name} ({type(value).__name__})")
        for index, read, instead in readers:
            if values[index] is None:
                continue
            try:
                read(values[index])
            except Exception as error:  # border: any stored value
                values[index] = instead
                problems.append(problem(self._columns[index][0], error))
        return values, problems


Reader = tuple[int, Callable[[Any], object], Any]
"""A column by its place, the function that reads it, and the stand-in if that fails."""
