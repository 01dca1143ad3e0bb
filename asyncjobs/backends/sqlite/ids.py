"""Convert between the worker ids of the contract and row numbers."""

from __future__ import annotations

from functools import lru_cache


def worker_id(number: int) -> str:
    """Return the contract's id of the worker in row ``number``."""
    return f"w{number}"


@lru_cache(maxsize=256)
def worker_number(worker: str) -> int:
    """Return the row of the worker with this id; 0, which no worker has, for a string that is not a worker's id."""
    digits = worker[1:]
    # isascii: "²" is a digit to isdigit() but not to int(). 18 digits fit into SQLite's integers.
    return int(digits) if worker[:1] == "w" and len(digits) <= 18 and digits.isascii() and digits.isdigit() else 0
