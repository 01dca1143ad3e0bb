"""Specify what a store does with gates: jobs without a function, which are answered.

It is a part of the contract of ``backends.base``. Everything else that jobs have (edges, groups, events, retries,
removal), gates have by being jobs: ``enqueue_jobs`` stores them, a dependency that is met opens them, ``cancel_jobs``,
``retry_job`` and ``give_up`` treat them as any job that is pending.

A gate is *open* while it is pending and waits for its answer (``WaitsFor.ANSWER``). It is opened in the transaction
that met its dependencies, with an ``asked`` event. It is never claimed and has no attempts.

Two rules bind it to the job whose body asked, its asker. Stores without large transactions keep them as they settle
dependents:

- when the asker ends, however it ends, its open gates are cancelled with it;
- when the gate ends, however it ends, an asker that is parked on it becomes ready (``AttemptEnd.parked_on``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from asyncjobs.core.requests import Answer, AskedGate, AttemptRef, NewJob
from asyncjobs.models import JobStatus

DUE_AT_ONCE = 200
"""The most gates that one call of ``end_due_gates`` ends."""


class GateStore(ABC):
    """The gates of a store."""

    @abstractmethod
    async def ask_gate(self, attempt: AttemptRef, gate: NewJob) -> AskedGate:
        """Open the gate of a question that a running body asks, or find the one that it asked before.

        A gate is found by its id alone, whatever its question was. A gate that ended without an answer before its asker
        was last retried by hand is opened again (events ``retrying``, ``asked``); if that retry was fresh, any gate is.
        A new gate has no dependencies.

        :raises JobStateError: the attempt is no longer in progress, or asked to stop.
        :raises JobConflictError: the id is that of another job, or of a gate that was submitted.
        """

    @abstractmethod
    async def answer_gate(self, answer: Answer) -> JobStatus:
        """End an open gate by an answer (``completed``) or a rejection (``failed``); the first one wins.

        Dependents are settled in the same transaction. The same answer by the same giver, sent again, changes nothing.
        The store does not check the value: the caller has made sure that it fits the question.

        :returns: the status of the gate then.
        :raises JobNotFoundError: there is no such job, or it was not submitted at ``answer.created_at``.
        :raises JobStateError: it is not a gate, not open, its deadline has come, or another answer came first.
        """

    @abstractmethod
    async def end_due_gates(self) -> Sequence[str]:
        """End open gates whose deadline has come: with their default, else as failed with ``AnswerTimeoutError``.

        One call ends up to ``DUE_AT_ONCE`` gates, the earliest deadline first. If none is due, it is one indexed read.

        :returns: the ids of the gates that it ended.
        """
