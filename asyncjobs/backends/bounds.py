"""Check the arguments of queries, in the same way for every store."""

from __future__ import annotations

from asyncjobs.exceptions import ConfigurationError

LARGEST_LIMIT = 1000
LOOKED_AT = 5000
"""Completed jobs that are examined for how long a function takes: a poll must not become slow with the store."""


def check_limit(limit: object) -> None:
    """Make sure that an answer may have this number of entries.

    :raises ConfigurationError: it may not.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= LARGEST_LIMIT:
        raise ConfigurationError("limit", limit, allowed=f"a whole number from 1 to {LARGEST_LIMIT}")


def check_group(field: str, name: str | None) -> None:
    """Make sure that a group can have this name.

    :raises ConfigurationError: it cannot.
    """
    if name is not None and not encodable(name):
        raise ConfigurationError(field, name, allowed="the name of a group")


def encodable(text: str) -> bool:
    """Return whether a text can be stored at all: one with lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
