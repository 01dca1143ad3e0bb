"""Summarize the kept steps of a job for views: their number, and the first of their keys."""

from __future__ import annotations

from msgspec import Struct

from asyncjobs.backends.base import JobBackend

KEYS = 100
"""Keys in a summary."""


class StepSummary(Struct, frozen=True):
    """How many steps a job has that count, and the first of their keys, in order."""

    count: int
    keys: list[str]


async def summarize_steps(backend: JobBackend, job_id: str) -> StepSummary:
    """Return the summary of a job's steps, without reading a value. Unknown jobs have none."""
    page = await backend.read_steps(job_id, limit=KEYS, values=False)
    keys = [step.key for step in page.steps]
    return StepSummary(len(keys) if page.next is None else await backend.count_steps(job_id), keys)
