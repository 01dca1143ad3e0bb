"""How long to wait before it is tried again."""

from __future__ import annotations

import random

_FIRST = 0.5
_LONGEST = 4.0
"""Seconds: however long a server was away, it is found again that soon."""


def pause_before(failures: int) -> float:
    """Seconds before the next attempt, after so many that failed: doubled each time, and never the same for all."""
    return min(_LONGEST, _FIRST * 2 ** min(failures - 1, 16)) * random.uniform(0.5, 1.0)
