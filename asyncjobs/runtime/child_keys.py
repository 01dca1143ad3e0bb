"""Check the keys of children, and describe mistakes in them."""

from __future__ import annotations

from asyncjobs.core.child_ids import longest_key
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import NO_NAME, Handle

_LONGEST_ID = 512
OTHER_KEY = "use another key for different work"
NO_KEY = "give each child a key: without one they are numbered, and an earlier attempt submitted them in another order"


def check_child_key(key: object) -> None:
    """Check that this can be the key of a child, or is None.

    :raises ConfigurationError: it cannot.
    """
    if isinstance(key, Handle):
        raise ConfigurationError("key", key, allowed="a name", hint=NO_NAME)
    if key is not None and (not isinstance(key, str) or not key):
        raise ConfigurationError("key", key, allowed="a string of at least one character")


def of_key(error: ConfigurationError, parent_id: str, key: str | None) -> ConfigurationError:
    """Return the error for a child's options; if its key makes the id invalid, the error names the key."""
    if error.field != "job_id" or key is None:
        return error
    key = str.__str__(key)
    longest = longest_key(parent_id, _LONGEST_ID)
    text = key if len(key) <= 40 else f"{key[:20]}… ({len(key)} characters)"
    return ConfigurationError("key", text, allowed=f"1 to {longest} characters without control characters")
