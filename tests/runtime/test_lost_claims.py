"""A claim may be committed and its answer lost: its jobs go back, uncounted, and run, while the worker lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncjobs import JobRequest
from asyncjobs.backends.base import AttemptRef, ClaimRequest, ClaimResult
from asyncjobs.runtime.lost_claims import LostClaims
from asyncjobs.testing import FaultyBackend
from tests.runtime.support import COMPLETED, PATIENCE, PENDING, Held, Stores, echo, types, until, within

pytestmark = pytest.mark.anyio

QUICK: dict[str, Any] = {"lease": 2.0, "heartbeat": 0.05, "poll_interval": 0.02}
HELD: dict[str, Held] = {}


async def held(name: str) -> Any:
    return await HELD[name].body()


async def test_jobs_of_a_claim_whose_answer_was_lost_run_nevertheless(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store, **QUICK) as jp:
        store.fail("dequeue_jobs", when="after")
        handles = await jp.submit_jobs([echo_request(value) for value in range(3)])
        ended = [await within(PATIENCE, jp.wait_for_job(handle)) for handle in handles]
        assert [(job.status, job.failures, job.interruptions) for job in ended] == [(COMPLETED, 0, 0)] * 3
        lost = [job.id for job in ended if job.attempt == 2]
        assert lost, "the claim was lost"
        for job_id in lost:
            assert await types(jp, job_id) == ["submitted", "started", "released", "started", "completed"]


async def test_jobs_of_a_claim_that_went_with_an_outcome_run_nevertheless(stores: Stores) -> None:
    """The outcome is sent again, and was stored: the claim of the first time is nobody's."""
    store = FaultyBackend(stores.backend())
    HELD["h"] = first = Held()
    async with stores.processor(backend=store, num_workers=1, **QUICK) as jp:
        await jp.submit_job(held, "h", job_id="first")
        await first.started.wait()
        await jp.submit_job(echo, 1, job_id="next")
        store.fail("update_job_status", when="after")
        first.go.open()
        ended = await within(PATIENCE, jp.wait_for_job("next"))
        assert (ended.status, ended.attempt, ended.failures, ended.interruptions) == (COMPLETED, 2, 0, 0)
        assert (await jp.get_job("first")).attempt == 1


async def test_in_a_drain_jobs_of_a_lost_claim_go_back_uncounted(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store, lease=60.0) as jp:
        store.fail("dequeue_jobs", when="after")
        await jp.submit_job(echo, 1, job_id="j")
        await until(jp, "j", "started")
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store, enable_daemon=False) as later:
        job = await later.get_job("j")
        assert (job.status, job.failures, job.interruptions) == (PENDING, 0, 0)
        assert await types(later, "j") == ["submitted", "started", "released"]


async def test_what_runs_is_never_taken_for_lost(stores: Stores) -> None:
    """Bodies that run, outcomes that cannot be recorded yet, claims that take long: all of them over many beats."""
    store = FaultyBackend(stores.backend())
    HELD["h"] = body = Held(1)
    async with stores.processor(backend=store, num_workers=2, **QUICK) as jp:
        handle = await jp.submit_job(held, "h", job_id="j")
        await body.started.wait()
        await beats(store, 4)
        for nth in (1, 2):
            store.fail("update_job_status", nth)
        body.go.open()
        assert await within(PATIENCE, handle.result()) == 1
        assert (await jp.get_job("j")).attempt == 1
        assert await types(jp, "j") == ["submitted", "started", "completed"]


async def test_a_claim_whose_answer_takes_long_is_not_lost(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = stores.backend()
    store = FaultyBackend(backend)
    claimed, go = anyio.Event(), anyio.Event()
    dequeue: Callable[[ClaimRequest], Any] = store.dequeue_jobs

    async def slow(claim: ClaimRequest) -> ClaimResult:
        claims: ClaimResult = await dequeue(claim)
        if claims.jobs:
            claimed.set()
            await go.wait()
        return claims

    monkeypatch.setattr(store, "dequeue_jobs", slow)
    async with stores.processor(backend=store, **QUICK) as jp:
        handle = await jp.submit_job(echo, 1, job_id="j")
        await within(PATIENCE, claimed.wait())
        await beats(store, 4)
        go.set()
        assert await within(PATIENCE, handle.result()) == 1
        assert await types(jp, "j") == ["submitted", "started", "completed"]


async def beats(store: FaultyBackend, count: int) -> None:
    """Return after so many heartbeats."""
    last = store.calls["extend_leases"] + count
    with anyio.fail_after(PATIENCE):
        while store.calls["extend_leases"] < last:
            await anyio.sleep(0.01)


def echo_request(value: int) -> Any:
    return JobRequest(func=echo, args=(value,))


# -- what is lost, decided without a store

LOST = [("a", 1)]
GONE = [AttemptRef("a", 1, "w")]


def test_an_attempt_is_lost_at_the_second_look_that_finds_it_unknown() -> None:
    claims = LostClaims()
    assert claims.find("w", LOST, (), 1, claiming=False) == []
    assert claims.find("w", LOST, (), 1, claiming=False) == GONE
    assert claims.find("w", LOST, (), 1, claiming=False) == []


def test_an_attempt_that_became_known_is_not_lost() -> None:
    claims = LostClaims()
    assert claims.find("w", LOST, (), 1, claiming=False) == []
    assert claims.find("w", LOST, LOST, 1, claiming=False) == []
    assert claims.find("w", LOST, (), 1, claiming=False) == []


def test_an_attempt_that_has_ended_in_the_store_is_not_lost() -> None:
    claims = LostClaims()
    assert claims.find("w", LOST, (), 1, claiming=False) == []
    assert claims.find("w", [], (), 1, claiming=False) == []
    assert claims.find("w", LOST, (), 1, claiming=False) == []


def test_while_the_same_claim_may_still_be_answered_nothing_is_lost() -> None:
    claims = LostClaims()
    assert claims.find("w", LOST, (), 1, claiming=True) == []
    assert claims.find("w", LOST, (), 1, claiming=True) == []
    assert claims.find("w", LOST, (), 2, claiming=True) == GONE
