"""Define ``JobTracker``: the old tracker's methods on the records in a file of asyncjobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asyncjobs.compat import records
from asyncjobs.compat.coercion import member, optional, refused, text
from asyncjobs.compat.job import Job, JobStatus
from asyncjobs.compat.places import open_records
from asyncjobs.compat.rows import checked_text, fill_state, job_row, state_row
from asyncjobs.compat.state import PipelineState

_status = member(JobStatus)


class JobTracker:
    """Keeps what programs note down about the jobs of their movies.

    ::

        tracker = JobTracker("cinema_jobs.db")
        tracker.save_job(Job(id="plot", type=JobType.SCREENPLAY), "detective_1")
        tracker.update_job_status("plot", JobStatus.COMPLETED, output_path="plot.json")

    :param db_path: the file; it is made if it is missing. Default ``./cinema_jobs.db``. A file of the old tracker is
        imported once into ``cinema_jobs.asyncjobs.db`` beside it, which is used from then on, and is never written.

    Every method is one short transaction on a connection of its own, and blocks meanwhile. Threads, processes and
    forked children may use one file at the same time, from inside of a running loop, too.
    """

    def __init__(self, db_path: str | os.PathLike[str] = "./cinema_jobs.db") -> None:
        self.db_path = db_path
        self._file = open_records(db_path)

    @property
    def file(self) -> Path:
        """The file of asyncjobs that has the records."""
        return self._file.path

    # -- jobs

    def save_job(self, job: Job, movie_id: str) -> None:
        """Save a job of a movie, or replace the one with its id.

        :raises ValueError: a field has a value that it cannot have. TypeError: JSON cannot take the metadata.
        """
        movie_id = _text("movie_id", movie_id)
        row = job_row(_checked(job, Job))
        with self._file.writing() as connection:
            records.put_jobs(connection, movie_id, [row])

    def get_job(self, job_id: str) -> Job | None:
        """Return the job with this id; of several movies, the one that was saved last. None if there is none."""
        job_id = _text("job_id", job_id)
        with self._file.reading() as connection:
            found = records.find_by_id(connection, job_id)
        return found[0].job if found else None

    def get_jobs_by_movie(self, movie_id: str) -> list[Job]:
        """Return the jobs of a movie by ``created_at``; those of one moment in the order in which they were saved."""
        movie_id = _text("movie_id", movie_id)
        with self._file.reading() as connection:
            found = records.find_by_movie(connection, movie_id)
        return _by_age([record.job for record in found])

    def get_jobs_by_status(self, movie_id: str, status: JobStatus) -> list[Job]:
        """Return the jobs of a movie with this status, in the order of their last save."""
        movie_id, status = _text("movie_id", movie_id), _status("status", status)
        with self._file.reading() as connection:
            return [record.job for record in records.find_by_movie(connection, movie_id, status)]

    def get_next_pending_job(self, movie_id: str) -> Job | None:
        """Return the first of the pending jobs of a movie, or None."""
        return next(iter(self.get_jobs_by_status(movie_id, JobStatus.PENDING)), None)

    def update_job_status(
        self, job_id: str, status: JobStatus, error: str | None = None, output_path: str | None = None
    ) -> None:
        """Set status, error and path of the job with this id: what is not given is erased. An unknown id is ignored."""
        job_id, status = _text("job_id", job_id), _status("status", status)
        error, output_path = (
            None if value is None else checked_text(name, value)
            for name, value in (
                ("error", optional(text)("error", error)),
                ("output_path", optional(text)("output_path", output_path)),
            )
        )
        with self._file.writing() as connection:
            for record in records.find_by_id(connection, job_id)[:1]:
                records.update_status(connection, record.n, status, error, output_path)

    def get_progress(self, movie_id: str) -> dict[str, Any]:
        """Return how many jobs a movie has, how many of them completed, failed or are pending, and the percentage."""
        movie_id = _text("movie_id", movie_id)
        with self._file.reading() as connection:
            counts = records.count_by_status(connection, movie_id)
        return _progress(counts)

    # -- states

    def save_state(self, state: PipelineState) -> None:
        """Save a state with its jobs: all of it, or nothing. Of two jobs with one id, the last one stays.

        :raises ValueError: as ``save_job``. TypeError: JSON cannot take the screenplay, or metadata.
        """
        row = state_row(_checked(state, PipelineState))
        movie_id = _text("PipelineState.movie_id", state.movie_id)
        rows = [job_row(job) for job in state.jobs]
        with self._file.writing() as connection:
            records.put_state(connection, movie_id, row)
            records.put_jobs(connection, movie_id, rows)

    def load_state(self, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> PipelineState | None:
        """Return the state of a movie with its jobs, by ``created_at``; None if none was saved.

        ``screenplay`` is not kept, only ``screenplay_dict``.
        """
        movie_id = _text("movie_id", movie_id)
        with self._file.reading() as connection:
            row = records.find_state(connection, movie_id)
            if row is None:
                return None
            found = records.find_by_movie(connection, movie_id)
        state = PipelineState.create(movie_id, base_dir)
        fill_state(state, row)
        state.jobs = _by_age([record.job for record in found])
        return state


def _text(field: str, value: object) -> str:
    return checked_text(field, text(field, value))


def _checked(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise refused(kind.__name__, value, f"a {kind.__name__} of asyncjobs.compat")
    return value


def _by_age(jobs: list[Job]) -> list[Job]:
    """Sort by ``created_at`` as it is stored: as text, which also orders moments with and without a zone."""
    return sorted(jobs, key=lambda job: job.created_at.isoformat())


def _progress(counts: dict[str, int]) -> dict[str, Any]:
    total = sum(counts.values())
    completed, failed, pending = (
        counts.get(status.value, 0) for status in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.PENDING)
    )
    progress = completed / total * 100 if total else 0
    return {"total": total, "completed": completed, "failed": failed, "pending": pending, "progress": progress}
