"""Ask, answer, and end in time: gates in the table. What a gate has beside its state stands in its row."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjobs.backends.base import AttemptRef, NewJob
from asyncjobs.backends.gate_store import DUE_AT_ONCE
from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.loading import Loaded, decide, read_rows
from asyncjobs.backends.sqs.numbers import Numbers
from asyncjobs.backends.sqs.retries import How
from asyncjobs.backends.sqs.reviving import Revival, Reviving
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.submitting import Submitting
from asyncjobs.backends.sqs.table import WORK
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.workers import number_of
from asyncjobs.core import gate_commands
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import Answer, AskedGate
from asyncjobs.core.state import JobState
from asyncjobs.exceptions import JobNotFoundError
from asyncjobs.models import JobStatus


class Gates:
    """The gates of the store. Each method returns also the rows whose dependents must be settled then."""

    def __init__(self, transitions: Transitions, submitting: Submitting, numbers: Numbers) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._submitting = submitting
        self._numbers = numbers

    async def ask(self, attempt: AttemptRef, gate: NewJob) -> tuple[AskedGate, list[Row]]:
        """Open the gate of a question, or find it: the asker's row, the gate and its entry are written together."""
        refusals = 0
        settled = False
        writing = Revival(self._transitions, How.ASK)
        while True:
            view = Loaded(self._transitions.clock)
            numbers = self._numbers.take(1, self._transitions.clock.now())

            def command(plan: Plan, numbers: Sequence[int] = numbers) -> AskedGate:
                n = plan.numbers([attempt.job_id]).get(attempt.job_id, -1)
                return gate_commands.ask(plan, (n, attempt.attempt, number_of(attempt.worker)), gate, numbers)

            asked, plan = await decide(command, view, self._table, self._transitions.clock)
            if plan.inserted:
                owed = await self._submitting.store(plan, view)
            elif not settled and _opens_again(view, gate.id, asked):
                await Reviving(self._transitions).settle_before(gate.id)
                settled = True
                continue
            else:
                owed = await self._ask_again(plan, view, writing, (gate.id, attempt.job_id))
            if owed is not None:
                return asked, owed
            refusals += 1
            await self._transitions.pause(refusals)

    async def _ask_again(self, plan: Plan, view: Loaded, writing: Revival, ids: tuple[str, str]) -> list[Row] | None:
        """Write what an old question needs: perhaps it is opened again, with those that wait for it again.

        If the attempt is lost half-way, a sweep goes on with it, for a later one.

        :param ids: of the gate and of the job that asks.
        """
        decided = self._transitions.translator.changes(plan, plan.take(), view)
        if not await writing.write(decided, view, *ids):
            return None
        return self._transitions.settled(decided)

    async def answer(self, answer: Answer) -> tuple[JobStatus, list[Row]]:
        """Answer or reject: one write of the gate's row."""
        found = (await read_rows(self._table, [answer.job_id]))[answer.job_id]
        if found is None or found.fixed.created_at != answer.created_at:
            raise JobNotFoundError(answer.job_id)

        def command(plan: Plan) -> JobStatus:
            n = plan.numbers([answer.job_id]).get(answer.job_id)
            if n is None or n != found.n:
                raise JobNotFoundError(answer.job_id)
            return gate_commands.answer(plan, n, answer)

        return await self._transitions.commit(command, [found])

    async def end_due(self) -> tuple[list[str], list[Row]]:
        """End the open gates whose deadline has come, the first due first."""
        ended: list[str] = []
        owed: list[Row] = []
        for job_id in await self._due():

            def command(plan: Plan, job_id: str = job_id) -> list[JobState]:
                return gate_commands.end_due_gates(plan, list(plan.numbers([job_id]).values()))

            jobs, owes = await self._transitions.commit(command)
            ended += [job.id for job in jobs]
            owed += owes
        return ended, owed

    async def _due(self) -> list[str]:
        now = keys.number(self._transitions.clock.now() + 1)
        entries: list[tuple[str, tuple[str, str]]] = []
        for shard in range(self._transitions.shards):
            page = await self._table.query(
                keys.deadlines(shard), index=WORK, before=now, limit=DUE_AT_ONCE, consistent=False
            )
            entries += [(item["ws"], (item["pk"], item["sk"])) for item in page.items]
        due = [key for _, key in sorted(entries)[:DUE_AT_ONCE]]
        items = await self._table.get(due) if due else {}
        return [items[key]["id"] for key in due if key in items]


def _opens_again(view: Loaded, gate_id: str, asked: AskedGate) -> bool:
    """Return whether a question had ended, and is asked again."""
    row = view.by_id(gate_id)
    return row is not None and row.state.status.terminal and not asked.status.terminal
