"""Structs that the garbage collector does not follow: nothing in them can come to refer back to them.

They are frozen, so a field refers to what was made before. A cycle would need a field that can change later.
"""

from __future__ import annotations

from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from msgspec import Struct

from asyncjobs.backends.sqlite.connection_cache import RunningRow
from asyncjobs.backends.sqlite.lanes import LaneRow
from asyncjobs.backends.sqlite.plain_claims import Started
from asyncjobs.backends.values import ClaimedJob
from asyncjobs.core.codec import EncodedCall
from asyncjobs.core.edges import Settled
from asyncjobs.core.lanes import Lane
from asyncjobs.core.plan import Record
from asyncjobs.core.requests import AttemptEnd, AttemptRef, Forget, Keep, NewJob, Question
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import Change, EdgeRow, EndedAttempt, GateState, JobState, NewEvent, Stale
from asyncjobs.models import Dependency, Edge, JobError, JobResult, Limit, Outcome
from asyncjobs.runtime.result_cache import _Entry

LEAVES: list[type[Struct]] = [
    *(AttemptEnd, AttemptRef, Change, ClaimedJob, Dependency, Edge, EdgeRow, EncodedCall, EndedAttempt, Forget),
    *(GateState, JobError, JobResult, JobState, Keep, NewEvent, NewJob, Outcome, Record, RunningRow, Settled, Stale),
    *(LaneRow, Started),
    _Entry,
]
FIXED: set[type] = {RetryPolicy, Limit, Lane}
"""Structs with fields of these kinds, and a named tuple, that the collector follows all the same: few are made."""
PLAIN = {
    (NewEvent, "data"): "a dict that the engine makes for the event, or takes from a body as JSON",
    (AttemptEnd, "body_events"): "the same, of events that were made before",
    (ClaimedJob, "retry"): "encoded, or a policy",
}


def is_leaf(kind: Any) -> bool:
    """Whether what is in such a field can never refer to anything that is made later."""
    if kind in (int, str, bytes, float, bool, NoneType) or get_origin(kind) is Literal:
        return True
    if get_origin(kind) in (tuple, UnionType):
        return all(is_leaf(part) for part in get_args(kind) if part is not ...)
    return isinstance(kind, type) and (issubclass(kind, Enum) or kind in LEAVES or kind in FIXED)


@pytest.mark.parametrize("leaf", LEAVES)
def test_nothing_in_a_struct_that_is_not_collected_can_refer_back_to_it(leaf: type[Struct]) -> None:
    assert not leaf.__struct_config__.gc
    assert leaf.__struct_config__.frozen
    kinds = get_type_hints(leaf)
    odd = [name for name in leaf.__struct_fields__ if not is_leaf(kinds[name]) and (leaf, name) not in PLAIN]
    assert odd == []


def kinds_of_struct(kind: type[Struct] = Struct) -> set[type[Struct]]:
    return {one for sub in kind.__subclasses__() for one in (sub, *kinds_of_struct(sub))}


def test_all_of_them_are_named_here() -> None:
    ours = {kind for kind in kinds_of_struct() if kind.__module__.startswith("asyncjobs.")}
    assert {kind for kind in ours if not kind.__struct_config__.gc} <= {*LEAVES}


def test_the_exceptions_are_needed() -> None:
    assert [name for leaf, name in PLAIN if is_leaf(get_type_hints(leaf)[name])] == []


@pytest.mark.parametrize("kind", [dict[str, Any], list[int], Any, object, Question, set[int]])
def test_what_can_change_is_no_leaf(kind: Any) -> None:
    assert not is_leaf(kind)
