"""Decide which lanes of ready jobs a worker may claim from."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeVar

K = TypeVar("K")


class Lane(NamedTuple):
    """What a worker may or may not claim as a whole: a function, in a queue, for an owner (None: any worker)."""

    queue: str
    function: str
    owner: str | None


def split_lanes(
    ready: Iterable[tuple[K, Lane]],
    *,
    worker: str,
    queues: Collection[str] | None,
    functions: Collection[str],
    refused: Collection[str],
) -> tuple[list[K], tuple[str, ...]]:
    """Choose the lanes that a worker claims from, and collect the functions that it has not looked up yet.

    :param ready: lanes that have ready jobs, each with its key in the backend.
    :param queues: those that the worker serves; None: all.
    :param functions: names that the worker has resolved.
    :param refused: names that it failed to resolve.
    :returns: the keys of the lanes to claim from, and the names in neither ``functions`` nor ``refused``.
    """
    chosen: list[K] = []
    unknown: dict[str, None] = {}
    for key, lane in ready:
        if (queues is not None and lane.queue not in queues) or (lane.owner is not None and lane.owner != worker):
            continue
        if lane.function in functions:
            chosen.append(key)
        elif lane.function not in refused:
            unknown[lane.function] = None
    return chosen, tuple(unknown)
