"""Run a group of operations as one transaction, synchronously.

The event loop calls it for a small group, the writer's thread for any other. Inside there is no await, no callback, and
no policy: ``core.commands`` decides on a ``Plan``, this module runs the phases in their order and writes. A refused
operation is answered with its error and leaves no trace; any other error rolls everything back.

Order of the phases: removals, body events, steps, outcomes, decisions by hand (answers among them), due gates, reaping,
questions, submissions, due jobs, limits, claims. Concurrent operations have no order among themselves, so any is right;
this one lets a submission see every outcome of its group, and a claim see every submission and every answer. The steps
of an attempt come before its end, after which they would be refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from asyncjobs.backends.base import AttemptRef, ClaimResult, Finished, WorkerLease
from asyncjobs.backends.committed_events import NO_EVENTS, CommittedEvents
from asyncjobs.backends.sqlite import claims, gates, leases, numbers, removal, steps
from asyncjobs.backends.sqlite import operations as ops
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.event_rows import append_events
from asyncjobs.backends.sqlite.ids import worker_number
from asyncjobs.backends.sqlite.lanes import Lanes
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import CALL, JOIN_CALL
from asyncjobs.backends.sqlite.plain_commits import commit_plainly
from asyncjobs.backends.sqlite.plan_rows import Rows
from asyncjobs.backends.sqlite.plan_writes import write
from asyncjobs.core import commands, gate_commands, revival
from asyncjobs.core.gates import is_open
from asyncjobs.core.lifecycle import LOCAL_JOB_LOST
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import AskedGate, Forget
from asyncjobs.exceptions import JobNotFoundError, JobProcessorError
from asyncjobs.models import JobStatus, WaitsFor
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqlite")

O = TypeVar("O", bound=ops.Operation)  # noqa: E741 - the conventional name of an operation's type

Hook = Callable[[str], None]
"""Called at ``"begin"``, ``"before-commit"`` and ``"after-commit"``: where tests kill the process."""


def no_hook(point: str) -> None:
    """Do nothing: the hook of every real program."""


class Moment(Struct, frozen=True):
    """The clocks of a transaction, and ``draw``, which returns jitter from 0 to 1."""

    clocks: Clocks
    draw: Callable[[], float]


class Committed(Struct, frozen=True):
    """The answer (or error) of each operation, in order, and the events that were stored."""

    answers: Sequence[Any]
    events: CommittedEvents


def commit(
    connection: sqlite3.Connection,
    operations: Sequence[ops.Operation],
    lanes: Lanes,
    cache: ConnectionCache,
    moment: Moment,
    hook: Hook = no_hook,
    *,
    most_rows: int | None = None,
) -> Committed:
    """Run these operations as one transaction.

    :param lanes: the lanes that this connection knows.
    :param cache: what else it remembers.
    :param most_rows: jobs and edges that it may read. Default: no bound.
    :raises sqlite3.Error: nothing was stored; the caller may try again, or one operation at a time.
    :raises TooManyRowsError: it needs more than ``most_rows``; nothing was stored.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        hook("begin")
        known = cache.begin(connection, operations)
        done = commit_plainly(connection, operations, lanes, known, moment.clocks, most_rows)
        if done is None:
            transaction = _Transaction(connection, operations, lanes, known, moment, most_rows)
            transaction.run()
            done = transaction.finished_answers(), transaction.stored
        committed = Committed(*done)
        hook("before-commit")
        connection.execute("COMMIT")
    except BaseException:
        lanes.rollback()
        cache.forget()
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    lanes.keep()
    try:
        hook("after-commit")
    except Exception:
        logger.exception("a hook failed after the commit")
    return committed


