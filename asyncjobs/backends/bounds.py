"""What a question may ask for, the same in every store."""

from __future__ import annotations

from asyncjobs.exceptions import ConfigurationError

LARGEST_LIMIT = 1000
LOOKED_AT = 5000
"""Completed jobs that are looked at for how long a function takes: a poll must not become slow with the store."""


def check_limit(limit: object) -> None:
    """:raises ConfigurationError: it is not a number of entries that an answer may have."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= LARGEST_LIMIT:
        raise ConfigurationError("limit", limit, allowed=f"a whole number from 1 to {LARGEST_LIMIT}")


def check_group(field: str, name: str | None) -> None:
    """:raises ConfigurationError: no group can have this name."""
    if name is not None and not encodable(name):
        raise ConfigurationError(field, name, allowed="the name of a group")


def encodable(text: str) -> bool:
    """Whether it is text at all: what holds lone surrogates can be stored nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
