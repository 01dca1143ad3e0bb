"""Dependencies: how they are named, what is injected, when a job may start, what happens when a parent fails."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from asyncjobs import (
    ConfigurationError,
    CyclicDependencyError,
    DuplicateJobError,
    JobConflictError,
    JobNotFoundError,
    JobProcessor,
    JobQuery,
    JobRequest,
    JobSkippedError,
    NotSerializableError,
    UnknownDependencyError,
)
from asyncjobs.processor import get_engine
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PATIENCE,
    PENDING,
    SKIPPED,
    Held,
    add,
    collect,
    echo,
    echo_sync,
    fail,
    nothing,
    types,
    within,
)

pytestmark = pytest.mark.anyio


# -- depends_on


@pytest.mark.parametrize("form", ["id", "handle", "list", "tuple", "set", "optional", "mixed"])
async def test_depends_on_takes_ids_handles_and_optional(jp: JobProcessor, form: str) -> None:
    held = Held()
    parent = await jp.submit_job(held.body, job_id="parent", local=True)
    other = await jp.submit_job(nothing, job_id="other")
    forms: dict[str, Any] = {
        "id": "parent",
        "handle": parent,
        "list": ["parent", other],
        "tuple": (parent, "other"),
        "set": {"parent", "other"},
        "optional": jp.optional(parent),
        "mixed": [jp.optional("other"), parent],
    }
    child = await jp.submit_job(nothing, depends_on=forms[form])
    await other
    await held.started.wait()
    assert await child.status() is PENDING
    held.go.open()
    assert await child is None
    done = await jp.get_job(child)
    assert done.started_at is not None
    assert done.started_at >= ((await jp.get_job("parent")).finished_at or done.started_at)


async def test_a_job_starts_only_after_all_its_parents(jp: JobProcessor) -> None:
    order: list[str] = []

    async def note(name: str, *_: Any) -> str:
        order.append(name)
        return name

    async with jp.batch() as batch:
        a = batch.submit_job(note, "a", local=True)
        b = batch.submit_job(note, "b", a, local=True)
        c = batch.submit_job(note, "c", a, local=True)
        d = batch.submit_job(note, "d", depends_on=[b, c], local=True)
    assert await d == "d"
    assert order[0] == "a"
    assert order[-1] == "d"
    assert len(order) == 4


async def test_a_dependency_that_has_ended_already_counts_at_once(jp: JobProcessor) -> None:
    done = await jp.submit_job(echo, 5)
    await done
    failed = await jp.submit_job(fail, max_retries=0)
    await jp.wait_for_job(failed)
    assert await (await jp.submit_job(add, done, 1)) == 6
    skipped = await jp.submit_job(echo, failed)
    assert await skipped.status() is SKIPPED
    assert await (await jp.submit_job(nothing, depends_on=jp.optional(failed))) is None


async def test_a_failed_parent_skips_its_descendants_and_names_the_root(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        root = batch.submit_job(fail, job_id="root", max_retries=0)
        batch.submit_job(echo, root, job_id="child")
        batch.submit_job(nothing, depends_on="child", job_id="grandchild")
    for job_id in ("child", "grandchild"):
        with pytest.raises(JobSkippedError) as caught:
            await jp.handle(job_id)
        assert caught.value.because == "root"
        assert (await jp.get_job(job_id)).attempt == 0


async def test_an_optional_parent_that_fails_gives_none(jp: JobProcessor) -> None:
    parent = await jp.submit_job(fail, max_retries=0)
    job = await jp.submit_job(collect, parent, depends_on=[jp.optional(parent)])
    # Named as an argument, it is required, unless every mention is optional: so it is here.
    assert await job == [[None], {}]


async def test_an_optional_parent_that_completes_gives_its_result(jp: JobProcessor) -> None:
    parent = await jp.submit_job(echo, 7)
    assert await (await jp.submit_job(echo, parent, depends_on=jp.optional(parent))) == 7


# -- require=k


async def test_require_k_starts_with_the_kth_completed_parent(jp: JobProcessor) -> None:
    held = [Held(i) for i in range(3)]
    parents = [await jp.submit_job(h.body, local=True) for h in held]
    job = await jp.submit_job(collect, parents, require=2)
    held[1].go.open()
    await parents[1]
    assert await job.status() is PENDING
    held[2].go.open()
    assert await job == [[[None, 1, 2]], {}]
    assert await parents[0].status() is not COMPLETED  # nobody waited for the surplus one
    held[0].go.open()
    await parents[0]


async def test_require_k_is_skipped_when_k_cannot_be_reached(jp: JobProcessor) -> None:
    parents = [await jp.submit_job(fail, job_id=f"f{i}", max_retries=0) for i in range(2)]
    good = await jp.submit_job(nothing)
    job = await jp.submit_job(nothing, depends_on=[*parents, good], require=2)
    await jp.wait_for_job(job)
    assert await job.status() is SKIPPED
    assert (await jp.get_job(job)).because in parents


# -- handles as arguments


async def test_results_are_injected_wherever_a_handle_may_stand(jp: JobProcessor) -> None:
    one, two = await jp.submit_job(echo, 1), await jp.submit_job(echo_sync, 2)
    job = await jp.submit_job(
        collect, one, [two, [one]], (one, 5), {"k": two, "deep": [{"x": (one,)}]}, named=two, plain="text"
    )
    assert await job == [[1, [2, [1]], (1, 5), {"k": 2, "deep": [{"x": (1,)}]}], {"named": 2, "plain": "text"}]


async def test_one_handle_in_two_places_is_one_dependency(jp: JobProcessor) -> None:
    one = await jp.submit_job(echo, [1])
    job = await jp.submit_job(collect, one, one, depends_on=one)
    assert await job == [[[1], [1]], {}]
    assert len(await get_engine(jp).backend.get_dependencies([job.id])) == 1


async def test_an_id_as_a_plain_string_is_only_a_string(jp: JobProcessor) -> None:
    one = await jp.submit_job(echo, 1)
    assert await (await jp.submit_job(echo, one.id)) == one.id


class Pair(NamedTuple):
    left: Any
    right: Any


@pytest.mark.parametrize(
    ("wrap", "where"),
    [
        (lambda h: {h}, "$.args[0]"),
        (lambda h: frozenset([h]), "$.args[0]"),
        (lambda h: {h: 1}, "$.args[0]"),
        (lambda h: [1, {"k": {h}}], "$.args[0][1].k"),
    ],
    ids=["set", "frozenset", "dict key", "nested set"],
)
async def test_a_handle_where_none_can_be_injected_is_refused_with_its_path(
    jp: JobProcessor, wrap: Any, where: str
) -> None:
    handle = await jp.submit_job(nothing)
    before = len(await jp.find_jobs())
    with pytest.raises(NotSerializableError) as caught:
        await jp.submit_job(echo, wrap(handle))
    assert caught.value.where.startswith(where)
    assert len(await jp.find_jobs()) == before


async def test_a_result_that_is_large_is_injected_too(jp: JobProcessor) -> None:
    parent = await jp.submit_job(echo, b"x" * 300_000)
    assert len(await (await jp.submit_job(echo, parent))) == 300_000


# -- batches


async def test_members_of_a_batch_refer_to_each_other_in_any_order(jp: JobProcessor) -> None:
    for n, order in enumerate(permutations("abc")):
        requests = {
            "a": JobRequest(func=echo, args=(1,), job_id=f"a{n}"),
            "b": JobRequest(func=add, args=(jp.handle(f"a{n}"), 10), job_id=f"b{n}"),
            "c": JobRequest(func=add, args=(jp.handle(f"b{n}"), 100), job_id=f"c{n}", depends_on=f"a{n}"),
        }
        handles = await jp.submit_jobs([requests[name] for name in order])
        assert [handle.id for handle in handles] == [f"{name}{n}" for name in order]
        assert await jp.handle(f"c{n}") == 111


async def test_a_batch_with_one_bad_member_stores_nothing(jp: JobProcessor) -> None:
    await jp.submit_job(echo, 1, job_id="taken")
    good = [JobRequest(func=nothing, job_id=f"good{i}") for i in range(3)]
    bad: list[tuple[JobRequest, type[Exception]]] = [
        (JobRequest(func=nothing, depends_on="nobody"), UnknownDependencyError),
        (JobRequest(func=nothing, job_id="taken"), DuplicateJobError),
        (JobRequest(func=nothing, job_id="good0"), DuplicateJobError),
        (JobRequest(func=echo, args=(2,), job_id="taken", if_exists="return"), JobConflictError),
        (JobRequest(func=nothing, job_id="self", depends_on="self"), CyclicDependencyError),
        (JobRequest(func=nothing, timeout=-1), ConfigurationError),
    ]
    for request, error in bad:
        with pytest.raises(error):
            await jp.submit_jobs([*good[:2], request, good[2]])
    assert [job.id for job in await jp.find_jobs()] == ["taken"]
    assert len(jp.dag) == 0
    assert await jp.submit_jobs(good)  # and the ids are free


async def test_leaving_a_batch_by_an_error_stores_nothing(jp: JobProcessor) -> None:
    with pytest.raises(RuntimeError, match="changed my mind"):
        async with jp.batch() as batch:
            handle = batch.submit_job(nothing)
            raise RuntimeError("changed my mind")
    with pytest.raises(JobNotFoundError):
        await handle


async def test_an_empty_batch_is_nothing(jp: JobProcessor) -> None:
    async with jp.batch():
        pass
    assert await jp.submit_jobs([]) == []
    assert await jp.map_jobs(echo, []) == []
    assert await jp.find_jobs() == []


async def test_a_handle_of_a_batch_with_its_own_id_is_that_id(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        handle = batch.submit_job(echo, 3, job_id="mine")
        drawn = batch.submit_job(echo, handle)
    assert handle == "mine"
    assert await drawn == 3


# -- cycles


async def test_a_cycle_prints_its_path(jp: JobProcessor) -> None:
    with pytest.raises(CyclicDependencyError) as caught:
        await jp.submit_jobs(
            [
                JobRequest(func=nothing, job_id="a", depends_on="c"),
                JobRequest(func=nothing, job_id="b", depends_on="a"),
                JobRequest(func=nothing, job_id="c", depends_on="b"),
            ]
        )
    path = caught.value.path
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}
    follows = {("a", "b"), ("b", "c"), ("c", "a")}  # the way work would flow
    assert set(pairwise(path)) == follows
    assert " → ".join(path) in str(caught.value)
    assert await jp.find_jobs() == []


async def test_a_cycle_through_arguments_is_one_too(jp: JobProcessor) -> None:
    with pytest.raises(CyclicDependencyError):
        await jp.submit_jobs(
            [
                JobRequest(func=echo, args=(jp.handle("b"),), job_id="a"),
                JobRequest(func=echo, args=([jp.handle("a")],), job_id="b"),
            ]
        )


async def test_an_optional_cycle_is_one_too(jp: JobProcessor) -> None:
    with pytest.raises(CyclicDependencyError):
        await jp.submit_jobs([JobRequest(func=nothing, job_id="a", depends_on=jp.optional("a"))])


@pytest.mark.parametrize("parent", ["id", "handle", "optional", "argument"])
async def test_an_id_that_is_taken_is_no_cycle(jp: JobProcessor, parent: str) -> None:
    first = await jp.submit_job(collect, job_id="taken")
    given: dict[str, Any] = {
        "id": {"depends_on": "taken"},
        "handle": {"depends_on": [first]},
        "optional": {"depends_on": jp.optional(first)},
        "argument": {"args": (first,)},
    }[parent]
    with pytest.raises(DuplicateJobError):
        await jp.submit_job(collect, job_id="taken", **given)
    again = jp.submit_job(collect, job_id="taken", if_exists="return", **given)
    if parent == "argument":
        with pytest.raises(JobConflictError):
            await again
    else:
        assert await again == "taken"
    assert len(await jp.find_jobs()) == 1


async def test_a_taken_id_closes_no_cycle_through_others_of_its_batch(jp: JobProcessor) -> None:
    await jp.submit_job(nothing, job_id="a")
    circle = [
        JobRequest(func=nothing, job_id="a", depends_on="b"),
        JobRequest(func=nothing, job_id="b", depends_on="a"),
    ]
    with pytest.raises(DuplicateJobError):
        await jp.submit_jobs(circle)
    assert await jp.submit_jobs(circle, if_exists="return") == ["a", "b"]
    await within(PATIENCE, jp.drain())
    free = [replace(request, job_id=f"{request.job_id}2", depends_on=f"{request.depends_on}2") for request in circle]
    with pytest.raises(CyclicDependencyError):
        await jp.submit_jobs(free, if_exists="return")


# -- retry, and the live graph


async def test_retrying_the_cause_revives_what_was_skipped(jp: JobProcessor) -> None:
    works: list[bool] = []

    async def flaky() -> int:
        if not works:
            raise ValueError("not yet")
        return 4

    async with jp.batch() as batch:
        root = batch.submit_job(flaky, job_id="root", max_retries=0, local=True)
        child = batch.submit_job(add, root, 1, job_id="child")
    await jp.wait_for_job(child)
    assert await child.status() is SKIPPED
    works.append(True)
    assert await root.retry() is PENDING
    assert await root == 4
    assert await child == 5
    assert await types(jp, "child") == ["submitted", "skipped", "retrying", "started", "completed"]


async def test_cancelling_a_job_lets_its_optional_dependents_run(jp: JobProcessor) -> None:
    parent = await jp.submit_job(nothing, delay=3600)
    child = await jp.submit_job(echo, 1, depends_on=jp.optional(parent))
    await parent.cancel()
    assert await child == 1


async def test_the_live_graph_holds_unfinished_jobs_with_edges_only(jp: JobProcessor) -> None:
    held = Held(1)
    parent = await jp.submit_job(held.body, job_id="parent", local=True)
    child = await jp.submit_job(echo, parent, job_id="child")
    await jp.submit_job(echo, child, job_id="grandchild")
    await jp.submit_job(nothing, job_id="alone")
    assert "child" in jp.dag
    assert "grandchild" in jp.dag
    assert "alone" not in jp.dag
    assert set(jp.dag.graph.edges) == {("parent", "child"), ("child", "grandchild")}
    assert jp.dag.topological_order() == ["child", "grandchild"]
    held.go.open()
    await jp.drain(timeout=10)
    assert len(jp.dag) == 0
    assert len(jp.dag.graph) == 0


async def test_a_diamond_whose_tip_is_released_once(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        a = batch.submit_job(echo, 1)
        sides = [batch.submit_job(add, a, i) for i in range(20)]
        tip = batch.submit_job(collect, sides, job_id="tip")
    assert (await tip)[0][0] == [1 + i for i in range(20)]
    assert (await types(jp, "tip")).count("started") == 1


async def test_a_cancelled_parent_skips_too(jp: JobProcessor) -> None:
    parent = await jp.submit_job(nothing, delay=3600)
    child = await jp.submit_job(nothing, depends_on=parent)
    assert await parent.cancel() is CANCELLED
    assert await child.status() is SKIPPED
    assert {job.status for job in await jp.find_jobs(JobQuery(status=[FAILED, COMPLETED]))} == set()
