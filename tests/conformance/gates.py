"""Gates and questions, as the tests of stores submit and answer them."""

from __future__ import annotations

from typing import Any

from asyncjobs.backends.base import AttemptEnd, AttemptRef, NewJob
from asyncjobs.clock import from_datetime
from asyncjobs.core.gates import FUNCTION, encode_question
from asyncjobs.core.requests import Answer, AskedGate, Question
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import Stale
from asyncjobs.models import JobStatus, WaitsFor
from tests.conformance.support import PENDING, RELEASED, Hand, Store, new

AGAIN = RetryPolicy(max_retries=3, base=0, jitter=0)
YES, NO = b"\xc3", b"\xc2"
HOUR = 3600.0


def gate(
    job_id: str, *parents: str, asks: Question | None = None, timeout: float | None = None, **options: Any
) -> NewJob:
    """A gate to submit, an approval if nothing else is said; parents as for ``new``."""
    question = asks or Question(question=f"{job_id}?")
    call = encode_question(question)
    return new(job_id, *parents, function=FUNCTION, call=call, gate=True, timeout=timeout, **options)


async def answer(store: Store, job_id: str, value: bytes = YES, by: str | None = None) -> JobStatus:
    return await store.backend.answer_gate(
        Answer(job_id=job_id, created_at=await created_at(store, job_id), value=value, by=by)
    )


async def reject(store: Store, job_id: str, reason: str = "no", by: str | None = None) -> JobStatus:
    return await store.backend.answer_gate(
        Answer(job_id=job_id, created_at=await created_at(store, job_id), reason=reason, by=by)
    )


async def created_at(store: Store, job_id: str) -> int:
    return from_datetime((await store.job(job_id)).created_at)


async def is_open(store: Store, job_id: str) -> bool:
    found = await store.job(job_id)
    return found.status is PENDING and found.waits_for is WaitsFor.ANSWER


async def asking(store: Store, *ids: str, **options: Any) -> tuple[Hand, list[AttemptRef]]:
    """Jobs in progress, which may ask."""
    await store.submit(*(new(job_id, retry=AGAIN, **options) for job_id in ids))
    hand = await store.hand()
    assert await hand.claim() == list(ids)
    return hand, [hand.held[job_id] for job_id in ids]


async def ask(store: Store, attempt: AttemptRef, key: str = "q", **options: Any) -> AskedGate:
    return await store.backend.ask_gate(attempt, gate(f"{attempt.job_id}/{key}", **options))


async def park(store: Store, attempt: AttemptRef, gate_id: str) -> JobStatus | Stale:
    (result,) = (await store.backend.update_job_status([AttemptEnd(attempt, RELEASED, parked_on=gate_id)])).results
    return result
