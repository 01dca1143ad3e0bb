"""Ids that begin alike, as a range of the index on ``id``.

It is ordered as the bytes of UTF-8 are, which is the order of code points.
"""

from __future__ import annotations

_LAST = chr(0x10FFFF)
_BEFORE_SURROGATES, _AFTER_SURROGATES = "\ud7ff", "\ue000"


def statement(prefix: str, limit: int) -> tuple[str, list[str | int]]:
    """The statement and its parameters. Not LIKE or GLOB, to which characters of the prefix would mean something."""
    end = prefix_end(prefix)
    if end is None:
        return "SELECT id FROM jobs WHERE id >= ? ORDER BY id LIMIT ?", [prefix, limit]
    return "SELECT id FROM jobs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", [prefix, end, limit]


def prefix_end(prefix: str) -> str | None:
    """The least text above all that begin with ``prefix``; None: there is none.

    Its last character is raised by one, past the surrogates, which no text holds. U+10FFFF has none above it: it is
    dropped, and the one before it is raised.
    """
    prefix = prefix.rstrip(_LAST)
    if not prefix:
        return None
    last = prefix[-1]
    return prefix[:-1] + (_AFTER_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1))
