"""Do what people ask for by hand: cancel, retry, decide anew, give up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import structs

from asyncjobs.backends.sqs import batches, keys, retries, rows
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.loading import Loaded, decide, read_rows
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Item, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.workers import owner_known
from asyncjobs.backends.sqs.writing import Changed, Decided, owes
from asyncjobs.core import commands, revival
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import JobState
from asyncjobs.exceptions import JobNotFoundError, JobStateError
from asyncjobs.models import JobError, JobStatus, WaitsFor
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

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
        """Retry a job with those that were skipped because of it.

        Its dependents are settled before. So whoever is late to settle one of them finds its edge opened again.
        """
        await self._settle_before(job_id)
        refusals = 0
        note: str | None = None
        while True:
            view = Loaded(self._transitions.clock)

            def command(plan: Plan) -> JobState:
                n = plan.numbers([job_id]).get(job_id)
                if n is None:
                    raise JobNotFoundError(job_id)
                return revival.retry(plan, n, fresh=fresh)

            try:
                job, plan = await decide(command, view, self._table, self._transitions.clock)
            except JobStateError:
                row = view.by_id(job_id)
                if note is None or row is None:
                    raise
                # A sweep has completed what was begun here, or another process has retried the job since.
                await retries.end(self._table, note)
                return row.state.status, []
            decided = self._transitions.translator.changes(plan, plan.take(), view)
            await self._announce(decided)
            note = await self._note(decided, note, fresh=fresh)
            if await self._revive(decided, note):
                return job.status, self._transitions.settled(decided)
            refusals += 1
            await self._transitions.pause(refusals)

    async def _settle_before(self, job_id: str) -> None:
        row = (await read_rows(self._table, [job_id]))[job_id]
        if row is not None and owes(row):
            await Dependents(self._transitions).settle([row])

    async def _announce(self, decided: Decided) -> None:
        """Let a reap find the retried jobs of owners that are gone by then."""
        owners = {change.after.fixed.owner for change in decided.changed} - {None}
        now = self._transitions.clock.lease_time()
        await self._table.write_all([owner_known(owner, now) for owner in owners if owner is not None])

    async def _note(self, decided: Decided, note: str | None, *, fresh: bool) -> str | None:
        """Return the name of the note that says that a job is being retried; None if one transaction takes that.

        :param note: the one that was written before. It is gone if another process has completed the retry.
        """
        if note is not None and await retries.beat(self._transitions, note):
            return note
        if sum(1 + len(_beside(change)) for change in decided.changed) <= _IN_ONE:
            return None
        return await retries.begin(self._transitions, decided.changed[0].before, fresh=fresh)

    async def _revive(self, decided: Decided, note: str | None) -> bool:
        """Write a retry: in one transaction, or each job by its own, from the last descendants upwards.

        The retried job is the last to be written. Before that it is as it was, so retrying it again finds the rest of
        its descendants.

        :param note: says that there are several steps.
        """
        if note is None:
            return await self._transitions.write(decided, members(decided)) is None
        if not await self._transitions.overtakes(decided):
            return False
        others = await retries.unfinished(self._table, [change.before for change in decided.changed])
        for place, change in enumerate(reversed(decided.changed), 1):
            if place % batches.SLICE == 0 and not await retries.beat(self._transitions, note):
                return False
            names = [name for name in change.before.retries if name in others and name != note]
            after = structs.replace(change.after, retries=(*names, note))
            update = rows.changed(change.before, after, self._transitions.shards)
            if await self._table.transact([update, *_beside(change)]) is not None:
                return False
        await retries.end(self._table, note)
        return True


async def resume_retry(transitions: Transitions, item: Item) -> None:
    """Go on with a retry that its process has noted and not completed.

    :param item: the note.
    """
    contents = await batches.contents_of(transitions.table, item)
    assert contents is not None, "it has one row"
    ((job_id, n),) = contents.rows
    row = (await read_rows(transitions.table, [job_id]))[job_id]
    owed: list[Row] = []
    if row is not None and row.n == n and row.state.finished_at == int(item["ended"]):
        try:
            _, owed = await Deciding(transitions).retry(job_id, fresh="fresh" in item)
        except (JobNotFoundError, JobStateError) as error:  # it was done meanwhile, or nobody would read the answer
            logger.debug("the retry of %s is not resumed: %s", job_id, error)
    await retries.end(transitions.table, item["id"])  # before dependents are settled that name it
    await Dependents(transitions).settle(owed)


def members(decided: Decided) -> list[Update]:
    """Return the writes that take away what groups have noted of the ends of these jobs."""
    return [update for change in decided.changed for update in _member(change)]


def _beside(change: Changed) -> list[Update]:
    """Return what is written together with a retried job."""
    return [*change.beside, *_member(change)]


def _member(change: Changed) -> list[Update]:
    """Return the write that takes away what its group has noted of the end of a job."""
    before, after = change.before.state, change.after.state
    if after.group is None or not before.status.terminal or after.status.terminal:
        return []
    key = keys.named("G", after.group), keys.member(change.after.n, change.after.id)
    return [Update(key, remove=("f",), present=("pk",))]