class _Transaction:
    def __init__(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[ops.Operation],
        lanes: Lanes,
        cache: ConnectionCache,
        moment: Moment,
        most_rows: int | None,
    ) -> None:
        self.connection = connection
        self.operations = operations
        self.lanes = lanes
        self.cache = cache
        self.moment = moment
        self.rows = Rows(connection, moment.clocks, cache, most_rows)
        self.plan = Plan(self.rows, moment.clocks.now)
        self.answers: list[Any] = [None] * len(operations)
        self.claims = claims.Claiming(connection, self.plan, self.rows, lanes, cache, moment.clocks)
        self.stored: CommittedEvents = NO_EVENTS
        self._numbers = self._fresh_numbers()
        self._unfinished: list[Forget] = []
        self._found: dict[str, tuple[int, int]] = {}
        self.by_kind: dict[type[ops.Operation], list[tuple[int, Any]]] = {}
        for i, operation in enumerate(operations):
            self.by_kind.setdefault(type(operation), []).append((i, operation))

    def _all(self, kind: type[O]) -> list[tuple[int, O]]:
        """Return the operations of a kind, each with its place in the group."""
        return self.by_kind.get(kind, [])

    def run(self) -> None:
        """Run all phases in their order."""
        for kind, phase in _PHASES:
            if kind in self.by_kind:
                phase(self)
        claiming = [(i, operation.claim) for i, operation in self._all(ops.Dequeue)]
        claiming += [(i, operation.claim) for i, operation in self._all(ops.Finish) if operation.claim is not None]
        if claiming:
            self.claims.promote_due()
        if self.plan.limits:
            self._write()  # their admission reads the indexes
            self.claims.admit()
        # A job that becomes ready here and is claimed at once is written once, as running.
        for i, claim in claiming:
            self.claims.take(i, claim)
        self._write()
        self._write_events()
        # Read inside: a read that fails after the commit would leave claimed jobs that no worker knows of.
        self.claims.read_calls()
        self.claims.remember_started()

    def _write(self) -> None:
        if self.plan.clean:
            return
        writes = self.plan.take()
        names = {
            lane: self.lanes.number(self.connection, *lane)
            for lane in {(r.queue, r.function, r.owner) for r in writes.inserted}
        }
        self.cache.follow(writes)
        self.claims.remember(writes)
        write(self.connection, writes, names, self.moment.clocks, self.rows.stored)
        if writes.gates:
            gates.write(self.connection, writes.gates)
        if writes.steps:
            self._unfinished += steps.write(self.connection, writes.steps)

    # -- first, before the plan has read rows that these delete

    def remove(self, operation: ops.Remove) -> removal.Removed:
        return removal.remove(self.connection, operation.components, operation.newest, operation.before)

    def clear(self, _: ops.Clear) -> bool:
        return removal.clear(self.connection)

    # -- phases over all operations of a kind at once

    def append_events(self) -> None:
        batches = [
            (self._number(attempt), attempt.attempt, worker_number(attempt.worker), tuple(events))
            for _, operation in self._all(ops.AppendEvents)
            for attempt, events in operation.batches
        ]
        results = iter(commands.append_events(self.plan, batches) if batches else ())
        for i, operation in self._all(ops.AppendEvents):
            self.answers[i] = [next(results) for _ in operation.batches]

    def write_steps(self) -> None:
        changes = [
            (self._number(change.attempt), worker_number(change.attempt.worker), change)
            for _, operation in self._all(ops.WriteSteps)
            for change in operation.changes
        ]
        results = iter(commands.write_steps(self.plan, changes) if changes else ())
        for i, operation in self._all(ops.WriteSteps):
            self.answers[i] = [next(results) for _ in operation.changes]

    def finish(self) -> None:
        ends = [
            (self._number(end.attempt), worker_number(end.attempt.worker), end)
            for _, operation in self._all(ops.Finish)
            for end in operation.ends
        ]
        results = iter(commands.finish(self.plan, ends) if ends else ())
        for i, operation in self._all(ops.Finish):
            self.answers[i] = [next(results) for _ in operation.ends]

    def _number(self, attempt: AttemptRef) -> int:
        return attempt.ref if attempt.ref > 0 else self.plan.numbers([attempt.job_id]).get(attempt.job_id, -1)

    def find_answered(self) -> None:
        answers = [operation.answer for _, operation in self._all(ops.AnswerGate)]
        self._found = gates.find(self.connection, [answer.job_id for answer in answers])
        numbers = [n for n, _ in self._found.values()]
        self.plan.load(numbers)
        self.plan.load_askers(numbers)

    # -- operations one by one

    def answer_gate(self, operation: ops.AnswerGate) -> JobStatus:
        answer = operation.answer
        n, created_at = self._found.get(answer.job_id, (0, None))
        if created_at != answer.created_at:
            raise JobNotFoundError(answer.job_id)
        return gate_commands.answer(self.plan, n, answer)

    def end_due_gates(self, operation: ops.EndDueGates) -> list[str]:
        self.plan.load(operation.numbers)
        found = [job for n in operation.numbers if (job := self.plan.get(n)) is not None and is_open(job)]
        due = [job.n for job in found if gates.is_moment(job.run_at)]
        never = [job.n for job in found if not gates.is_moment(job.run_at)]
        ended = gate_commands.end_due_gates(self.plan, due)
        ended += commands.give_up(self.plan, never, gates.NO_DEADLINE)
        return [job.id for job in ended]

    def ask_gate(self, operation: ops.AskGate) -> AskedGate:
        by = operation.attempt
        asker = (self._number(by), by.attempt, worker_number(by.worker))
        return gate_commands.ask(self.plan, asker, operation.gate, self._numbers)

    def enqueue(self, operation: ops.Enqueue) -> list[str]:
        parent = None
        if operation.parent is not None:
            by = operation.parent
            parent = (self._number(by), by.attempt, worker_number(by.worker))
        commands.enqueue(self.plan, operation.jobs, self._numbers, self._existing, parent)
        return [job.id for job in operation.jobs]

    def _fresh_numbers(self) -> Iterator[int]:
        """Yield job numbers for every submission of the group, reserved with one statement when the first is needed."""
        count = sum(len(op.jobs) for _, op in self._all(ops.Enqueue)) + len(self._all(ops.AskGate))
        first = numbers.reserve(self.connection, self.cache, "job", count)
        yield from range(first + 1, first + count + 1)

    def _existing(self, n: int) -> tuple[str, bytes]:
        record = self.plan.inserted.get(n)
        if record is not None:
            return record.function, record.call
        return self.connection.execute(
            f"SELECT l.function, {CALL} FROM jobs j JOIN lanes l ON l.n = j.lane {JOIN_CALL} WHERE j.n = ?",
            (n,),
        ).fetchone()

    def cancel(self, operation: ops.Cancel) -> dict[str, JobStatus]:
        numbers = self.plan.numbers(operation.ids)
        wanted = [numbers[job_id] for job_id in operation.ids if job_id in numbers]
        rows = commands.cancel(self.plan, wanted, descendants=operation.descendants)
        return {job.id: job.status for job in rows}

    def retry(self, operation: ops.Retry) -> JobStatus:
        number = self.plan.numbers([operation.job_id]).get(operation.job_id)
        if number is None:
            raise JobNotFoundError(operation.job_id)
        status = revival.retry(self.plan, number, fresh=operation.fresh).status
        if operation.fresh:
            steps.note_outdated(self.connection, number)
        return status

    def recount(self, operation: ops.Recount) -> list[str]:
        numbers = self.plan.numbers(operation.ids)
        rows = commands.recount(self.plan, [numbers[i] for i in operation.ids if i in numbers])
        return [
            job.id for job in rows if job.status is JobStatus.PENDING and job.waits_for is not WaitsFor.DEPENDENCIES
        ]

    def give_up(self, operation: ops.GiveUp) -> list[str]:
        numbers = self.plan.numbers(operation.ids)
        wanted = [numbers[job_id] for job_id in operation.ids if job_id in numbers]
        return [job.id for job in commands.give_up(self.plan, wanted, operation.error)]

    def register(self, operation: ops.Register) -> int:
        return leases.register(self.connection, operation.row, operation.lease, self.moment.clocks.monotonic)

    def extend_leases(self, operation: ops.ExtendLeases) -> WorkerLease:
        return leases.extend(self.connection, operation.worker, self.moment.clocks.monotonic)

    def report_refusals(self, operation: ops.ReportRefusals) -> None:
        self.connection.execute(
            "UPDATE workers SET refused = ? WHERE n = ? AND gone = 0", (operation.refused, operation.worker)
        )

    def reap(self, operation: ops.Reap) -> list[str]:
        for suspect in operation.suspects:
            leases.bury(self.connection, suspect.n, suspect.expires, certain=suspect.certain)
        return self._bury_work()

    def deregister(self, operation: ops.Deregister) -> None:
        self.connection.execute("UPDATE workers SET gone = 1 WHERE n = ?", (operation.worker,))
        self._bury_work()

    def _bury_work(self) -> list[str]:
        """Interrupt the attempts that gone workers still hold, and fail the jobs that only those could run."""
        held, owned = leases.left_behind(self.connection)
        rows = commands.reap(self.plan, held, [self.moment.draw() for _ in held])
        rows += commands.give_up(self.plan, owned, LOCAL_JOB_LOST)
        return list(dict.fromkeys(job.id for job in rows))

    # -- the log

    def _write_events(self) -> None:
        plan = self.plan
        if not plan.events:
            return
        last = numbers.reserve(self.connection, self.cache, "event", len(plan.events))
        self.stored = append_events(self.connection, plan.events, [plan[n] for n, _ in plan.events], last)

    # -- answers

    def finished_answers(self) -> list[Any]:
        """Return the answers, completed with the claims and with whether steps are still to be forgotten."""
        for i, _ in self._all(ops.Dequeue):
            self.answers[i] = self.claims.answer(i)
        for i, operation in self._all(ops.Finish):
            taken = ClaimResult() if operation.claim is None else self.claims.answer(i)
            self.answers[i] = Finished(self.answers[i], taken)
        for i, operation in self._all(ops.WriteSteps):
            more = any(change is left for left in self._unfinished for change in operation.changes)
            self.answers[i] = (self.answers[i], more)
        return self.answers


