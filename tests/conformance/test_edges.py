"""Rule 4.1: what a dependency becomes, who is released, who is skipped, and why."""

from __future__ import annotations

from itertools import permutations

import pytest

from asyncjobs.models import Edge, Outcome
from tests.conformance.support import (
    BROKEN,
    COMPLETED,
    FATAL,
    MET,
    OPEN,
    PASSED,
    PENDING,
    SKIPPED,
    STOPPED,
    SUCCESS,
    Store,
    new,
)

pytestmark = pytest.mark.anyio


async def test_a_job_waits_until_every_dependency_completed(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a", "b"))
    assert await hand.claim() == ["a", "b"]
    await hand.succeed("a")
    assert await store.edges("c") == {"a": MET, "b": OPEN}
    assert not (await store.job("c")).dependencies_met
    assert await hand.claim() == []
    await hand.succeed("b")
    assert (await store.job("c")).dependencies_met
    assert await hand.claim() == ["c"]


@pytest.mark.parametrize("outcome", [FATAL, STOPPED])
async def test_a_required_dependency_that_did_not_complete_skips(store: Store, outcome: Outcome) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a", "b"))
    await hand.claim()
    await hand.end("a", outcome)
    job = await store.job("c")
    assert (job.status, job.because, job.dependencies_met) == (SKIPPED, "a", False)
    assert job.finished_at is not None
    assert await store.edges("c") == {"a": BROKEN, "b": OPEN}
    event = (await store.events("c"))[-1]
    assert (event.type, event.status, event.data) == ("skipped", SKIPPED, {"because": "a"})
    assert (await store.backend.get_results(["c"]))["c"].because == "a"


@pytest.mark.parametrize("outcome", [FATAL, STOPPED])
async def test_an_optional_dependency_may_end_otherwise(store: Store, outcome: Outcome) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a?", "b"))
    await hand.claim()
    await hand.end("a", outcome)
    assert await store.edges("c") == {"a": PASSED, "b": OPEN}
    assert await hand.claim() == []
    await hand.succeed("b")
    assert await hand.claim() == ["c"]


async def test_a_skip_runs_down_with_its_root_cause(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "b"), new("d", "c?"), new("e", "d", "c?"))
    await hand.run("a", outcome=FATAL)
    assert await store.statuses("b", "c", "d", "e") == [SKIPPED, SKIPPED, PENDING, PENDING]
    assert [(await store.job(i)).because for i in ("b", "c")] == ["a", "a"]
    assert await store.edges("e") == {"c": PASSED, "d": OPEN}
    assert await hand.claim() == ["d"]


