"""Decide what saving jobs means: which are submitted, retried or cancelled, and which are records.

Nothing is stored here. So what can be refused is refused before anything of the call is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from asyncjobs import models
from asyncjobs.compat.job import Job, JobStatus
from asyncjobs.compat.rows import STATE_COLUMNS, job_row
from asyncjobs.compat.run_jobs import describe, show_status
from asyncjobs.exceptions import ConfigurationError, JobConflictError, JobStateError, UnknownDependencyError
from asyncjobs.plurals import counted
from asyncjobs.requests import JobRequest
from asyncjobs.runtime.submission import LONGEST_ID

_DEFAULT_RETRIES = 3
_ENDED_BADLY = (models.JobStatus.FAILED, models.JobStatus.CANCELLED)


class Saved(Struct, frozen=True):
    """A job to be saved, checked, with its row."""

    job: Job
    row: tuple[Any, ...]

    @property
    def id(self) -> str:
        """Return the id, as it is stored."""
        return self.row[0]

    @property
    def status(self) -> JobStatus:
        """Return the status, as it is stored."""
        return JobStatus(self.row[2])

    @property
    def is_work(self) -> bool:
        """Return whether the processor is to run it."""
        return self.job.func is not None and self.status is JobStatus.PENDING


class SavedState(Struct, frozen=True):
    """A state to be saved.

    :param row: its row.
    :param noted: the row that it was loaded or saved with before; None if it is new.
    """

    row: tuple[Any, ...]
    noted: tuple[Any, ...] | None

    def find_lost(self, stored: Sequence[Any]) -> list[str]:
        """Return the columns that are set in the stored row and not in this one, and were not reset by the program."""
        noted = self.noted or (None,) * len(self.row)
        columns = zip(STATE_COLUMNS, stored, self.row, noted, strict=True)
        return [name for name, there, here, before in columns if there and not here and not before]

    def keep(self, stored: Sequence[Any], names: Collection[str]) -> tuple[Any, ...]:
        """Return the row with the stored values of some columns."""
        columns = zip(STATE_COLUMNS, stored, self.row, strict=True)
        return tuple(there if name in names else here for name, there, here in columns)


class Plan(Struct):
    """What saving jobs means.

    ``again``: jobs that were submitted before, and have not ended: the caller runs them while no worker is alive.
    ``replaced``: ids of records that a submitted job takes the place of.
    ``kept``: ids of pending jobs with a ``func`` that are completed records, and stay so. ``has_work``: whether the
    processor is to run any of those that are saved, or has run it already.
    """

    submit: list[JobRequest] = field(default_factory=list[JobRequest])
    again: list[str] = field(default_factory=list[str])
    retry: list[str] = field(default_factory=list[str])
    cancel: list[str] = field(default_factory=list[str])
    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    replaced: list[str] = field(default_factory=list[str])
    kept: list[str] = field(default_factory=list[str])
    has_work: bool = False


def check_jobs(jobs: Sequence[Job]) -> list[Saved]:
    """Check jobs and make their rows; of those with one id, the last one is saved, in its place.

    :raises ConfigurationError: a field has a value that it cannot have. TypeError: JSON cannot take the metadata.
    """
    last: dict[str, Saved] = {}
    for job in jobs:
        saved = Saved(job, job_row(job))
        last.pop(saved.id, None)
        last[saved.id] = saved
    return list(last.values())


def kernel_id(movie_id: str, job_id: str) -> str:
    """Return the id of a tracked job in the store.

    :raises ConfigurationError: it would be too long.
    """
    made = f"{movie_id}/{job_id}"
    if len(made) > LONGEST_ID:
        raise ConfigurationError(
            "Job.id",
            f"{made[:40]}…",
            problem=f"the id 'movie/id' of a job that the processor runs has {counted(len(made), 'character')} "
            f"({made[:40]!r}…); {LONGEST_ID} are allowed",
            hint="shorten the id of the job or of the movie; records without func may be longer",
        )
    return made


class Facts(Struct, frozen=True):
    """What is stored when jobs of a movie are saved.

    :param run: jobs of the movie that the processor runs, by the tracker's id.
    :param records: the status of each record of the movie.
    :param taken: jobs of the store by their id there, of those ids that would be submitted.
    """

    run: Mapping[str, models.Job]
    records: Mapping[str, JobStatus]
    taken: Mapping[str, models.Job]


def plan_save(movie_id: str, jobs: Sequence[Saved], facts: Facts) -> Plan:
    """Return what saving these jobs of a movie means.

    :raises JobStateError: the status of a job that the processor runs cannot be changed so.
    :raises UnknownDependencyError: a dependency does not exist.
    :raises JobConflictError: the id in the store belongs to another job.
    """
    plan = Plan(has_work=any(saved.is_work for saved in jobs))
    together = {saved.id: saved for saved in jobs}
    for saved in jobs:
        job = facts.run.get(saved.id)
        if job is not None:
            _decide(plan, movie_id, saved, job)
        elif saved.is_work and _is_done(movie_id, saved, facts):
            plan.kept.append(saved.id)
        elif saved.is_work:
            plan.submit.append(_request(movie_id, saved, together, facts))
            plan.replaced.append(saved.id)
        else:
            plan.rows.append(saved.row)
    return plan


def _is_done(movie_id: str, saved: Saved, facts: Facts) -> bool:
    """Return whether a job to be run is a completed record, which the program does not want to have run again.

    It wants that where it has set the completed job that it knew to pending. A new object, as a program makes it that
    is started again, is no wish, as little as for a job that the processor has completed.
    """
    completed = facts.records.get(saved.id) is JobStatus.COMPLETED
    return completed and saved.job.noted_status(movie_id) is not JobStatus.COMPLETED


def _decide(plan: Plan, movie_id: str, saved: Saved, job: models.Job) -> None:
    if saved.is_work and not job.status.terminal:
        plan.again.append(job.id)
    unchanged = saved.job.is_unchanged(movie_id)
    submitted_again = saved.is_work and unchanged is None and job.status not in _ENDED_BADLY
    if not unchanged and not submitted_again:
        decide_status(plan, saved.status, job)


def decide_status(plan: Plan, wanted: JobStatus, job: models.Job) -> None:
    """Add to a plan what another status of a job that the processor runs means.

    pending retries what failed or was cancelled; skipped cancels what has not ended; the present one changes nothing.

    :raises JobStateError: anything else: the processor itself says what has become of the job.
    """
    cancelled = job.status is models.JobStatus.CANCELLED or job.cancel_requested
    if wanted is show_status(job) or (wanted is JobStatus.SKIPPED and cancelled):
        return
    if wanted is JobStatus.PENDING and job.status in _ENDED_BADLY:
        plan.retry.append(job.id)
    elif wanted is JobStatus.SKIPPED and not job.status.terminal:
        plan.cancel.append(job.id)
    else:
        raise JobStateError(
            job.id,
            job.status,
            f"the processor runs it, so it cannot be set to {wanted.value}",
            hint="pending retries a job that failed or was cancelled, skipped cancels one that has not ended",
        )


def _request(movie_id: str, saved: Saved, together: Mapping[str, Saved], facts: Facts) -> JobRequest:
    values = saved.job.checked(("func", "args", "kwargs", "depends_on", "max_retries"))
    made = kernel_id(movie_id, saved.id)
    if made in facts.taken:
        raise JobConflictError(made, differs="another movie and id, or without tracker_id")
    return JobRequest(
        func=values["func"],
        args=values["args"],
        kwargs=values["kwargs"],
        job_id=made,
        depends_on=[
            parent
            for name in dict.fromkeys(values["depends_on"])
            if (parent := _dependency(movie_id, saved.id, name, together, facts)) is not None
        ],
        group=movie_id,
        metadata=describe(saved.row),
        max_retries=None if values["max_retries"] == _DEFAULT_RETRIES else values["max_retries"],
        if_exists="return",
    )


def _dependency(movie_id: str, job_id: str, name: str, together: Mapping[str, Saved], facts: Facts) -> str | None:
    """Return the id in the store of a dependency; None for a record that is completed: it is met already."""
    if name in facts.run:
        return facts.run[name].id
    beside = together.get(name)
    if beside is not None and beside.is_work:
        return None if _is_done(movie_id, beside, facts) else kernel_id(movie_id, name)
    status = facts.records.get(name) if beside is None else beside.status
    if status is None:
        raise UnknownDependencyError(job_id, [name])
    if status is not JobStatus.COMPLETED:
        raise ConfigurationError(
            "Job.depends_on",
            name,
            problem=f"job {job_id!r} depends on {name!r}, a record that is {status.value}: no processor runs it",
            hint=f"give {name!r} a func, or save it as completed before",
        )
    return None
