"""Do what people ask for by hand: cancel, retry, decide anew, give up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from asyncjobs.backends.sqs import keys, rows
from asyncjobs.backends.sqs.loading import Loaded, decide
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.workers import owner_known
from asyncjobs.backends.sqs.writing import Decided
from asyncjobs.core import commands, revival
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import JobState
from asyncjobs.exceptions import JobNotFoundError
from asyncjobs.models import JobError, JobStatus, WaitsFor

T = TypeVar("T")

_IN_ONE = 100
"""Actions of a transaction."""


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
        refusals = 0
        while True:
            view = Loaded(self._transitions.clock)

            def command(plan: Plan) -> JobState:
                n = plan.numbers([job_id]).get(job_id)
                if n is None:
                    raise JobNotFoundError(job_id)
                return revival.retry(plan, n, fresh=fresh)

            job, plan = await decide(command, view, self._table, self._transitions.clock)
            decided = self._transitions.translator.changes(plan, plan.take(), view)
            owners = {change.after.fixed.owner for change in decided.changed} - {None}
            now = self._transitions.clock.lease_time()
            await self._table.write_all([owner_known(owner, now) for owner in owners if owner is not None])
            if await self._revive(decided):
                return job.status, self._transitions.settled(decided)
            refusals += 1
            await self._transitions.pause(refusals)

    async def _revive(self, decided: Decided) -> bool:
        """Write a retry: in one transaction, or, if it is too large for one, from the last descendants upwards.

        Of a large one, the retried job is the last to be written. A crash before that leaves it as it was, and
        descendants that wait for parents which have ended; retrying it again finds the rest of them.
        """
        beside = members(decided)
        count = len(decided.changed) + sum(len(change.beside) for change in decided.changed) + len(beside)
        if count <= _IN_ONE:
            return await self._transitions.write(decided, beside) is None
        if not await self._transitions.overtakes(decided):
            return False
        await self._table.write_all(beside)
        for change in reversed(decided.changed):
            update = rows.changed(change.before, change.after, self._transitions.shards)
            if await self._table.transact([update, *change.beside]) is not None:
                return False
        return True


def members(decided: Decided) -> list[Update]:
    """Return the writes that take away what groups have noted of the ends of these jobs."""
    return [
        Update(
            (keys.named("G", change.after.state.group), keys.member(change.after.n, change.after.id)),
            remove=("f",),
            present=("pk",),
        )
        for change in decided.changed
        if change.before.state.status.terminal
        and not change.after.state.status.terminal
        and change.after.state.group is not None
    ]
