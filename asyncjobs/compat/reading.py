"""Read what a tracker knows: its records, and the jobs that the processor runs, which win over records of their id."""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from asyncjobs import models
from asyncjobs.clock import from_datetime
from asyncjobs.compat import records
from asyncjobs.compat.file import RecordFile
from asyncjobs.compat.job import Job, JobStatus
from asyncjobs.compat.opening import StoreOpening
from asyncjobs.compat.records import Record
from asyncjobs.compat.rows import fill_state
from asyncjobs.compat.run_jobs import Key, find_tracked, of_id, of_movie, show_jobs, show_status
from asyncjobs.compat.state import PipelineState
from asyncjobs.exceptions import JobProcessorError
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.engine import Engine
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.compat")


class Entry(Struct, frozen=True):
    """A job as the tracker shows it: a record (``n``), or a job of the store (``run``). ``saved_at``: µs."""

    movie_id: str
    saved_at: int
    job: Job
    n: int | None = None
    run: models.Job | None = None


class Reader:
    """Reads a tracker's file: first the records, then the store, so that no job is missed which is just submitted."""

    def __init__(self, file: RecordFile, opening: StoreOpening) -> None:
        self._file = file
        self._opening = opening
        self._noted: set[str] = set()

    def find_movie(self, movie_id: str, status: JobStatus | None = None) -> list[Entry]:
        """Return the jobs of a movie, with one status or all, in the order of their last save."""
        self._opening.check()
        with self._file.reading() as connection:
            found, overlaid = self._find_records(connection, movie_id)
        merged = self._overlay(movie_id, found, overlaid)
        return [entry for entry in merged if status is None or entry.job.status is status]

    def _find_records(self, connection: sqlite3.Connection, movie_id: str) -> tuple[list[Record], bool]:
        """Return the records of a movie, and whether the store may have jobs of it, too."""
        overlaid = self._opening.has_processor or records.has_submissions(connection, movie_id)
        return records.find_by_movie(connection, movie_id), overlaid

    def _note(self, movies: Iterable[str]) -> None:
        """Note that the store has jobs of these movies, for trackers without a processor: each movie once."""
        new = set(movies) - self._noted
        if not new or not self._opening.has_processor:
            return
        try:
            with self._file.reading() as connection:
                unknown = [movie_id for movie_id in new if not records.has_submissions(connection, movie_id)]
            if unknown:
                with self._file.writing() as connection:
                    for movie_id in unknown:
                        records.note_submission(connection, movie_id)
        except JobProcessorError as error:  # a full disk, or a lock: what was read is right, and the next read notes it
            logger.warning("other trackers do not show the jobs of %s yet: %s", ", ".join(sorted(new)), error)
        else:
            self._noted |= new

    def _overlay(self, movie_id: str, found: list[Record], overlaid: bool) -> list[Entry]:
        return _merge(found, self._find_run(of_movie(movie_id)) if overlaid else [])

    def find_newest(self, job_id: str) -> Entry | None:
        """Return the job with this id; of several movies, the one that was saved, or submitted, last."""
        self._opening.check()
        with self._file.reading() as connection:
            found = records.find_by_id(connection, job_id)
            overlaid = self._opening.has_processor or records.has_submissions(connection)
        if not overlaid:
            return _entry(found[0]) if found else None
        merged = _merge(reversed(found), self._find_run(of_id(job_id)))
        return merged[-1] if merged else None

    def count(self, movie_id: str) -> Counter[JobStatus]:
        """Return how many jobs of a movie have which status."""
        self._opening.check()
        with self._file.reading() as connection:
            statuses = records.find_statuses(connection, movie_id)
            overlaid = self._opening.has_processor or records.has_submissions(connection, movie_id)
        if overlaid:

            async def find(engine: Engine) -> dict[Key, models.Job]:
                return await find_tracked(engine.backend, of_movie(movie_id))

            run = self._opening.call(find)
            self._note(movie_id for movie_id, _ in run)
            statuses |= {job_id: show_status(job) for (_, job_id), job in run.items()}
        return Counter(statuses.values())

    def load_state(self, movie_id: str, base_dir: str | os.PathLike[str]) -> PipelineState | None:
        """Return a state with its jobs by age; None if none was saved."""
        self._opening.check()
        with self._file.reading() as connection:
            row = records.find_state(connection, movie_id)
            if row is None:
                return None
            found, overlaid = self._find_records(connection, movie_id)
        state = PipelineState.create(movie_id, base_dir)
        fill_state(state, row)
        state.jobs = by_age(self._overlay(movie_id, found, overlaid))
        return state

    def _find_run(self, query: JobQuery) -> list[Entry]:
        async def find(engine: Engine) -> tuple[Mapping[Key, models.Job], Mapping[Key, Job]]:
            found = await find_tracked(engine.backend, query)
            return found, await show_jobs(engine.backend, found)

        found, shown = self._opening.call(find)
        self._note(movie_id for movie_id, _ in found)
        return [Entry(key[0], from_datetime(job.created_at), shown[key], run=job) for key, job in found.items()]


def by_age(entries: Iterable[Entry]) -> list[Job]:
    """Return jobs by ``created_at``, as text: that orders moments with and without a zone, as the old tracker did."""
    return sorted((entry.job for entry in entries), key=lambda job: job.created_at.isoformat())


def _merge(found: Iterable[Record], run: list[Entry]) -> list[Entry]:
    """Merge records and jobs of the store, each in its own order; leave out records that a job stands for."""
    covered = {(entry.movie_id, entry.job.id) for entry in run}
    kept = [_entry(record) for record in found if (record.movie_id, record.job.id) not in covered]
    return list(heapq.merge(kept, run, key=lambda entry: entry.saved_at))


def _entry(record: Record) -> Entry:
    return Entry(record.movie_id, record.saved_at, record.job.note(record.movie_id), n=record.n)
