"""A thousand jobs that are parked on their questions, and a thousand answers at once."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import anyio
import pytest

from asyncjobs import JobProcessor, JobQuery
from asyncjobs.models import WaitsFor
from tests.runtime.asking_bodies import ask, parked, submit
from tests.runtime.support import PENDING, Stores, within

pytestmark = [pytest.mark.anyio, pytest.mark.persistent, pytest.mark.slow]

MANY = 1_000


@pytest.fixture
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def count_waiting(jp: JobProcessor) -> int:
    """How many jobs are parked."""
    query = JobQuery(waits_for="answer", function="tests.runtime.asking_bodies:ask", limit=1000)
    return len(await jp.find_jobs(query))


def used() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.usefixtures("_traced")
async def test_they_hold_neither_slots_nor_memory_and_are_ready_once_they_are_answered(stores: Stores) -> None:
    async with stores.processor(num_workers=32) as jp:
        first = await submit(jp, "async", park=True)
        await parked(jp)
        await jp.answer_job("a/q")
        await within(10, first)
        before = used()
        for i in range(0, MANY, 100):
            async with jp.batch() as batch:
                for n in range(i, i + 100):
                    batch.submit_job(ask, "go on?", {"park": True}, job_id=f"j{n}", group="all")
        with anyio.fail_after(60):
            while await count_waiting(jp) < MANY:
                await anyio.sleep(0.2)
        await jp.find_jobs(JobQuery(limit=1))  # the connection that reads keeps its last rows
        assert used() - before < 1_000_000
        assert jp.daemon is not None
        assert jp.daemon.runner.executor.attempts.running == {}
    async with stores.processor(enable_daemon=False) as jp, anyio.create_task_group() as tasks:
        for n in range(MANY):
            tasks.start_soon(jp.answer_job, f"j{n}/q")
    async with stores.processor(enable_daemon=False) as jp:
        jobs = [job async for job in jp.iter_jobs(JobQuery(group="all", function="tests.runtime.asking_bodies:ask"))]
        assert len(jobs) == MANY
        assert {(job.status, job.waits_for, job.parked) for job in jobs} == {(PENDING, WaitsFor.WORKER, None)}
    async with stores.processor(functions=[ask]) as jp:
        await within(60, jp.drain("all"))
        counts = (await jp.get_progress("all")).counts
        assert counts == {"completed": 2 * MANY}
