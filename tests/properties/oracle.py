"""A second, naive reading of the rules: what every job must be, worked out from edges and statuses alone.

It shares nothing with ``core`` but the vocabulary. After each step it decides all waiting jobs anew by brute force,
over and over until nothing changes. Where the rules leave a choice (which broken edge is the cause), it checks that
what the store chose is one of those allowed, and takes it over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from asyncjobs.backends.base import NewJob
from asyncjobs.models import EdgeState, Job, JobStatus, Outcome, OutcomeKind
from tests.properties.gate_rules import GateRules
from tests.properties.model import Model

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, SKIPPED = JobStatus
OPEN, MET, PASSED, BROKEN = EdgeState


class Oracle(GateRules):
    """The rules. ``now`` and ``wall`` are set before each step (µs since the start of the machine, and by the wall
    clock); ``causes`` are what the store says of skips, after it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.capacity: dict[str, int] = {}
        self.revivals: list[tuple[str, str]] = []
        """The jobs that were made pending by hand, each with the job that was retried."""
        self.now = 0

    # -- looking

    def edge(self, job: Model, parent_id: str, optional: bool) -> EdgeState:
        if parent_id in job.frozen:
            return job.frozen[parent_id]
        parent = self.jobs[parent_id]
        if not parent.status.terminal:
            return OPEN
        return MET if parent.status is COMPLETED else PASSED if optional else BROKEN

    def edges(self, job: Model) -> dict[str, EdgeState]:
        return {dep.parent_id: self.edge(job, dep.parent_id, dep.optional) for dep in job.new.dependencies}

    def running(self, worker: int | None = None) -> list[Model]:
        return [j for j in self.jobs.values() if j.status is IN_PROGRESS and worker in (None, j.worker)]

    def root(self, parent_id: str) -> str:
        return self.jobs[parent_id].because or parent_id

    def claimable(self, limit: int) -> list[Model]:
        """What a claim takes: by priority and submission, as far as each limited key has room."""
        room = dict(self.capacity)
        for job in self.running():
            if job.new.limit:
                room[job.new.limit.key] -= 1
        taken: list[Model] = []
        waiting = [j for j in self.jobs.values() if j.status is PENDING and j.ready and j.due <= self.now]
        waiting = [j for j in waiting if j.gate is None and j.parked is None]
        for job in sorted(waiting, key=lambda j: j.rank):
            key = job.new.limit.key if job.new.limit else None
            if len(taken) == limit or (key is not None and room[key] <= 0):
                continue
            if key is not None:
                room[key] -= 1
            taken.append(job)
        return taken

    # -- steps

    def submit(self, batch: Sequence[NewJob], parent: str | None) -> None:
        for new in batch:
            due = self.now + new.delay if new.delay else 0
            self.jobs[new.id] = Model(new, len(self.jobs), due=due, parent=parent, gate=self.asked(new))
            if new.limit:
                self.capacity[new.limit.key] = new.limit.capacity

    def start(self, job: Model, worker: int) -> None:
        job.status, job.worker, job.attempt = IN_PROGRESS, worker, job.attempt + 1

    def end(self, job: Model, outcome: Outcome) -> None:
        job.worker = None
        retry = job.new.retry
        if job.cancel_requested or outcome.kind is OutcomeKind.CANCELLED:
            job.status = CANCELLED
        elif outcome.kind is OutcomeKind.SUCCEEDED:
            job.status = COMPLETED
        elif outcome.kind is OutcomeKind.RELEASED:
            job.status, job.due = PENDING, 0
        elif outcome.kind is OutcomeKind.FAILED:
            job.failures += 1
            final = not outcome.retryable or job.failures > retry.max_retries
            job.status = FAILED if final else PENDING
            job.due = job.due if final else self.backoff(job, job.failures)
        else:
            job.interruptions += 1
            final = job.interruptions >= job.new.max_interruptions
            job.status = FAILED if final else PENDING
            job.due = job.due if final else self.backoff(job, job.interruptions - 1)

    def backoff(self, job: Model, n: int) -> int:
        retry = job.new.retry
        return self.now + round(min(retry.cap, retry.base * retry.factor**n) * 1_000_000)

    def cancel(self, ids: Iterable[str], descendants: bool) -> None:
        targets = set(ids)
        while descendants:
            more = {j.id for j in self.jobs.values() if j.parent in targets} - targets
            if not more:
                break
            targets |= more
        for job in (self.jobs[job_id] for job_id in targets):
            if job.status is PENDING:
                job.status, job.parked = CANCELLED, None
            elif job.status is IN_PROGRESS:
                job.cancel_requested = True

    def keep(self, job: Model, key: str, value: bytes) -> None:
        job.steps[key] = value

    def forget(self, job: Model, prefix: str) -> None:
        job.steps = {key: value for key, value in job.steps.items() if not key.startswith(prefix)}

    def retry(self, job_id: str, fresh: bool) -> None:
        if fresh:
            self.jobs[job_id].steps = {}
        self.forget_answers(job_id, fresh)
        self.revive(job_id)

    def may_be_retried(self, job: Model) -> bool:
        """A failed or cancelled job; not a question whose asker has ended."""
        asker = job.gate.asker if job.gate else None
        return job.status in (FAILED, CANCELLED) and not (asker and self.jobs[asker].status.terminal)

    def revive(self, job_id: str, by: str | None = None) -> None:
        """The job, and those that it had skipped, are pending again; ``by`` names the job that asks it again."""
        revived = self.revived_by(job_id)
        names = {job.id for job in revived}
        for job in self.jobs.values():
            if job.started:
                job.frozen.update({p: s for p, s in self.edges(job).items() if p in names and s is not OPEN})
            elif job.status is PENDING and names & {dep.parent_id for dep in job.new.dependencies}:
                job.ready = False  # it waits again, if its edges say so
        for job in revived:
            job.status, job.ready, job.because, job.cancel_requested = PENDING, False, None, False
            job.failures = job.interruptions = 0
            self.forget_end(job)
            self.revivals.append((job.id, (job.id == job_id and by) or job_id))
            if job.id == job_id:
                job.due = 0

    def revived_by(self, job_id: str) -> list[Model]:
        """The job, and over and over what was skipped because of it: any broken parent of a child with ``require`` is
        a cause of its skip, and so is it of the skips that followed."""
        causes = {job_id: job_id}
        found = True
        while found:
            found = False
            for job in self.jobs.values():
                if job.status is not SKIPPED or job.id in causes:
                    continue
                spoilt = [parent_id for parent_id, state in self.edges(job).items() if state is not MET]
                above = [causes[parent_id] for parent_id in spoilt if parent_id in causes]
                if above and (job.new.require is not None or job.because in (job_id, *above)):
                    causes[job.id] = job.because or job_id
                    found = True
        return [job for job in self.jobs.values() if job.id in causes]

    def settle(self, causes: Mapping[str, str | None]) -> None:
        """Decide every waiting job from its edges, until nothing changes; then look at the causes of new skips."""
        skipped = {job.id for job in self.jobs.values() if job.status is SKIPPED}
        changed = True
        while changed:
            changed = False
            for job in self.jobs.values():
                if job.status is PENDING and not job.ready:
                    changed |= self._decide(job, causes.get(job.id))
                changed |= self.follow_ends(job)
        for job in self.jobs.values():
            if job.status is SKIPPED and job.id not in skipped:
                spoilt = (BROKEN,) if job.new.require is None else (BROKEN, PASSED)
                allowed = {self.root(parent) for parent, state in self.edges(job).items() if state in spoilt}
                assert job.because in allowed, f"{job.id} skipped because of {job.because}, not {sorted(allowed)}"

    def _decide(self, job: Model, cause: str | None) -> bool:
        states = self.edges(job)
        met = sum(state is MET for state in states.values())
        still = sum(state is OPEN for state in states.values())
        if job.new.require is None:
            skip = BROKEN in states.values()
            job.ready = not skip and not still
        else:
            skip = met + still < job.new.require
            job.ready = met >= job.new.require
        if skip:
            job.status, job.because = SKIPPED, cause
        elif job.open:
            self.opened(job)
        return skip or job.ready

    # -- comparing

    def compare(self, jobs: Sequence[Job], edges: Mapping[str, Mapping[str, EdgeState]]) -> None:
        """The store says of every job what the rules say."""
        assert {job.id for job in jobs} == set(self.jobs)
        for job in jobs:
            model = self.jobs[job.id]
            told = (job.status, job.attempt, job.failures, job.interruptions, job.cancel_requested, job.because)
            right = (
                model.status,
                model.attempt,
                model.failures,
                model.interruptions,
                model.cancel_requested,
                model.because,
            )
            assert told == right, f"{job.id}: {told}, the rules say {right}"
            assert edges.get(job.id, {}) == self.edges(model), f"edges to {job.id}"
            assert (job.waits_for is not None) is (model.status is PENDING), f"{job.id} waits for {job.waits_for!r}"
            if model.status is PENDING:
                assert job.dependencies_met == model.ready, f"{job.id} ready: {job.dependencies_met}"
            self.compare_gate(job, model)
