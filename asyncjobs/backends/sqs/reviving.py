"""Make a job pending again with those that wait again because of it: in one transaction, or noted and step by step.

A job is revived when it is retried by hand, and a question when its body asks it again. What one transaction does not
take is written from the last descendants upwards, the revived job last. Until then that is as it was, so reviving it
again finds the rest, whoever does it: a sweep goes on with every revival whose note is still there (``retries``). If it
cannot be revived any more, since nobody would read the answer to a question, what was opened is settled once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from asyncjobs.backends.sqs import batches, keys, retries
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.loading import Loaded, decide, read_rows
from asyncjobs.backends.sqs.retries import How
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.staging import unchanged
from asyncjobs.backends.sqs.table import Item, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.workers import owner_known
from asyncjobs.backends.sqs.writing import Changed, Decided, owes
from asyncjobs.core import gate_commands, revival
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import JobState
from asyncjobs.exceptions import BackendConnectionError, JobNotFoundError, JobStateError
from asyncjobs.models import JobStatus
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_IN_ONE = 100
"""Actions of a transaction."""


class Revival:
    """The writes of one revival, of which each may be the last of its process.

    :param how: how others go on with it.
    :param item: the note of a revival that another process has begun.
    """

    def __init__(self, transitions: Transitions, how: How, item: Item | None = None) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._how = how
        self._note: str | None = None if item is None else item["id"]
        self._ended = 0 if item is None else int(item["ended"])

    async def write(self, decided: Decided, view: Loaded, job: str, *beside: str) -> bool:
        """Write what was decided; return False if that must be done anew.

        :param job: the id of the revived job, which is the last one to be written.
        :param beside: ids of jobs that are written together with it.
        """
        await self._announce(decided)
        checks = _askers(decided, view)
        if not await self._noted(decided, job):
            return await self._transitions.write(decided, _members(decided.changed), checks) is None
        if not await self._transitions.overtakes(decided):
            return False
        last = [change for change in decided.changed if change.after.id in (job, *beside)]
        others = [change for change in decided.changed if change.after.id not in (job, *beside)]
        return await self._write_in_steps(decided, [*reversed(others)], last, checks)

    async def _write_in_steps(
        self, decided: Decided, others: Sequence[Changed], last: Sequence[Changed], checks: Sequence[Update]
    ) -> bool:
        note = self._note
        assert note is not None, "it is noted before the first step"
        unfinished = await retries.unfinished(self._table, [change.before for change in others])
        for place, change in enumerate(others, 1):
            if place % batches.SLICE == 0 and not await retries.beat(self._transitions, note):
                return False
            names = [name for name in change.before.retries if name in unfinished and name != note]
            named = structs.replace(change, after=structs.replace(change.after, retries=(*names, note)))
            if not await self._step(decided, [named], []):
                return False
        if (len(others) + 1) % batches.SLICE == 0 and not await retries.beat(self._transitions, note):
            return False
        if not await self._step(decided, last, checks):
            return False
        await self.end()
        return True

    async def _step(self, decided: Decided, changes: Sequence[Changed], checks: Sequence[Update]) -> bool:
        """Write some of the rows, with the large values that belong to them."""
        partitions = {change.after.partition for change in changes}
        large = tuple([value for value in decided.apart if value.partition in partitions])
        step = Decided(changed=tuple(changes), apart=large, events=(), owed=())
        return await self._transitions.write(step, _members(changes), checks) is None

    async def _announce(self, decided: Decided) -> None:
        """Let a reap find the revived jobs of owners that are gone by then."""
        owners = {change.after.fixed.owner for change in decided.changed} - {None}
        now = self._transitions.clock.lease_time()
        await self._table.write_all([owner_known(owner, now) for owner in owners if owner is not None])

    async def _noted(self, decided: Decided, job: str) -> bool:
        """Make sure that a note says what is being done, unless one transaction takes that; return whether one does.

        One that was written before is gone if another process has completed the revival.
        """
        if self._note is not None and await retries.beat(self._transitions, self._note):
            return True
        self._note = None
        if len(decided.changed) + len(_beside(decided.changed)) > _IN_ONE:
            (before,) = (change.before for change in decided.changed if change.before.id == job)
            self._ended = retries.ended(before)
            self._note = await retries.begin(self._transitions, before, self._how)
        return self._note is not None

    # -- the end of it

    @property
    def begun(self) -> bool:
        """Whether there is a note: some of the jobs may have been written."""
        return self._note is not None

    def may_go_on(self, row: Row) -> bool:
        """Return whether the job to be revived is as it was when this began; else others have revived it since."""
        return row.state.status.terminal and retries.ended(row) == self._ended

    async def end(self) -> None:
        """Delete the note: nothing is left to be written. If AWS is away, a sweep does it: the caller need not know."""
        if self._note is None:
            return
        try:
            await retries.end(self._table, self._note)
        except BackendConnectionError as error:
            logger.debug("the note %s is left to a sweep: %s", self._note, error)
        self._note = None

    async def undo(self, job: Row) -> None:
        """Settle what was opened once more: the job cannot be revived any more."""
        dependents = Dependents(self._transitions)
        owing = await dependents.owe_opened(job)
        await self.end()  # after it: from now on a sweep would settle them, too
        await dependents.settle(owing)


class Reviving:
    """Revives jobs. Each method returns also the rows whose dependents must be settled then."""

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions
        self._table = transitions.table

    async def retry(self, job_id: str, *, fresh: bool) -> tuple[JobStatus, list[Row]]:
        """Retry a job with those that were skipped because of it."""
        await self.settle_before(job_id)
        how = How.FRESH if fresh else How.RETRY
        return await self._revive(job_id, _command(how), Revival(self._transitions, how))

    async def settle_before(self, job_id: str) -> None:
        """Settle the dependents of a job: whoever is late to settle one of them finds its edge opened again then."""
        row = (await read_rows(self._table, [job_id]))[job_id]
        if row is not None and owes(row):
            await Dependents(self._transitions).settle([row])

    async def _revive(
        self, job_id: str, command: Callable[[Plan, int], JobState], writing: Revival
    ) -> tuple[JobStatus, list[Row]]:
        refusals = 0
        while True:
            view = Loaded(self._transitions.clock)

            def revive(plan: Plan) -> JobState:
                n = plan.numbers([job_id]).get(job_id)
                if n is None:
                    raise JobNotFoundError(job_id)
                return command(plan, n)

            try:
                job, plan = await decide(revive, view, self._table, self._transitions.clock)
            except JobStateError:
                row = view.by_id(job_id)
                if row is None or not writing.begun:
                    raise
                if writing.may_go_on(row):
                    await writing.undo(row)
                    raise
                await writing.end()  # a sweep has completed what was begun here, or another process did the same
                return row.state.status, []
            decided = self._transitions.translator.changes(plan, plan.take(), view)
            if await writing.write(decided, view, job_id):
                return job.status, self._transitions.settled(decided)
            refusals += 1
            await self._transitions.pause(refusals)

    async def resume(self, item: Item) -> None:
        """Go on with a revival that its process has noted and not completed.

        :param item: the note.
        """
        contents = await batches.contents_of(self._table, item)
        assert contents is not None, "it has one row"
        ((job_id, n),) = contents.rows
        how = retries.how(item)
        writing = Revival(self._transitions, how, item)
        row = (await read_rows(self._table, [job_id]))[job_id]
        owed: list[Row] = []
        if row is not None and row.n == n and writing.may_go_on(row):
            try:
                _, owed = await self._revive(job_id, _command(how), writing)
            except (JobNotFoundError, JobStateError) as error:  # it is gone, or nobody would read the answer
                logger.debug("the revival of %s is not resumed: %s", job_id, error)
        await retries.end(self._table, item["id"])  # before dependents are settled that name it
        await Dependents(self._transitions).settle(owed)


def _command(how: How) -> Callable[[Plan, int], JobState]:
    match how:
        case How.ASK:
            return gate_commands.open_again
        case How.FRESH:
            return lambda plan, n: revival.retry(plan, n, fresh=True)
        case How.RETRY:
            return revival.retry


def _askers(decided: Decided, view: Loaded) -> list[Update]:
    """Return the checks that the bodies still live whose questions are opened again: one that is over cancels them."""
    changed = {change.after.n for change in decided.changed}
    found: dict[int, Update] = {}
    for change in decided.changed:
        asker = None if change.after.gate is None else change.after.gate.asker
        if asker is None or asker in changed or not _is_revived(change):
            continue
        row = view.row(asker)
        if row is not None:
            found[asker] = unchanged(row)
    return list(found.values())


def _is_revived(change: Changed) -> bool:
    return change.before.state.status.terminal and not change.after.state.status.terminal


def _beside(changes: Sequence[Changed]) -> list[Update]:
    """Return what is written together with these rows."""
    return [update for change in changes for update in change.beside] + _members(changes)


def _members(changes: Sequence[Changed]) -> list[Update]:
    """Return the writes that take away what groups have noted of the ends of these jobs."""
    return [
        Update((keys.named("G", state.group), keys.member(state.n, state.id)), remove=("f",), present=("pk",))
        for change in changes
        if (state := change.after.state).group is not None and _is_revived(change)
    ]
