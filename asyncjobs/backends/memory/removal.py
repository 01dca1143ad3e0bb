"""Remove finished jobs; ``core.retention`` decides which may go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from asyncjobs.backends.memory.tables import Tables
from asyncjobs.core.retention import Components, refusal


def prune(tables: Tables, before: int, limit: int) -> int:
    """Delete steps that no longer count, then components that ended before this moment, in the order of their ends.

    Stop once about ``limit`` jobs are removed.
    """
    tables.delete_outdated_steps()
    components = Components(before)
    for finished_at, n in takewhile(lambda entry: entry[0] < before, tables.finished):
        components.add(n, finished_at)
    _follow(tables, components)
    removed = 0
    for component in components.going:
        if removed >= limit:
            break
        tables.remove(component)
        removed += len(component)
    return removed


def remove(tables: Tables, ids: Sequence[str], whole: bool) -> list[str]:
    """Remove these jobs, and with ``whole`` all jobs that they are connected with.

    :raises JobStateError: one of them has not ended, or was not named.
    """
    named = set(tables.numbers(ids).values())
    components = Components()
    for n in named:
        components.add(n, tables.rows[n].finished_at)
    if whole:
        _follow(tables, components)
    else:
        _link(tables, components, named)
    refused = components.refused(None if whole else named)
    if refused is not None:
        raise refusal(tables.rows[refused].id, tables.rows[refused].status)
    numbers = sorted(n for component in components.going for n in component)
    removed = [tables.rows[n].id for n in numbers]
    tables.remove(numbers)
    return removed


def _follow(tables: Tables, components: Components) -> None:
    while level := components.take(1):
        _link(tables, components, level)


def _link(tables: Tables, components: Components, numbers: Iterable[int]) -> None:
    for n in numbers:
        for other in tables.neighbours(n):
            components.link(n, other.n, other.finished_at)
