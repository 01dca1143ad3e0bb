"""Submitting: a batch is stored as a whole or not at all, in any order, and knows what is terminal already."""

from __future__ import annotations

import pytest

from asyncjobs.backends.base import NewJob
from asyncjobs.exceptions import (
    ConfigurationError,
    CyclicDependencyError,
    DuplicateJobError,
    JobConflictError,
    JobProcessorError,
    JobStateError,
    UnknownDependencyError,
)
from asyncjobs.models import WaitsFor
from tests.conformance.support import (
    CANCELLED,
    COMPLETED,
    FATAL,
    MET,
    OPEN,
    PENDING,
    RELEASED,
    SKIPPED,
    Store,
    new,
)

pytestmark = pytest.mark.anyio


async def test_one_job_is_submitted_as_a_batch_of_one(store: Store) -> None:
    assert await store.backend.enqueue_job(new("a")) == "a"
    assert await store.backend.enqueue_job(new("b", "a")) == "b"
    assert await store.statuses("a", "b") == [PENDING, PENDING]
    assert await store.types("b") == ["submitted"]
    assert await store.backend.enqueue_job(new("a", if_exists="return")) == "a"
    refused = [
        (new("a"), DuplicateJobError),
        (new("c", "nobody"), UnknownDependencyError),
        (new("a", call=b"x", if_exists="return"), JobConflictError),
    ]
    for job, error in refused:
        with pytest.raises(error):
            await store.backend.enqueue_job(job)
    assert len(await store.jobs()) == 2


async def test_one_job_is_submitted_from_inside_its_parent_only_while_that_runs(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    assert await store.backend.enqueue_job(new("a/1"), parent=hand.held["a"]) == "a/1"
    assert (await store.job("a/1")).parent_id == "a"
    await hand.succeed("a")
    with pytest.raises(JobStateError):
        await store.backend.enqueue_job(new("a/2"), parent=hand.held["a"])


async def test_a_submitted_job_is_pending_and_ready(store: Store) -> None:
    assert list(await store.submit(new("a"))) == ["a"]
    job = await store.job("a")
    assert (job.status, job.waits_for, job.dependencies_met, job.attempt) == (PENDING, WaitsFor.WORKER, True, 0)
    assert await store.types("a") == ["submitted"]


async def test_ids_come_back_in_the_order_of_the_batch(store: Store) -> None:
    assert list(await store.submit(new("c", "b"), new("b", "a"), new("a"))) == ["c", "b", "a"]


async def test_an_empty_batch_stores_nothing(store: Store) -> None:
    assert list(await store.submit()) == []
    assert (await store.dump()).jobs == []


async def test_a_batch_may_name_a_job_before_it_comes(store: Store) -> None:
    await store.submit(new("c", "b"), new("b", "a"), new("a"))
    assert [job.id for job in await store.backend.get_ready_jobs()] == ["a"]
    assert await store.edges("c") == {"b": OPEN}


async def test_an_id_that_exists_is_refused(store: Store) -> None:
    await store.submit(new("a"))
    with pytest.raises(DuplicateJobError) as refused:
        await store.submit(new("a"))
    assert refused.value.job_id == "a"


async def test_an_id_twice_in_a_batch_is_refused(store: Store) -> None:
    with pytest.raises(DuplicateJobError):
        await store.submit(new("a"), new("a"))


async def test_ids_differ_by_case(store: Store) -> None:
    await store.submit(new("a"), new("A"))
    with pytest.raises(UnknownDependencyError):
        await store.submit(new("b", "aa"))
    assert [job.id for job in await store.backend.get_jobs(["A", "a"])] == ["A", "a"]


async def test_return_gives_the_existing_job_and_changes_nothing(store: Store) -> None:
    await store.submit(new("a", priority=1, group="g"))
    before = await store.dump()
    assert list(await store.submit(new("a", if_exists="return", priority=5))) == ["a"]
    assert await store.dump() == before


async def test_return_does_not_look_at_the_dependencies_of_an_existing_job(store: Store) -> None:
    await store.submit(new("a"))
    assert list(await store.submit(new("a", "a", "nobody", if_exists="return"))) == ["a"]
    assert await store.edges("a") == {}


async def test_return_stores_the_rest_of_the_batch(store: Store) -> None:
    await store.submit(new("a"))
    assert list(await store.submit(new("b", "a"), new("a", if_exists="return"))) == ["b", "a"]
    assert await store.edges("b") == {"a": OPEN}


async def test_return_takes_the_same_job_twice_in_a_batch(store: Store) -> None:
    assert list(await store.submit(new("a", if_exists="return"), new("a", if_exists="return"))) == ["a", "a"]
    assert await store.types("a") == ["submitted"]


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (new("a", function="app:other", if_exists="return"), "another function"),
        (new("a", function="/srv/shop.py:run", if_exists="return"), "another function"),
        (new("a", call=b"other", if_exists="return"), "other arguments"),
    ],
)
async def test_return_refuses_a_different_job(store: Store, other: NewJob, differs: str) -> None:
    await store.submit(new("a"))
    with pytest.raises(JobConflictError) as refused:
        await store.submit(other)
    assert (refused.value.job_id, refused.value.differs) == ("a", differs)


