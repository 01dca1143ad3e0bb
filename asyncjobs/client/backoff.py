"""Compute the pause before a retry."""

from __future__ import annotations

import random

_FIRST = 0.5
_LONGEST = 4.0
"""Longest pause in seconds, so that the client notices soon when the server is available again."""


def pause_before(failures: int) -> float:
    """Return the seconds to wait after so many failures: doubled each time, with jitter."""
    return min(_LONGEST, _FIRST * 2 ** min(failures - 1, 16)) * random.uniform(0.5, 1.0)