# -- phases

_Phase = tuple[type[ops.Operation], Callable[[_Transaction], None]]


def _each(kind: type[O], run: Callable[[_Transaction, O], Any]) -> _Phase:
    """Return the phase that runs the operations of a kind one by one; a refused one does not affect the others."""

    def phase(transaction: _Transaction) -> None:
        for i, operation in transaction.by_kind[kind]:
            try:
                transaction.answers[i] = run(transaction, operation)
            except JobProcessorError as refused:
                transaction.answers[i] = refused

    return kind, phase


# Most transactions have operations of one or two kinds: the phases of other kinds cost nothing.
_PHASES: tuple[_Phase, ...] = (
    _each(ops.Remove, _Transaction.remove),
    _each(ops.Clear, _Transaction.clear),
    (ops.AppendEvents, _Transaction.append_events),
    (ops.WriteSteps, _Transaction.write_steps),
    (ops.Finish, _Transaction.finish),
    _each(ops.Cancel, _Transaction.cancel),
    _each(ops.Retry, _Transaction.retry),
    _each(ops.Recount, _Transaction.recount),
    _each(ops.GiveUp, _Transaction.give_up),
    (ops.AnswerGate, _Transaction.find_answered),
    _each(ops.AnswerGate, _Transaction.answer_gate),
    _each(ops.EndDueGates, _Transaction.end_due_gates),
    _each(ops.Register, _Transaction.register),
    _each(ops.ExtendLeases, _Transaction.extend_leases),
    _each(ops.ReportRefusals, _Transaction.report_refusals),
    _each(ops.Reap, _Transaction.reap),
    _each(ops.Deregister, _Transaction.deregister),
    _each(ops.AskGate, _Transaction.ask_gate),
    _each(ops.Enqueue, _Transaction.enqueue),
)