async def test_return_takes_a_function_of_a_script_for_that_of_its_module(store: Store) -> None:
    await store.submit(new("a", function="/srv/shop.py:run"), new("b", function="shop:run"))
    script = new("b", function="/srv/shop.py:run", if_exists="return")
    assert list(await store.submit(new("a", function="shop:run", if_exists="return"), script)) == ["a", "b"]
    with pytest.raises(JobConflictError, match="another function"):
        await store.submit(new("a", function="shops:run", if_exists="return"))


async def test_return_refuses_a_different_job_in_the_same_batch(store: Store) -> None:
    with pytest.raises(JobConflictError):
        await store.submit(new("a"), new("a", call=b"other", if_exists="return"))


async def test_an_unknown_dependency_is_refused_by_name(store: Store) -> None:
    await store.submit(new("a"))
    with pytest.raises(UnknownDependencyError) as refused:
        await store.submit(new("b", "a", "nobody", "nothing"))
    assert (refused.value.job_id, refused.value.missing) == ("b", ("nobody", "nothing"))


async def test_a_job_cannot_wait_for_itself(store: Store) -> None:
    with pytest.raises(CyclicDependencyError) as refused:
        await store.submit(new("a", "a"))
    assert refused.value.path == ("a", "a")


async def test_a_cycle_is_refused_with_its_path(store: Store) -> None:
    with pytest.raises(CyclicDependencyError) as refused:
        await store.submit(new("x"), new("a", "c"), new("b", "a"), new("c", "b", "x"))
    path = refused.value.path
    assert path[0] == path[-1]
    assert sorted(path[:-1]) == ["a", "b", "c"]
    assert "".join(path) in ("abca", "bcab", "cabc"), "it reads the way work would flow"


REFUSED = {
    "duplicate": (new("n"), new("stored")),
    "duplicate in the batch": (new("n"), new("n")),
    "conflict": (new("n"), new("stored", call=b"other", if_exists="return")),
    "unknown": (new("n"), new("m", "n", "nobody")),
    "cycle": (new("n"), new("a", "b", "stored"), new("b", "a")),
    "self": (new("n"), new("m", "m?")),
    "require": (new("n"), new("m", "n", require=2)),
}


@pytest.mark.parametrize("batch", REFUSED.values(), ids=REFUSED.keys())
async def test_a_refused_batch_changes_nothing(store: Store, batch: tuple[NewJob, ...]) -> None:
    await store.submit(new("stored", limit=("key", 1)), new("waiting", "stored", limit=("key", 1)))
    before = await store.dump()
    with pytest.raises(JobProcessorError):
        await store.submit(*batch)
    assert await store.dump() == before
    assert list(await store.submit(new("n"))) == ["n"], "and its ids are still free"


