"""Save jobs and states: records in one transaction, and what the processor runs through its store.

Where both occur in one call, the store comes first, as a batch, then the records: a process that dies in between has
submitted jobs, and saving the same again completes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from asyncjobs import models
from asyncjobs.compat import records
from asyncjobs.compat.file import RecordFile
from asyncjobs.compat.job import JobStatus
from asyncjobs.compat.opening import StoreOpening
from asyncjobs.compat.reading import Reader
from asyncjobs.compat.run_jobs import find_tracked, of_movie
from asyncjobs.compat.saving import Facts, Plan, Saved, SavedState, decide_status, kernel_id, plan_save
from asyncjobs.core.codec import describe_callable
from asyncjobs.exceptions import JobStateError
from asyncjobs.plurals import counted
from asyncjobs.runtime.engine import Engine
from asyncjobs.safe_logging import SafeLogger

_AT_ONCE = 500
_NAMED = 10
"""Jobs whose ids a line of the log has."""

logger = SafeLogger("asyncjobs.compat")


class Saver:
    """Writes a tracker's file, and submits, retries and cancels jobs of its store."""

    def __init__(self, file: RecordFile, opening: StoreOpening, reader: Reader) -> None:
        self._file = file
        self._opening = opening
        self._reader = reader

    def save(self, movie_id: str, jobs: Sequence[Saved], state: SavedState | None = None) -> None:
        """Save jobs of a movie, and its state if there is one.

        :raises JobProcessorError: one of them is refused; then nothing was saved.
        """
        self._opening.check()
        works, may_run = any(saved.is_work for saved in jobs), self._opening.check_may_run()
        if works and not may_run:
            raise self._opening.refusal_to_run("a job with a func")
        if works or self._opening.has_processor or self._has_submissions(movie_id):

            async def save(engine: Engine) -> None:
                plan = plan_save(movie_id, jobs, await self._find_facts(engine, movie_id, jobs))
                if plan.retry and not may_run:
                    raise self._opening.refusal_to_run("a job that is retried")
                await self._carry_out(engine, movie_id, plan, state)
                _warn_kept(movie_id, [saved for saved in jobs if saved.id in plan.kept])

            self._opening.call(save, runs=True)
        else:
            self._put(movie_id, Plan(rows=[saved.row for saved in jobs]), state)
        for saved in jobs:
            saved.job.note(movie_id)

    def update(self, job_id: str, status: JobStatus, error: str | None, output_path: str | None) -> None:
        """Set the status of the job with this id, and what goes with it; an unknown id is ignored."""
        entry = self._reader.find_newest(job_id)
        if entry is None:
            return
        if entry.run is None:
            with self._file.writing() as connection:
                for record in records.find_by_id(connection, job_id):
                    if record.movie_id == entry.movie_id:
                        records.update_status(connection, record.n, status, error, output_path)
            return
        plan = Plan()
        decide_status(plan, status, entry.run)
        if plan.retry and not self._opening.check_may_run():
            raise self._opening.refusal_to_run("the job")
        if plan.retry or plan.cancel:

            async def act(engine: Engine) -> None:
                await _decide(engine, plan)
                await _run(engine, plan)

            self._opening.call(act, runs=True)

    def _has_submissions(self, movie_id: str) -> bool:
        with self._file.reading() as connection:
            return records.has_submissions(connection, movie_id)

    async def _carry_out(self, engine: Engine, movie_id: str, plan: Plan, state: SavedState | None) -> None:
        if plan.submit:
            described = [describe_callable(request.func) for request in plan.submit]
            with self._file.writing() as connection:
                records.note_submission(connection, movie_id)
            self._opening.allow((one.name, one.func) for one in described)
            await engine.parts().submitter.store(plan.submit, several="jobs", run=False)
        await _decide(engine, plan)
        self._put(movie_id, plan, state)
        await _run(engine, plan)

    async def _find_facts(self, engine: Engine, movie_id: str, jobs: Sequence[Saved]) -> Facts:
        with self._file.reading() as connection:
            statuses = records.find_statuses(connection, movie_id)
        work = [kernel_id(movie_id, saved.id) for saved in jobs if saved.is_work]
        taken: dict[str, models.Job] = {}
        for start in range(0, len(work), _AT_ONCE):
            taken |= {job.id: job for job in await engine.backend.get_jobs(work[start : start + _AT_ONCE])}
        # Behind them: what another process submits for this movie between the two reads is tracked, and no conflict.
        tracked = await find_tracked(engine.backend, of_movie(movie_id))
        run = {job_id: job for (_, job_id), job in tracked.items()}
        return Facts(run, statuses, taken)

    def _put(self, movie_id: str, plan: Plan, state: SavedState | None) -> None:
        if not (plan.rows or plan.replaced) and state is None:
            return
        with self._file.writing() as connection:
            if state is not None:
                _put_state(connection, movie_id, state, keeps=plan.has_work)
            records.remove_jobs(connection, movie_id, plan.replaced)
            records.put_jobs(connection, movie_id, plan.rows)


def _put_state(connection: sqlite3.Connection, movie_id: str, state: SavedState, *, keeps: bool) -> None:
    """Save a state; what it would lose without a wish of the program is kept beside jobs to run, else logged.

    A program that hands jobs to the processor saves a new state at each start, to go on. One that keeps records alone
    replaces a state by another, as with the old tracker.
    """
    stored = records.find_state(connection, movie_id)
    lost = [] if stored is None else state.find_lost(stored)
    row = state.row
    if stored is not None and lost and keeps:
        row = state.keep(stored, lost)
    elif lost:
        logger.warning(
            "movie %r: saving a state that does not have what was saved before has reset %s; go on with the state that "
            "tracker.load_state(%r) returns to keep it",
            movie_id,
            ", ".join(lost),
            movie_id,
        )
    records.put_state(connection, movie_id, row)


def _warn_kept(movie_id: str, kept: Sequence[Saved]) -> None:
    """Log which jobs are not submitted because they are completed records, but for those saved so before."""
    new = [saved.id for saved in kept if not saved.job.is_unchanged(movie_id)]
    if new:
        logger.warning(
            "movie %r: not submitted, and left as they are, because they completed before: %s; to run one again, set "
            "the status of the job that tracker.load_state(%r) returns to pending, and save it",
            movie_id,
            _listed(new),
            movie_id,
        )


def _listed(job_ids: Sequence[str]) -> str:
    more = len(job_ids) - _NAMED
    return ", ".join(map(repr, job_ids[:_NAMED])) + (f" and {counted(more, 'more', 'more')}" if more > 0 else "")


async def _decide(engine: Engine, plan: Plan) -> None:
    """Retry and cancel jobs.

    :raises JobStateError: one has ended meanwhile.
    """
    actions = engine.parts().actions
    for job_id in plan.retry:
        await actions.retry_job(job_id)
    for job_id in plan.cancel:
        status = await actions.cancel_job(job_id, descendants=False)
        if status.terminal and status is not models.JobStatus.CANCELLED:
            raise JobStateError(job_id, status, "it ended before it could be cancelled")


async def _run(engine: Engine, plan: Plan) -> None:
    """Run jobs here while no worker is alive: the fallback of processors, which logs a warning."""
    fallback = engine.parts().fallback
    job_ids = [*(str(request.job_id) for request in plan.submit), *plan.again, *plan.retry]
    if fallback is not None and job_ids:
        await fallback.run(job_ids)
