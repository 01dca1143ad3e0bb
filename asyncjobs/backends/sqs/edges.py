"""Look at edges: what they do to the row of a dependent, and whether the edges that it has settled decide about it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, structs

from asyncjobs.backends.sqs.loading import Child
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.core import edges as core
from asyncjobs.core.state import JobState
from asyncjobs.models import EdgeState, JobStatus, WaitsFor


class Edge(Struct, frozen=True):
    """An edge from a job that has ended."""

    parent: Row
    child: Child


def leads(child: Child, row: Row) -> bool:
    """Return whether an edge leads to this row; in a damaged store it may lead nowhere."""
    return row.n == child.n and child.place < len(row.edges)


def still_over(parent: Row, now: Row | None) -> Row | None:
    """Return a parent as it is now; None if it is not over any more."""
    return now if now is not None and now.n == parent.n and now.state.status.terminal else None


def is_done(child: Child, row: Row) -> bool:
    """Return whether there is nothing to do about an edge to this row."""
    return row.edges[child.place] != EdgeState.OPEN and not verdict_is_due(row)


def mere_counts(edges: Sequence[Edge], row: Row) -> dict[int, int]:
    """Return the places and states of the first of these edges to a row, as many as only count and decide nothing."""
    found: dict[int, int] = {}
    state = row.state
    for edge in edges:
        place = edge.child.place
        if place in found or not leads(edge.child, row) or row.edges[place] != EdgeState.OPEN:
            break
        settled = core.settle(edge.parent.state, edge.child.optional)
        counted = core.count_settled(state, settled, 0)
        if not isinstance(counted, JobState) or structs.replace(counted, open=state.open, met=state.met) != state:
            break
        state, found[place] = counted, int(settled.state)
    return found


def verdict_is_due(row: Row) -> bool:
    """Return whether the settled edges of a waiting job decide about it, as ``core.edges.decide`` does."""
    state = row.state
    if state.status is not JobStatus.PENDING or state.waits_for is not WaitsFor.DEPENDENCIES:
        return False
    if state.require is None:
        return state.open == 0 or int(EdgeState.BROKEN) in row.edges
    return state.met >= state.require or state.met + state.open < state.require


def same_place(before: Row, after: Row) -> bool:
    """Return whether nothing changed but the counts of edges, which are counted from their states."""
    same = structs.replace(after.state, open=before.state.open, met=before.state.met)
    return same == before.state and after.gate == before.gate
