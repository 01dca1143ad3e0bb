"""What a scenario is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

Better = Literal["higher", "lower"]
Synchronous = Literal["NORMAL", "FULL"]


class Place(Struct, frozen=True):
    """Where and how large: a folder of the scenario's own, and whether it must be over soon."""

    folder: Path
    quick: bool

    def pick(self, full: int, quick: int) -> int:
        """A size: ``full``, or ``quick`` with ``--quick``."""
        return quick if self.quick else full


class Figure(Struct, frozen=True):
    """A measured number. ``name`` is unique within its scenario."""

    name: str
    value: float
    unit: str
    better: Better


class Result(Struct, frozen=True):
    """What a run of a scenario found; ``notes`` are for people."""

    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()


Run = Callable[[Place], Result]
"""A scenario: it starts its own event loop, if it needs one."""


def higher(name: str, value: float, unit: str) -> Figure:
    """A figure of which more is better."""
    return Figure(name, value, unit, "higher")


def lower(name: str, value: float, unit: str) -> Figure:
    """A figure of which less is better."""
    return Figure(name, value, unit, "lower")


def quantile(values: list[float], q: float) -> float:
    """The value below which the share ``q`` of all values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]
