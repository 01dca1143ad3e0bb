"""Bound what queries examine and return, and check their arguments, in the same way for every store."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from asyncjobs.checks import encodable
from asyncjobs.core.requests import Keep, StepChange
from asyncjobs.exceptions import ConfigurationError

LARGEST_LIMIT = 1000
LOOKED_AT = 5000
"""The most completed jobs examined for the durations of a function, so that polls stay fast as the store grows."""

LONGEST_KEY = 200
"""The most characters in the key of a step."""
SMALL_VALUE = 65_536
"""Bytes up to which a value is read together with others; a larger one is read alone."""
PAGE_BYTES = 1 << 20
"""The most bytes of values in a page of steps, which has at least one step."""


class Bounds(Struct, frozen=True):
    """How many of the jobs submitted last a store examines for one answer. None: all jobs.

    ``ids`` is for ``find_ids``; ``durations`` counts completed jobs, for ``get_durations``.
    """

    ids: int | None = None
    durations: int = LOOKED_AT


def check_limit(limit: object) -> None:
    """Make sure that an answer may have this number of entries.

    :raises ConfigurationError: ``limit`` is out of range.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= LARGEST_LIMIT:
        raise ConfigurationError("limit", limit, allowed=f"a whole number from 1 to {LARGEST_LIMIT}")


def check_group(field: str, name: str | None) -> None:
    """Make sure that a group can have this name.

    :raises ConfigurationError: it cannot.
    """
    if name is not None and not encodable(name):
        raise ConfigurationError(field, name, allowed="the name of a group")


def check_changes(changes: Sequence[StepChange]) -> None:
    """Make sure that a job can keep values under these keys.

    :raises ConfigurationError: a key is invalid.
    """
    for change in changes:
        if isinstance(change, Keep):
            check_key("key", change.key)
        elif change.prefix:
            check_key("prefix", change.prefix)


def check_key(field: str, key: object) -> None:
    """Make sure that this can be the key of a step.

    :raises ConfigurationError: it cannot.
    """
    if not isinstance(key, str) or not 1 <= len(key) <= LONGEST_KEY or not encodable(key):
        raise ConfigurationError(
            field, key, allowed=f"a text of 1 to {LONGEST_KEY} characters, without lone surrogates"
        )
