"""Define ``JobTracker``: the old tracker's methods on the records in a file of asyncjobs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncjobs.compat.coercion import member, refused, text
from asyncjobs.compat.job import Job, JobStatus
from asyncjobs.compat.opening import StoreOpening
from asyncjobs.compat.places import open_records
from asyncjobs.compat.reading import Reader, by_age
from asyncjobs.compat.rows import checked_text, state_row
from asyncjobs.compat.saving import SavedState, check_jobs
from asyncjobs.compat.state import PipelineState
from asyncjobs.compat.writing import Saver
from asyncjobs.processor import JobProcessor
from asyncjobs.sync import SyncJobs

_status = member(JobStatus)


class JobTracker:
    """Keeps what programs note down about the jobs of their movies, and shows those that a processor runs.

    ::

        tracker = JobTracker("cinema_jobs.db")
        tracker.save_job(Job(id="plot", type=JobType.SCREENPLAY), "detective_1")
        tracker.update_job_status("plot", JobStatus.COMPLETED, output_path="plot.json")

    :param db_path: the file; it is made if it is missing. Default ``./cinema_jobs.db``. A file of the old tracker is
        imported once into ``cinema_jobs.asyncjobs.db`` beside it, which is used from then on, and is never written.
    :param processor: a ``JobProcessor`` or ``SyncJobs`` on the same file. Its jobs whose group is a movie and whose
        metadata have ``tracker_id`` appear among the others, with their true state; it runs saved jobs with ``func``.
    :raises ConfigurationError: the file cannot be used, or the processor keeps its jobs elsewhere.

    Every method is one short transaction on a connection of its own, and blocks meanwhile. Threads, processes and
    forked children may use one file at the same time, from inside of a running loop, too. Without a processor, jobs
    with ``func`` are run by any daemon on the file; while there is none, in the caller, with a logged warning.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] = "./cinema_jobs.db",
        processor: JobProcessor | SyncJobs | None = None,
    ) -> None:
        self.db_path = db_path
        self._file = open_records(db_path)
        opening = StoreOpening(self._file, processor)
        self._reader = Reader(self._file, opening)
        self._saver = Saver(self._file, opening, self._reader)

    @property
    def file(self) -> Path:
        """The file of asyncjobs that has the records."""
        return self._file.path

    # -- jobs

    def save_job(self, job: Job, movie_id: str) -> None:
        """Save a job of a movie, or replace the one with its id.

        With a ``func``, a pending job is submitted. One that the processor runs already gets no record: if its status
        was not changed, nothing happens; otherwise this is ``update_job_status``. Where the file has a completed
        record of this movie and id, that stays and nothing is submitted, with a logged warning: setting the status of
        the job that was loaded from there to pending runs it again.

        :raises ValueError: a field has a value that it cannot have. TypeError: JSON cannot take the metadata.
        :raises SubmissionError: it cannot be submitted. JobStateError: see ``update_job_status``.
        """
        jobs = check_jobs([_checked(job, Job)])
        self._saver.save(_text("movie_id", movie_id), jobs)

    def get_job(self, job_id: str) -> Job | None:
        """Return the job with this id; of several movies, the one that was saved last. None if there is none."""
        entry = self._reader.find_newest(_text("job_id", job_id))
        return None if entry is None else entry.job

    def get_jobs_by_movie(self, movie_id: str) -> list[Job]:
        """Return the jobs of a movie by ``created_at``; those of one moment in the order in which they were saved."""
        return by_age(self._reader.find_movie(_text("movie_id", movie_id)))

    def get_jobs_by_status(self, movie_id: str, status: JobStatus) -> list[Job]:
        """Return the jobs of a movie with this status, in the order of their last save."""
        found = self._reader.find_movie(_text("movie_id", movie_id), _status("status", status))
        return [entry.job for entry in found]

    def get_next_pending_job(self, movie_id: str) -> Job | None:
        """Return the first of the pending jobs of a movie, or None."""
        return next(iter(self.get_jobs_by_status(movie_id, JobStatus.PENDING)), None)

    def update_job_status(
        self, job_id: str, status: JobStatus, error: str | None = None, output_path: str | None = None
    ) -> None:
        """Set status, error and path of the job with this id: what is not given is erased. An unknown id is ignored.

        Of a job that the processor runs, ``pending`` retries one that has failed, and ``skipped`` cancels one that has
        not ended.

        :raises JobStateError: any other status of such a job: the processor says itself what has become of it.
        """
        job_id, status = _text("job_id", job_id), _status("status", status)
        given = {"error": error, "output_path": output_path}
        texts = {name: None if value is None else _text(name, value) for name, value in given.items()}
        self._saver.update(job_id, status, texts["error"], texts["output_path"])

    def get_progress(self, movie_id: str) -> dict[str, Any]:
        """Return how many jobs a movie has, how many of them completed, failed or are pending, and the percentage."""
        return _progress(self._reader.count(_text("movie_id", movie_id)))

    # -- states

    def save_state(self, state: PipelineState) -> None:
        """Save a state with its jobs: all of it, or nothing. Of two jobs with one id, the last one stays.

        Jobs with ``func`` are one batch, in any order. What one of them is refused for refuses the whole call. Beside
        such jobs, flags of stages and the screenplay that the file has stay where this state, which was not loaded
        from there, has none. Without, they are replaced, with a logged warning.

        :raises: as ``save_job``. TypeError: JSON cannot take the screenplay.
        """
        row = state_row(_checked(state, PipelineState))
        movie_id = _text("PipelineState.movie_id", state.movie_id)
        saved = SavedState(row, state.noted_row())
        self._saver.save(movie_id, check_jobs([_checked(job, Job) for job in state.jobs]), saved)
        state.note(row)

    def load_state(self, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> PipelineState | None:
        """Return the state of a movie with its jobs, by ``created_at``; None if none was saved.

        ``screenplay`` is not kept, only ``screenplay_dict``.
        """
        return self._reader.load_state(_text("movie_id", movie_id), base_dir)


def _text(field: str, value: object) -> str:
    return checked_text(field, text(field, value))


def _checked(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise refused(kind.__name__, value, f"a {kind.__name__} of asyncjobs.compat")
    return value


def _progress(counts: Mapping[JobStatus, int]) -> dict[str, Any]:
    total = sum(counts.values())
    completed = counts[JobStatus.COMPLETED]
    return {
        "total": total,
        "completed": completed,
        "failed": counts[JobStatus.FAILED],
        "pending": counts[JobStatus.PENDING],
        "progress": completed / total * 100 if total else 0,
    }
