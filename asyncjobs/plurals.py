"""Write a number together with its noun, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 job``, ``2,000 jobs``.

    :param one: what follows the number 1: ``job``, ``job is``.
    :param many: what follows any other number, where it is not ``one`` with an ``s``: ``dependencies``, ``jobs are``.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def times(number: int) -> str:
    """Return how often something happened: ``once``, ``2 times``."""
    return "once" if number == 1 else f"{number:,} times"