async def test_a_dependency_given_twice_is_one_edge(store: Store) -> None:
    await store.submit(new("a"), new("b", "a", "a"))
    hand = await store.hand()
    await hand.run("a")
    assert await store.edges("b") == {"a": MET}
    assert await hand.claim() == ["b"]


@pytest.mark.parametrize("parents", [("a?", "a"), ("a", "a?")])
async def test_of_a_dependency_given_twice_required_wins(store: Store, parents: tuple[str, str]) -> None:
    await store.submit(new("a"), new("b", *parents))
    await (await store.hand()).run("a", outcome=FATAL)
    assert await store.status("b") == SKIPPED


@pytest.mark.parametrize("require", [-1, 0, 3])
async def test_require_is_from_one_to_the_number_of_dependencies(store: Store, require: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await store.submit(new("a"), new("b"), new("c", "a", "b", "a", require=require))
    assert refused.value.field == "require"


async def test_a_completed_dependency_counts_at_once(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.run("a")
    await store.submit(new("b", "a"))
    assert await store.edges("b") == {"a": MET}
    assert await hand.claim() == ["b"]


async def test_a_failed_dependency_skips_at_once(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.run("a", outcome=FATAL)
    await store.submit(new("d", "c"), new("c", "b?"), new("b", "a"), new("e", "b"))
    assert await store.statuses("b", "c", "d", "e") == [SKIPPED, PENDING, PENDING, SKIPPED]
    assert (await store.job("e")).because == "a", "the root cause"
    assert await store.types("b") == ["submitted", "skipped"]
    assert await hand.claim() == ["c"]


async def test_a_cancelled_dependency_skips_at_once(store: Store) -> None:
    await store.submit(new("a"))
    await store.backend.cancel_jobs(["a"])
    await store.submit(new("b", "a"))
    assert await store.statuses("a", "b") == [CANCELLED, SKIPPED]


async def test_require_counts_what_is_terminal_at_submit(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c"))
    await hand.claim()
    await hand.succeed("a")
    await hand.fail("b")
    await store.submit(
        new("one", "a", "b", "c", require=1),
        new("two", "a", "b", "c", require=2),
        new("three", "a", "b", "c", require=3),
    )
    assert await store.statuses("one", "two", "three") == [PENDING, PENDING, SKIPPED]
    assert [(await store.job(i)).dependencies_met for i in ("one", "two", "three")] == [True, False, False]
    assert (await store.job("three")).because == "b"


async def test_run_at_in_the_past_is_now(store: Store) -> None:
    await store.submit(new("a", run_at=store.clock.now() - 1))
    assert [job.id for job in await store.backend.get_ready_jobs()] == ["a"]


async def test_a_delay_counts_from_the_stores_own_now(store: Store) -> None:
    await store.submit(new("a", delay=2_000_000))
    assert (await store.job("a")).waits_for is WaitsFor.TIME
    hand = await store.hand()
    store.clock.advance(1.9)
    assert await hand.claim() == []
    store.clock.advance(0.1)
    assert await hand.claim() == ["a"]


async def test_a_running_attempt_submits_children(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    await store.submit(new("a/1"), parent=hand.held["a"])
    assert (await store.job("a/1")).parent_id == "a"


async def test_an_attempt_that_ended_submits_no_children(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    await hand.claim()
    first = hand.held["a"]
    await hand.end("a", RELEASED)
    before = await store.dump()
    with pytest.raises(JobStateError) as refused:
        await store.submit(new("a/1"), parent=first)
    assert refused.value.job_id == "a"
    assert await store.dump() == before
    assert await hand.claim() == ["a"], "a later attempt"
    with pytest.raises(JobStateError):
        await store.submit(new("a/1"), parent=first)
    await store.submit(new("a/1"), parent=hand.held["a"])
    assert await hand.end("a", FATAL) != COMPLETED
