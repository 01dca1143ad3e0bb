"""Write and read the messages that spread ready jobs over the daemons: each is a hint that only one daemon gets.

A lost hint costs time, a late or doubled one nothing: the table says whether its job is ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, cast

from msgspec import DecodeError, Struct, ValidationError, convert, json

VERSION = 1
GIVEN_BACK_UP_TO = 5
"""Receptions after which a message that this daemon cannot use is deleted: the index of ready jobs has its job."""
_LONGEST_HIDDEN = 60
NO_JOB = ""
"""The job of a message that only ends a poll, whichever process gets it."""


class Hint(Struct, frozen=True, rename={"version": "v", "table": "t", "job": "j", "lane": "l"}):
    """The body of a message. ``table`` is the random id of the table that it is for."""

    version: int
    table: str
    job: str
    lane: str


class Received(Struct, frozen=True):
    """A hint as it was received."""

    queue: str
    handle: str
    job: str
    received: int
    until: float
    """``time.monotonic()`` when it becomes visible again."""
    delay: float | None = None
    """Seconds from its sending until it was received; None if that was not the first time."""


class Kind(Enum):
    """What a message is."""

    JOB = "a hint of this table"
    END_OF_POLL = "of this table, for no job"
    MALFORMED = "of this table, and not to be understood, or of an older version"
    NEWER = "of this table, by a newer version of this package"
    FOREIGN = "of another program, or for another table"


_NOT_IN_XML = "\ufffe\uffff"
"""Characters that JSON has as they are, and SQS does not take in a message."""


def encode(table: str, job: str, lane: str) -> str:
    """Return the body of a message."""
    encoded = json.encode(Hint(VERSION, table, job, lane)).decode()
    for character in _NOT_IN_XML:
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded


def read(body: object, table: str) -> tuple[Kind, Hint | None]:
    """Return what a message is, by its body, and the hint if it is one."""
    try:
        found: Any = json.decode(body if isinstance(body, str) else "")
    except (DecodeError, UnicodeError, RecursionError):
        return Kind.FOREIGN, None
    content = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    if content.get("t") != table:
        return Kind.FOREIGN, None
    version = content.get("v")
    if isinstance(version, int) and version > VERSION:
        return Kind.NEWER, None
    try:
        hint = convert(content, Hint)
    except ValidationError:
        return Kind.MALFORMED, None
    if hint.version != VERSION:
        return Kind.MALFORMED, None
    return (Kind.END_OF_POLL, None) if hint.job == NO_JOB else (Kind.JOB, hint)


def receptions(message: Mapping[str, Any]) -> int:
    """Return how often a message was received, this time included."""
    given = str(message.get("Attributes", {}).get("ApproximateReceiveCount", ""))
    return int(given) if given.isdecimal() else 1


def delay(message: Mapping[str, Any], now: int) -> float | None:
    """Return how many seconds a message took to arrive; None if it was received before.

    :param now: µs since the epoch, by the time of AWS.
    """
    sent = str(message.get("Attributes", {}).get("SentTimestamp", ""))
    if receptions(message) > 1 or not sent.isdecimal():
        return None
    return max(0.0, now / 1e6 - int(sent) / 1e3)


def hidden_for(received: int) -> int:
    """Return for how many seconds a message is hidden that was received so often and could not be used."""
    return min(_LONGEST_HIDDEN, 2 ** min(10, max(0, received - 1)))
