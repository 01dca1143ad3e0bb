"""Read pages of groups with their counts, by name."""

from __future__ import annotations

from typing import Any

from asyncjobs.backends.sqlite.rows import STATUSES
from asyncjobs.models import GroupProgress

_NEXT = "(SELECT min(j.grp) FROM jobs j WHERE j.grp {beyond})"
_COUNTS = ", ".join(
    f"(SELECT count(*) FROM jobs j WHERE j.grp = g.name AND j.status = {code})" for code in range(len(STATUSES))
)


def page_statement(after: str | None, limit: int) -> tuple[str, list[str | int]]:
    """Return the statement and its parameters.

    A skip scan: it jumps from each group to the next one in the index on (group, status, n), and counts there, so that
    it does not read the jobs of groups before and after the page.
    """
    first = _NEXT.format(beyond=">= ?" if after is None else "> ?")
    following = _NEXT.format(beyond="> g.name")
    return (
        f"""
WITH RECURSIVE g(name) AS (
  SELECT {first} UNION ALL SELECT {following} FROM g WHERE g.name IS NOT NULL LIMIT ?
)
SELECT g.name, {_COUNTS} FROM g WHERE g.name IS NOT NULL ORDER BY g.name""",
        [after or "", limit],
    )


def group_from_row(row: tuple[Any, ...]) -> GroupProgress:
    """Make a group of a row of ``page_statement``; statuses without jobs are left out."""
    name, *numbers = row
    counts = {status: number for status, number in zip(STATUSES, numbers, strict=True) if number}
    return GroupProgress(name, sum(numbers), counts)
