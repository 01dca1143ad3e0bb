"""The rules of gates, read as naively as those of jobs: one is open, or has ended, and what follows is worked out."""

from __future__ import annotations

from collections.abc import Mapping

from asyncjobs.backends.base import NewJob
from asyncjobs.clock import from_datetime
from asyncjobs.models import Job, JobResult, JobStatus, WaitsFor
from tests.properties.model import Asked, Model

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, SKIPPED = JobStatus


class GateRules:
    """What the rules say of gates and of those who ask. ``wall`` is set before each step (µs)."""

    def __init__(self) -> None:
        self.jobs: dict[str, Model] = {}
        self.wall = 0
        self.defaults: dict[bytes, bytes] = {}
        """By what is asked: what the deadline answers."""

    # -- looking

    def open_gates(self) -> list[Model]:
        return [job for job in self.jobs.values() if job.open]

    def gates_of(self, asker_id: str) -> list[Model]:
        return [job for job in self.jobs.values() if job.gate and job.gate.asker == asker_id]

    def asks_again(self, asker_id: str) -> list[Model]:
        """What it asked before it was retried."""
        return [job for job in self.gates_of(asker_id) if job.gate and job.gate.ask_again]

    def late(self, job: Model) -> bool:
        return job.gate is not None and job.gate.deadline is not None and job.gate.deadline <= self.wall

    def due(self) -> list[Model]:
        """The open gates whose deadline has come, the first due first."""
        late = [(job.gate.deadline, job.n, job) for job in self.open_gates() if job.gate and self.late(job)]
        return [job for _, _, job in sorted(late, key=lambda entry: entry[:2])]

    # -- opening and ending

    def asked(self, new: NewJob, asker: str | None = None) -> Asked | None:
        if not new.gate:
            return None
        timeout = None if new.timeout is None else round(new.timeout * 1_000_000)
        return Asked(timeout, self.defaults.get(new.call), asker)

    def opened(self, job: Model) -> None:
        """Its dependencies allow it: the time for answers begins."""
        assert job.gate is not None
        job.gate.openings += 1
        job.gate.opened_at = self.wall
        job.gate.deadline = None if job.gate.timeout is None else self.wall + job.gate.timeout

    def answer(self, job: Model, value: bytes | None, reason: str | None, by: str | None) -> JobStatus | None:
        """End it by this answer, or by this rejection; returns what it is then, None where the answer is refused."""
        gate = job.gate
        if gate is None:
            return None
        if job.open:
            if self.late(job):
                return None
            job.status = COMPLETED if reason is None else FAILED
            gate.answered_at, gate.by, gate.reason, gate.value = self.wall, by, reason, value
            gate.error = None if reason is None else "RejectedError"
            return job.status
        was_answered = gate.answered_at is not None
        same = (gate.value, gate.reason, gate.by) == (value, reason, by)
        return job.status if was_answered and same else None

    def expire(self, job: Model) -> None:
        """Nobody answered in time."""
        assert job.gate is not None
        job.gate.value = job.gate.default
        job.status = FAILED if job.gate.default is None else COMPLETED
        job.gate.error = "AnswerTimeoutError" if job.gate.default is None else None

    def give_up(self, job: Model, error: str) -> bool:
        """A pending job, or gate, fails with this error; returns whether it was pending."""
        if job.status is not PENDING:
            return False
        job.status, job.parked = FAILED, None
        if job.gate is not None:
            job.gate.error = error
        return True

    def follow_ends(self, job: Model) -> bool:
        """An open question ends with the job that asked; a job is parked as long as its gate is open."""
        if job.parked is not None and not self.jobs[job.parked].open:
            job.parked = None
        asker = job.gate.asker if job.gate else None
        if job.open and asker is not None and self.jobs[asker].status.terminal:
            job.status = CANCELLED
            return True
        return False

    # -- asking

    def ask(self, asker: Model, new: NewJob) -> Model | None:
        """The gate of a question, as it is for the attempt that asks; None if its id is that of something else."""
        found = self.jobs.get(new.id)
        if found is None:
            gate = self.asked(new, asker.id)
            found = self.jobs[new.id] = Model(new, len(self.jobs), parent=asker.id, gate=gate)
            return found
        if found.gate is None or found.gate.asker != asker.id:
            return None
        if found.gate.ask_again and found.status.terminal:
            self.revive(found.id, asker.id)
        return found

    def park(self, job: Model, gate_id: str) -> None:
        """After the attempt was released: it waits for a gate that it asked, if that is open."""
        found = self.jobs.get(gate_id)
        if job.status is PENDING and found is not None and found.open and found in self.gates_of(job.id):
            job.parked = gate_id

    # -- retrying

    def revive(self, job_id: str, by: str | None = None) -> None:
        """The rules of retries say what follows."""
        raise NotImplementedError

    def forget_answers(self, asker_id: str, fresh: bool) -> None:
        """The asker is retried: answers that were given stay, unless it begins anew."""
        for job in self.gates_of(asker_id):
            assert job.gate is not None
            job.gate.ask_again |= fresh or job.status is not COMPLETED

    def forget_end(self, job: Model) -> None:
        """It waits for its answer again."""
        if job.gate is not None:
            job.gate.answered_at = job.gate.by = job.gate.reason = job.gate.value = job.gate.error = None
            job.gate.deadline = None
            job.gate.ask_again = False

    # -- comparing

    def compare_gate(self, job: Job, model: Model) -> None:
        """The store shows of a gate, and of a parked job, what the rules say."""
        waits = model.open or model.parked is not None
        assert (job.waits_for is WaitsFor.ANSWER) is waits, (
            f"{job.id} waits for {job.waits_for!r}, the rules say {waits}"
        )
        assert job.parked == model.parked, f"{job.id} is parked on {job.parked}, the rules say {model.parked}"
        if model.gate is None:
            assert job.gate is None
            return
        assert job.gate is not None
        assert job.attempt == 0
        assert job.started_at is None
        shown = [job.gate.opened_at, job.gate.deadline, job.gate.answered_at]
        told = [None if moment is None else from_datetime(moment) for moment in shown]
        right = [model.gate.opened_at, model.gate.deadline, model.gate.answered_at]
        assert told == right, f"{job.id} was opened, is due, was answered at {told}, the rules say {right}"
        assert (job.gate.answered_by, job.gate.asked_by) == (model.gate.by, model.gate.asker)

    def compare_results(self, results: Mapping[str, JobResult]) -> None:
        """A gate has the value of its answer, and the error of its rejection."""
        for job_id, result in results.items():
            job = self.jobs[job_id]
            assert job.gate is not None
            value = job.gate.value if job.status is COMPLETED else None
            error = None if result.error is None else result.error.error_type
            assert result.value == value, f"the answer of {job_id} is {result.value!r}, the rules say {value!r}"
            if job.status.terminal:
                assert error == job.gate.error, f"{job_id} ended with {error}, the rules say {job.gate.error}"
            if job.gate.error == "RejectedError":
                assert result.error is not None
                assert result.error.message == job.gate.reason
            assert result.answered_by == job.gate.by
