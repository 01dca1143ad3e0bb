"""Do what people ask for by hand: cancel, retry, decide anew, give up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.reviving import Reviving
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.models import JobError, JobStatus, WaitsFor

T = TypeVar("T")


class Deciding:
    """Decisions by hand. Each returns also the rows whose dependents must be settled then."""

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions
        self._table = transitions.table

    async def cancel(self, ids: Sequence[str], *, descendants: bool) -> tuple[dict[str, JobStatus], list[Row]]:
        """Cancel jobs, one after the other: a body that submits more is asked to stop before its children are."""
        statuses: dict[str, JobStatus] = {}
        owed: list[Row] = []
        level = [str.__str__(job_id) for job_id in dict.fromkeys(ids)]
        while level:
            found: list[str] = []
            for job_id in level:
                jobs, owes = await self._each(job_id, lambda plan, n: commands.cancel(plan, [n]))
                owed += owes
                if not jobs:
                    continue
                (job,) = jobs
                statuses[job_id] = job.status
                if descendants:
                    found += await self._submitted(job_id, job.n)
            level = [job_id for job_id in dict.fromkeys(found) if job_id not in statuses]
        return statuses, owed

    async def _submitted(self, job_id: str, n: int) -> list[str]:
        entries = await self._table.query_all(keys.job(job_id, n), begins=keys.SUBMITTED)
        return [entry["id"] for entry in sorted(entries, key=lambda entry: entry["n"])]

    async def _each(self, job_id: str, command: Callable[[Plan, int], list[T]]) -> tuple[list[T], list[Row]]:
        def decide_one(plan: Plan) -> list[T]:
            n = plan.numbers([job_id]).get(job_id)
            return [] if n is None else command(plan, n)

        return await self._transitions.commit(decide_one)

    async def recount(self, ids: Sequence[str]) -> tuple[list[str], list[Row]]:
        """Decide waiting jobs anew; return those whose dependencies are met."""
        ready: list[str] = []
        owed: list[Row] = []
        for job_id in dict.fromkeys(ids):
            jobs, owes = await self._each(job_id, lambda plan, n: commands.recount(plan, [n]))
            owed += owes
            ready += [job.id for job in jobs if job.waits_for not in (None, WaitsFor.DEPENDENCIES)]
        return ready, owed

    async def give_up(self, ids: Sequence[str], error: JobError) -> tuple[list[str], list[Row]]:
        """Fail pending jobs; return those that were."""
        failed: list[str] = []
        owed: list[Row] = []
        for job_id in dict.fromkeys(ids):
            jobs, owes = await self._each(job_id, lambda plan, n: commands.give_up(plan, [n], error))
            owed += owes
            failed += [job.id for job in jobs]
        return failed, owed

    async def retry(self, job_id: str, *, fresh: bool) -> tuple[JobStatus, list[Row]]:
        """Retry a job with those that were skipped because of it."""
        return await Reviving(self._transitions).retry(job_id, fresh=fresh)