async def test_the_first_verdict_stands(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a", "b"))
    await hand.claim()
    await hand.fail("b")
    events = await store.types("c")
    await hand.fail("a")
    assert (await store.job("c")).because == "b"
    assert await store.edges("c") == {"a": BROKEN, "b": BROKEN}
    assert await store.types("c") == events


async def test_in_one_batch_the_first_broken_edge_is_the_cause(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a", "b"))
    await hand.claim()
    await hand.ends({"b": FATAL, "a": FATAL})
    assert (await store.job("c")).because == "b"


async def test_in_one_batch_the_edge_that_decides_is_the_cause_as_in_several(store: Store) -> None:
    hand = await store.hand()
    for first, second in ("ab", "ba"):
        await store.submit(new("a"), new("b"), new("any", "a", "b", require=1), new("below", "any"))
        await hand.claim()
        await hand.ends({first: FATAL, second: FATAL})
        assert [(await store.job(job_id)).because for job_id in ("any", "below")] == [second] * 2
        await store.backend.remove_jobs(["a"], components=True)


async def test_a_diamond_in_one_batch_of_finishes_is_released_once(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "a"), new("d", "b", "c"))
    await hand.run("a")
    await hand.run("b", "c")
    assert (await store.job("d")).dependencies_met
    assert await hand.claim() == ["d"]
    assert await hand.claim() == []
    assert await store.types("d") == ["submitted", "started"]


async def test_a_broken_diamond_is_skipped_once(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"), new("c", "a"), new("d", "b", "c"))
    await hand.run("a", outcome=FATAL)
    assert await store.types("d") == ["submitted", "skipped"]
    assert (await store.job("d")).because == "a"


async def test_success_and_failure_in_one_batch(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("all", "a", "b"), new("any", "a", "b", require=1), new("opt", "a", "b?"))
    await hand.claim()
    await hand.ends({"a": SUCCESS, "b": FATAL})
    assert await store.statuses("all", "any", "opt") == [SKIPPED, PENDING, PENDING]
    assert sorted(await hand.claim()) == ["any", "opt"]


async def test_require_is_ready_as_soon_as_so_many_are_met(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c"), new("d", "a", "b", "c", require=2))
    await hand.claim()
    await hand.succeed("a")
    assert await hand.claim() == []
    await hand.succeed("c")
    assert await hand.claim() == ["d"]
    assert await store.edges("d") == {"a": MET, "b": OPEN, "c": MET}


async def test_require_stays_ready_whatever_comes_later(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a", "b", require=1))
    await hand.claim()
    await hand.succeed("a")
    await hand.fail("b")
    assert await store.edges("c") == {"a": MET, "b": BROKEN}
    assert await hand.claim() == ["c"]
    await hand.succeed("c")
    assert await store.status("c") == COMPLETED


async def test_require_is_skipped_as_soon_as_it_cannot_be_reached(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c"), new("d", "a", "b", "c", require=2))
    await hand.claim()
    await hand.fail("a")
    assert await store.status("d") == PENDING
    await hand.fail("c")
    job = await store.job("d")
    assert (job.status, job.because) == (SKIPPED, "c")
    assert await store.edges("d") == {"a": BROKEN, "b": OPEN, "c": BROKEN}


async def test_with_require_only_completed_dependencies_count(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a?", "b?", require=1))
    await hand.claim()
    await hand.fail("a")
    assert await store.edges("c") == {"a": PASSED, "b": OPEN}
    assert await hand.claim() == []
    await hand.fail("b")
    assert await store.status("c") == SKIPPED


@pytest.mark.parametrize("order", list(permutations("abc")))
async def test_the_order_of_ends_does_not_change_the_verdict(store: Store, order: tuple[str, ...]) -> None:
    outcomes = {"a": SUCCESS, "b": FATAL, "c": SUCCESS}
    hand = await store.hand()
    await store.submit(
        new("a"),
        new("b"),
        new("c"),
        new("all", "a", "b", "c"),
        new("opt", "a", "b?", "c"),
        new("two", "a", "b", "c", require=2),
        new("three", "a", "b", "c", require=3),
    )
    await hand.claim()
    for job_id in order:
        await hand.end(job_id, outcomes[job_id])
    assert await store.statuses("all", "opt", "two", "three") == [SKIPPED, PENDING, PENDING, SKIPPED]
    assert sorted(await hand.claim()) == ["opt", "two"]


async def test_a_long_chain_is_skipped_in_one_transaction(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("j0"), *(new(f"j{i}", f"j{i - 1}") for i in range(1, 100)))
    await hand.run("j0", outcome=FATAL)
    assert {(job.status, job.because) for job in (await store.jobs())[1:]} == {(SKIPPED, "j0")}


async def test_edges_are_listed_from_both_ends(store: Store) -> None:
    await store.submit(new("a"), new("b"), new("c", "a", "b?"), new("d", "a"))
    assert list(await store.backend.get_dependencies(["c"])) == [
        Edge("a", "c", False, OPEN),
        Edge("b", "c", True, OPEN),
    ]
    below = await store.backend.get_dependent_jobs(["a", "nobody"])
    assert sorted(edge.child_id for edge in below) == ["c", "d"]
    assert list(await store.backend.get_dependencies(["a"])) == []


async def test_a_job_names_its_dependencies_by_submission(store: Store) -> None:
    await store.submit(new("z"), new("a"), new("none"))
    await store.submit(new("c", "a", "z?", "none"), new("d", "c"), new("twice", "a", "a?"))
    expected = {"c": ("z", "a", "none"), "d": ("c",), "twice": ("a",), "z": (), "a": (), "none": ()}
    assert {job.id: job.depends_on for job in await store.jobs()} == expected
    assert {job.id: job.depends_on for job in await store.backend.get_jobs(list(expected))} == expected
    assert [job.depends_on for job in await store.backend.get_ready_jobs()] == [(), (), ()]


@pytest.mark.parametrize("outcome", [SUCCESS, FATAL, STOPPED], ids=lambda outcome: outcome.kind)
async def test_a_job_names_its_dependencies_however_they_ended(store: Store, outcome: Outcome) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("all", "a", "b"), new("one", "a", "b", require=1), new("opt", "a?"))
    await hand.claim()
    await hand.end("a", outcome)
    named = {job.id: job.depends_on for job in await store.backend.get_jobs(["all", "one", "opt"])}
    assert named == {"all": ("a", "b"), "one": ("a", "b"), "opt": ("a",)}


async def test_members_of_a_batch_that_name_later_ones_name_them_in_the_order_of_the_batch(store: Store) -> None:
    await store.submit(new("last", "b", "a"), new("a"), new("b"))
    assert (await store.job("last")).depends_on == ("a", "b")


async def test_a_job_with_thousands_of_dependencies_names_each_of_them(store: Store) -> None:
    parents = [f"p{n}" for n in range(store.many(6000))]
    await store.submit(*map(new, parents), new("page", *parents))
    assert (await store.job("page")).depends_on == tuple(parents)


async def test_a_job_that_took_an_id_again_names_no_dependencies_of_the_one_before(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"))
    await hand.run("a")
    await hand.run("b")
    await store.backend.remove_jobs(["a", "b"])
    await store.submit(new("b"), new("a", "b"))
    assert [job.depends_on for job in await store.backend.get_jobs(["a", "b"])] == [("b",), ()]


async def test_deciding_anew_changes_nothing_that_was_right(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"), new("c", "a", "b"), new("d", "a"), new("e", "a?", "b", require=1))
    await hand.claim()
    await hand.succeed("a")
    before = await store.dump()
    ids = ["a", "b", "c", "d", "e", "nobody"]
    assert sorted(await store.backend.mark_job_ready(ids)) == ["d", "e"], "waiting jobs whose dependencies are met"
    assert await store.dump() == before
