"""The short way of a submission in ``core``: plain jobs give the plan that the long way gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from asyncjobs.core import commands
from asyncjobs.core.plain_jobs import insert_plain
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import NewJob
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import JobState
from asyncjobs.models import Dependency, JobStatus, Limit
from tests.unit.plans import NOW, Rows, new

STORED = [
    JobState(1, "parent", JobStatus.IN_PROGRESS, None, attempt=1, worker=7),
    JobState(2, "done", JobStatus.COMPLETED, None, attempt=1),
    JobState(3, "failed", JobStatus.FAILED, None, attempt=1),
]
PARENTS = [None, None, None, (1, 1, 7), (1, 1, 8)]

plain = {
    "priority": st.integers(-3, 3),
    "max_interruptions": st.integers(1, 5),
    "timeout": st.none() | st.floats(1, 9),
    "injects": st.booleans(),
    "owner": st.none() | st.just("w1"),
    "group": st.none() | st.just("g"),
    "metadata": st.none() | st.just(b"{}"),
    "isolation": st.sampled_from(["thread", "process"]),
    "if_exists": st.sampled_from(["raise", "return"]),
}
special: dict[str, st.SearchStrategy[Any]] = {
    "generated": st.just(False),
    "dependencies": st.lists(
        st.builds(Dependency, st.sampled_from(["done", "failed", "parent", "a", "b", "nobody"]), st.booleans()),
        max_size=2,
    ).map(tuple),
    "require": st.none() | st.integers(0, 2),
    "limit": st.none() | st.just(Limit("key", 2)),
    "run_at": st.none() | st.integers(NOW - 5, NOW + 5),
    "delay": st.none() | st.integers(0, 5),
    "gate": st.booleans(),
}
ids = st.sampled_from([*"abcdefgh", "done"])


def job(job_id: str, options: dict[str, Any], odd: dict[str, Any]) -> NewJob:
    return new(job_id, **({"generated": job_id not in ("done", "h")} | options | odd))


plain_jobs = st.builds(job, ids, st.fixed_dictionaries({}, optional=plain), st.just({}))
any_jobs = st.builds(
    job, ids, st.fixed_dictionaries({}, optional=plain), st.fixed_dictionaries({}, optional=special) | st.just({})
)
batches = st.lists(plain_jobs, max_size=4) | st.lists(any_jobs, max_size=4)


def outcome(batch: Sequence[NewJob], parent: tuple[int, int, int] | None) -> tuple[Any, ...]:
    """What the command returns or raises, all that its plan holds then, and how many numbers it has taken."""
    plan = Plan(Rows(STORED), NOW)
    numbers = iter(range(10, 10 + len(batch)))
    try:
        result: Any = commands.enqueue(plan, batch, numbers, lambda n: ("m:f", b""), parent)
    except Exception as error:
        result = type(error), str(error)
    known = [plan.get(n) for n in range(20)]
    loose = plan.events, plan.limits, plan.numbers([*"abcdefgh"]), known
    return result, loose, asdict(plan.take()), list(numbers)


@settings(max_examples=500, deadline=None)
@given(batches, st.sampled_from(PARENTS))
def test_the_plan_is_that_of_the_long_way(batch: list[NewJob], parent: tuple[int, int, int] | None) -> None:
    with patch.object(commands, "insert_plain", lambda *_: None):
        long = outcome(batch, parent)
    assert outcome(batch, parent) == long


@settings(deadline=None)
@given(st.lists(plain_jobs, max_size=4, unique_by=lambda job: job.id))
def test_jobs_with_fresh_ids_that_wait_for_nothing_take_the_short_way(batch: list[NewJob]) -> None:
    fresh = [job for job in batch if job.generated]
    assert insert_plain(Plan(Rows(()), NOW), fresh, range(1, 5)) == list(range(1, len(fresh) + 1))


SPECIAL = {
    "generated": False,
    "dependencies": (Dependency("done"),),
    "require": 1,
    "limit": Limit("key", 2),
    "run_at": NOW + 1,
    "delay": 1,
    "gate": True,
}


@pytest.mark.parametrize("name", SPECIAL)
def test_any_other_job_takes_the_long_way_and_so_do_those_beside_it(name: str) -> None:
    plan = Plan(Rows(STORED), NOW)
    odd = new("b", **({"generated": True} | {name: SPECIAL[name]}))
    assert insert_plain(plan, [new("a", generated=True), odd], range(1, 5)) is None
    assert plan.clean
    assert plan.events == []


def test_every_field_of_a_job_is_tried() -> None:
    given_by_new = {"id", "function", "call", "queue", "retry"}
    assert {*plain, *special} == {*NewJob.__struct_fields__} - given_by_new
    assert {*SPECIAL} == {*special}


def test_a_retry_policy_is_kept() -> None:
    policy = RetryPolicy(max_retries=7)
    batch = [NewJob(id="a", function="m:f", call=b"c", queue="q", retry=policy, generated=True)]
    plan = Plan(Rows(()), NOW)
    assert commands.enqueue(plan, batch, [5], lambda n: ("", b"")) == [5]
    assert plan[5].retry is policy
