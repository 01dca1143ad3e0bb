"""Parked jobs: how long an answer takes, and how soon all that were parked have run once all are answered."""

from __future__ import annotations

import asyncio
import time

from asyncjobs import JobProcessor, JobQuery, current_job
from benchmarks.jobs import processor
from benchmarks.result import Place, Result, lower, quantile


async def question() -> bool:
    """Ask, and end the attempt until the answer is there."""
    return await current_job().ask("go on?", key="q", park=True)


def run(place: Place) -> Result:
    """Milliseconds of one answer alone; seconds for 500 answers at once, and until all jobs have run."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    many = place.pick(500, 300)
    async with processor(place.folder) as jp:
        alone: list[float] = []
        for n in range(place.pick(300, 100)):
            gate = await jp.submit_gate("go on?", job_id=f"alone-{n}")
            began = time.perf_counter()
            await jp.answer_job(gate)
            alone.append(time.perf_counter() - began)
        async with jp.batch() as batch:
            for n in range(many):
                batch.submit_job(question, job_id=f"j{n}", group="all")
        while await _count_parked(jp) < many:  # noqa: ASYNC110 - nothing tells how many are parked
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        await asyncio.gather(*(jp.answer_job(f"j{n}/q") for n in range(many)))
        answered = time.perf_counter() - began
        await jp.drain("all")
        ran = time.perf_counter() - began
    return Result(
        (
            lower("answer_p50", 1e3 * quantile(alone, 0.5), "ms"),
            lower("answer_p99", 1e3 * quantile(alone, 0.99), "ms"),
            lower("answered_all", answered, "s"),
            lower("ran_all", ran, "s"),
        )
    )


async def _count_parked(jp: JobProcessor) -> int:
    return sum(job.parked is not None for job in await jp.find_jobs(JobQuery(waits_for="answer", limit=1000)))
