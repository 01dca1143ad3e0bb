"""Several processes that settle the same at once: how many writes that takes.

``ASYNCJOBS_TEST_CHILDREN=2000`` has so many dependents of one job, which are 200 otherwise.
"""

from __future__ import annotations

import os
import time

import anyio
import pytest

from asyncjobs.backends.sqs import keys
from tests.conformance.support import new
from tests.properties import sqs_defects
from tests.properties.sqs_defects import Patch
from tests.properties.sqs_directed import AGES, LEASE, processes, writes
from tests.unit.sqs_support import until_it_dies

pytestmark = [pytest.mark.untraced, pytest.mark.usefixtures("tables_in_second")]

PARENTS, CHILDREN = 40, int(os.environ.get("ASYNCJOBS_TEST_CHILDREN", "200"))


async def forty_parents() -> None:
    """Let 40 parents, in 8 processes, end at once; their child is released once."""
    ids = [f"p{place:02d}" for place in range(PARENTS)]
    async with processes(8) as every:
        taps = [process.tap() for process in every]
        await every[0].submit(*(new(job_id) for job_id in ids), new("child", *ids))
        hands = [await process.hand(lease=AGES) for process in every]
        for hand in hands:
            assert len(await hand.claim(PARENTS // len(hands))) == PARENTS // len(hands)
        async with anyio.create_task_group() as tasks:
            for hand in hands:
                tasks.start_soon(hand.succeed, *hand.held)
        written = sum(tap.writes[keys.row("child")] for tap in taps) - 1
        assert written <= PARENTS + 5, f"{written} writes of the child"
        assert [await hand.claim() for hand in hands].count(["child"]) == 1
        await next(hand for hand in hands if "child" in hand.held).succeed("child")
        assert await every[0].types("child") == ["submitted", "started", "completed"]


def test_forty_parents_that_end_at_once_release_their_child_once() -> None:
    anyio.run(forty_parents)


def test_counts_by_version_are_caught_by_the_number_of_writes(monkeypatch: Patch) -> None:
    with monkeypatch.context() as planted:
        sqs_defects.a_count_by_version(planted)
        with pytest.raises(AssertionError, match="writes of the child"):
            anyio.run(forty_parents)


async def many_children() -> None:
    """Let a process die that has settled half of the dependents of a job; two others do the rest, at once."""
    ids = [f"c{place:04d}" for place in range(CHILDREN)]
    async with processes(3) as every:
        one, *others = every
        await one.submit(new("p"), *(new(job_id, "p") for job_id in ids))
        hand = await one.hand(lease=LEASE)
        assert await hand.claim() == ["p"]
        taps = [process.tap() for process in every]
        taps[0].at(writes(keys.row(ids[CHILDREN // 2])), before=taps[0].die)
        assert await until_it_dies(hand.succeed("p"))
        others[0].clock.advance(LEASE + 1)
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for process in others:
                tasks.start_soon(process.sweep, 0)
        took = time.monotonic() - began
        done = sum(tap.done[keys.row(job_id)] for tap in taps for job_id in ids)
        print(f"{done} writes of {CHILDREN} dependents; two sweeps took {took:.1f} s")
        assert done <= CHILDREN * 1.025
        assert took <= LEASE
        left = await others[0].hand(lease=AGES)
        assert sorted(await left.claim(CHILDREN)) == ids


def test_the_children_of_a_finisher_that_dies_are_settled_once() -> None:
    anyio.run(many_children)
