"""Graphs as the web part and the command line show them: all of a group, or what is around a job, up to a limit."""

from __future__ import annotations

import pytest

from asyncjobs import JobProcessor
from asyncjobs.graphs import read_group_graph, read_job_graph

pytestmark = pytest.mark.anyio


async def step(*parents: str) -> str:
    return "done"


async def submit_chain(jp: JobProcessor, length: int) -> list[str]:
    """``0 -> 1 -> 2 …``, each a dependency of the next one, all of the group ``chain``."""
    ids = [str(number) for number in range(length)]
    async with jp.batch() as batch:
        for number, job_id in enumerate(ids):
            batch.submit_job(step, job_id=job_id, group="chain", depends_on=ids[max(0, number - 1) : number])
    return ids


async def test_a_group_of_exactly_the_limit_is_whole(jp: JobProcessor) -> None:
    ids = await submit_chain(jp, 4)
    whole, cut = await read_group_graph(jp, "chain", 4), await read_group_graph(jp, "chain", 3)
    assert (list(whole.jobs), len(whole.edges), whole.cut) == (ids, 3, False)
    assert (list(cut.jobs), len(cut.edges), cut.cut) == (ids[:3], 2, True)


async def test_around_a_job_exactly_the_limit_is_whole(jp: JobProcessor) -> None:
    ids = await submit_chain(jp, 5)
    whole, cut = await read_job_graph(jp, "2", 4, 5), await read_job_graph(jp, "2", 4, 4)
    assert (sorted(whole.jobs), len(whole.edges), whole.cut) == (ids, 4, False)
    assert (len(cut.jobs), cut.cut) == (4, True)


async def test_the_depth_counts_in_each_direction_and_cuts_nothing(jp: JobProcessor) -> None:
    await submit_chain(jp, 5)
    near = await read_job_graph(jp, "2", 1)
    assert (sorted(near.jobs), near.cut) == (["1", "2", "3"], False)
    assert {(edge.parent_id, edge.child_id) for edge in near.edges} == {("1", "2"), ("2", "3")}


async def test_an_edge_to_a_job_outside_of_the_graph_is_not_shown(jp: JobProcessor) -> None:
    await submit_chain(jp, 2)
    await jp.submit_job(step, job_id="other", group="other", depends_on="1")
    assert (await read_group_graph(jp, "other")).edges == []
    assert sorted((await read_job_graph(jp, "other", 1)).jobs) == ["1", "other"]
