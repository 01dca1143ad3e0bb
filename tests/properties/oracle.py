"""A second, naive reading of the rules: what every job must be, worked out from edges and statuses alone.

It shares nothing with ``core`` but the vocabulary. After each step it decides all waiting jobs anew by brute force,
over and over until nothing changes. Where the rules leave a choice (which broken edge is the cause), it checks that
what the store chose is one of those allowed, and takes it over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from asyncjobs.backends.base import NewJob
from asyncjobs.models import EdgeState, Job, JobStatus, Outcome, OutcomeKind

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, SKIPPED = JobStatus
OPEN, MET, PASSED, BROKEN = EdgeState


@dataclass
class Model:
    """What the rules say of one job."""

    new: NewJob
    n: int
    status: JobStatus = PENDING
    ready: bool = False
    due: int = 0
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    because: str | None = None
    worker: int | None = None
    parent: str | None = None
    frozen: dict[str, EdgeState] = field(default_factory=dict[str, EdgeState])
    """Edges of a job that ran: a later retry of the parent does not open them again."""
    steps: dict[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def id(self) -> str:
        return self.new.id

    @property
    def rank(self) -> tuple[int, int]:
        return -self.new.priority, self.n


class Oracle:
    """The rules. ``now`` is set before each step (µs); ``causes`` are what the store says of skips, after it."""

    def __init__(self) -> None:
        self.jobs: dict[str, Model] = {}
        self.capacity: dict[str, int] = {}
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
            self.jobs[new.id] = Model(new, len(self.jobs), due=due, parent=parent)
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
                job.status = CANCELLED
            elif job.status is IN_PROGRESS:
                job.cancel_requested = True

    def keep(self, job: Model, key: str, value: bytes) -> None:
        job.steps[key] = value

    def forget(self, job: Model, prefix: str) -> None:
        job.steps = {key: value for key, value in job.steps.items() if not key.startswith(prefix)}

    def retry(self, job_id: str, fresh: bool) -> None:
        if fresh:
            self.jobs[job_id].steps = {}
        revived = self.revived_by(job_id)
        names = {job.id for job in revived}
        for job in self.jobs.values():
            if job.attempt:
                job.frozen.update({p: s for p, s in self.edges(job).items() if p in names and s is not OPEN})
            elif job.status is PENDING and names & {dep.parent_id for dep in job.new.dependencies}:
                job.ready = False  # it waits again, if its edges say so
        for job in revived:
            job.status, job.ready, job.because, job.cancel_requested = PENDING, False, None, False
            job.failures = job.interruptions = 0
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
                above = [causes[dep.parent_id] for dep in job.new.dependencies if dep.parent_id in causes]
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
            if model.status is PENDING:
                assert job.dependencies_met == model.ready, f"{job.id} ready: {job.dependencies_met}"
