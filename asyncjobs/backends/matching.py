"""Decide whether a job matches a ``JobQuery``, for stores that filter in Python."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from asyncjobs.exceptions import ConfigurationError
from asyncjobs.metadata_filters import MetadataFilter, Scalar, alternatives
from asyncjobs.models import JobStatus
from asyncjobs.requests import JobQuery

_LONGEST_CURSOR = 19
"""Digits of the largest number of a job."""


def check_query(query: JobQuery) -> None:
    """Make sure that every field of a query has a possible value.

    :raises ConfigurationError: a field has an impossible value.
    """
    if query.order not in ("oldest", "newest"):
        raise ConfigurationError("JobQuery.order", query.order, allowed="'oldest' or 'newest'")
    if not set(statuses(query) or ()) <= set(JobStatus):
        raise ConfigurationError("JobQuery.status", query.status, allowed=", ".join(JobStatus))
    for field in ("created_after", "created_before"):
        moment: datetime | None = getattr(query, field)
        if moment is not None and moment.tzinfo is None:
            raise ConfigurationError(f"JobQuery.{field}", moment, allowed="a datetime with a time zone")


def statuses(query: JobQuery) -> tuple[JobStatus, ...] | None:
    """Return the statuses that a query asks for; None: any."""
    if query.status is None:
        return None
    return (query.status,) if isinstance(query.status, str) else tuple(query.status)


def cursor_number(field: str, cursor: str | None) -> int | None:
    """Return a cursor as a number; None without one.

    :raises ConfigurationError: it is not a cursor.
    """
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _LONGEST_CURSOR):
        raise ConfigurationError(field, cursor, allowed="a cursor that this store gave")
    return int(cursor)


def contains(stored: Mapping[str, object], wanted: MetadataFilter) -> bool:
    """Return whether each wanted field is stored with one of its values."""
    return all(
        key in stored and any(_equal(stored[key], one) for one in alternatives(value)) for key, value in wanted.items()
    )


def _equal(stored: object, wanted: Scalar) -> bool:
    """Return whether JSON values are equal: 1 equals 1.0, but not true."""
    return stored == wanted and isinstance(stored, bool) == isinstance(wanted, bool)
