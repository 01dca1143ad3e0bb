"""Giving up: pending jobs that nobody can run end as failed, and their dependents are told."""

from __future__ import annotations

import pytest

from asyncjobs.models import JobError
from tests.conformance.support import COMPLETED, FAILED, IN_PROGRESS, SKIPPED, Store, new

pytestmark = pytest.mark.anyio
WHY = JobError("UnrunnableError", "no live worker may run it")


async def test_pending_jobs_fail_with_the_reason(store: Store) -> None:
    await store.submit(new("a"), new("b", "a"), new("c", "a?"))
    assert list(await store.backend.give_up(["a", "nobody"], WHY)) == ["a"]
    job = await store.job("a")
    assert (job.status, job.error, job.attempt) == (FAILED, WHY, 0)
    assert (await store.job("b")).status is SKIPPED
    assert (await store.job("c")).dependencies_met
    assert await store.types("a") == ["submitted", "failed"]


async def test_what_runs_or_ended_is_left_alone(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b"))
    await hand.claim()
    await hand.succeed("b")
    before = await store.dump()
    assert list(await store.backend.give_up(["a", "b"], WHY)) == []
    assert await store.dump() == before
    assert [(await store.job(i)).status for i in "ab"] == [IN_PROGRESS, COMPLETED]


async def test_it_may_be_retried_by_hand(store: Store) -> None:
    await store.submit(new("a"))
    await store.backend.give_up(["a"], WHY)
    await store.backend.retry_job("a")
    hand = await store.hand()
    assert await hand.claim() == ["a"]
