"""Find ids with a common prefix, as a range of the index on ``id``.

The index has the order of the bytes of UTF-8, which is the order of code points.
"""

from __future__ import annotations

_LAST = chr(0x10FFFF)
_BEFORE_SURROGATES, _AFTER_SURROGATES = "\ud7ff", "\ue000"


def statement(prefix: str, limit: int) -> tuple[str, list[str | int]]:
    """Return the statement and its parameters. Not LIKE or GLOB, in which characters of the prefix are wildcards."""
    end = prefix_end(prefix)
    if end is None:
        return "SELECT id FROM jobs WHERE id >= ? ORDER BY id LIMIT ?", [prefix, limit]
    return "SELECT id FROM jobs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", [prefix, end, limit]


def prefix_end(prefix: str) -> str | None:
    """Return the least text above all that begin with ``prefix``; None if there is none.

    Its last character is raised by one, past the surrogates, which no text holds. U+10FFFF is the highest: it is
    dropped, and the character before it is raised.
    """
    prefix = prefix.rstrip(_LAST)
    if not prefix:
        return None
    last = prefix[-1]
    return prefix[:-1] + (_AFTER_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1))
