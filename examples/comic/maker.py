"""What the makers of comics and of films have in common: a store, a tracker that shows it, and how they go on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio.to_thread

from asyncjobs import (
    DaemonConfig,
    Job,
    JobProcessor,
    JobQuery,
    JobStateError,
    JobStatus,
    SQLiteConfig,
)
from asyncjobs.compat import JobTracker, PipelineState

from .names import NAMED, is_name
from .stages import mark_stages

AGAIN = {JobStatus.FAILED, JobStatus.CANCELLED}
"""What is tried again when a movie goes on."""
DAEMON = DaemonConfig(num_workers=8, shutdown_timeout=1.0)
"""A program that is to end gives its work back after a second: what it loses is done again soon."""
DATABASE = "./cinema_jobs.asyncjobs.db"


class MovieError(ValueError):
    """A movie, or a comic, that cannot be made or gone on with as it was asked for."""


class Maker:
    """Has a store open for as long as it is needed, and shows what is in it as the old tracker did.

    Every method opens the store for its time; with ``async with`` it stays open, as the handles of ``submit`` need it.

    :param db_path: the file of the store; one of the old tracker is imported beside itself.
    :param processor: one that is open already, on the same file.
    :param daemon: the worker of a store that is opened here.
    :raises MovieError: there is no file, or no name of the processor's.
    """

    stages: tuple[str, ...]
    """What the jobs of such a movie are."""
    files: tuple[str, ...]
    """The files of a movie in its folder, which are removed when it is begun anew; ``*`` is any text."""

    def __init__(
        self, db_path: str | os.PathLike[str] | None, *, processor: JobProcessor | None, daemon: DaemonConfig = DAEMON
    ) -> None:
        if processor is not None and db_path is None:
            raise MovieError("db_path: the tracker needs the file of the processor, too: give its name")
        if not isinstance(db_path, (str, os.PathLike, type(None))):
            raise MovieError(f"db_path: a path is needed, not {db_path!r}")
        self.db_path = Path(DATABASE if db_path is None else db_path)
        self._daemon = daemon
        self._tracker: JobTracker | None = None
        self._processor: JobProcessor | None = processor
        self._own: JobProcessor | None = None

    async def __aenter__(self) -> Self:
        if self._processor is None:
            self._own = await self._new_processor()
            self._processor = await self._own.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        own, self._own = self._own, None
        if own is not None:
            self._processor = None
            await own.__aexit__(kind, error, trace)

    @property
    def processor(self) -> JobProcessor:
        """The processor, while this is open."""
        if self._processor is None:
            name = type(self).__name__
            raise MovieError(f"this {name} is not open: async with {name}(…) as maker")
        return self._processor

    async def get_status(self, movie_id: str) -> dict[str, Any]:
        """Return how many jobs a movie has, how many are completed, failed and pending, and the percentage.

        :raises MovieError: no such movie.
        """
        async with self._opened(enable_daemon=False) as jp:
            progress = await anyio.to_thread.run_sync(self._shown(jp).get_progress, checked(movie_id))
        if not progress["total"]:
            raise MovieError(f"there is no movie {movie_id!r}")
        return progress

    async def jobs(self, movie_id: str) -> list[Job]:
        """Return the jobs of a movie, by submission."""
        async with self._opened(enable_daemon=False) as jp:
            return await self._jobs(jp, movie_id)

    async def resume(self, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> PipelineState:
        """Go on with a movie: try again what failed and make what is missing, return the state at the end.

        :raises MovieError: no such movie, or its files are in another folder.
        """
        async with self._opened() as jp:
            made = await self._resubmit(jp, movie_id, base_dir)
            return await self._finished(jp, made.state)

    # -- what each kind of movie does by itself

    async def _resubmit(self, jp: JobProcessor, movie_id: str, base_dir: str | os.PathLike[str]) -> Any:
        """Go on with a movie, and return its ``state`` and ``jobs``."""
        raise NotImplementedError

    def _sweep(self, folder: Path) -> None:
        """Remove what killed processes left half-written."""
        raise NotImplementedError

    # -- the store and the tracker

    async def _open_tracker(self) -> JobTracker:
        if self._tracker is None:
            self._tracker = await anyio.to_thread.run_sync(JobTracker, self.db_path)
        return self._tracker

    def _shown(self, jp: JobProcessor) -> JobTracker:
        """Return a tracker that shows the jobs of a processor."""
        return JobTracker(self.db_path if self._tracker is None else self._tracker.file, processor=jp)

    async def _new_processor(self, *, enable_daemon: bool = True) -> JobProcessor:
        file = (await self._open_tracker()).file
        return JobProcessor(SQLiteConfig(db_path=file), enable_daemon=enable_daemon, daemon=self._daemon)

    @asynccontextmanager
    async def _opened(self, *, enable_daemon: bool = True) -> AsyncIterator[JobProcessor]:
        if self._processor is not None:
            yield self._processor
            return
        async with await self._new_processor(enable_daemon=enable_daemon) as jp:
            yield jp

    async def _check(self, jp: JobProcessor, movie_id: str) -> None:
        """Refuse a processor on another file, and the id of a movie of another kind, before anything is stored.

        Two movies of one id would share a folder and a state.
        """
        await anyio.to_thread.run_sync(self._shown, jp)
        async for job in jp.iter_jobs(JobQuery(group=movie_id)):
            if job.metadata.get("stage", self.stages[0]) not in self.stages:
                raise MovieError(f"{movie_id!r} is the id of another kind of movie: take another id")

    async def _unknown(self, jp: JobProcessor, movie_id: str, instead: str) -> MovieError:
        """Return the error for a movie that was never submitted."""
        progress = await anyio.to_thread.run_sync(self._shown(jp).get_progress, movie_id)
        if progress["total"]:
            return MovieError(
                f"of the movie {movie_id!r} there are only the records of a tracker: call {instead} with this id"
            )
        return MovieError(f"there is no movie {movie_id!r}")

    async def _jobs(self, jp: JobProcessor, movie_id: str) -> list[Job]:
        return [job async for job in jp.iter_jobs(JobQuery(group=movie_id)) if "tracker_id" in job.metadata]

    # -- steps

    async def _save(self, state: PipelineState) -> None:
        """Make the folders of a movie, remove what killed processes left there, and store its state."""
        tracker = await self._open_tracker()

        def save() -> None:
            state.ensure_directories()
            self._sweep(state.base_dir)
            tracker.save_state(state)

        await anyio.to_thread.run_sync(save)

    async def _shown_to_others(self, jp: JobProcessor, movie_id: str) -> None:
        """Have trackers without a processor show a movie that was just submitted."""
        await anyio.to_thread.run_sync(self._shown(jp).get_progress, movie_id)

    async def _finished(self, jp: JobProcessor, state: PipelineState) -> PipelineState:
        """Wait until nothing of a movie is to be done, and return its state."""
        await jp.drain(group=state.movie_id)

        def finish() -> PipelineState:
            tracker = self._shown(jp)
            ended = tracker.load_state(state.movie_id, state.base_dir.parent)
            assert ended is not None, "it was saved before anything was submitted"
            mark_stages(ended)
            tracker.save_state(ended.model_copy(update={"jobs": []}))  # the store knows them itself
            return ended

        return await anyio.to_thread.run_sync(finish)

    async def _remove(self, jp: JobProcessor, state: PipelineState) -> None:
        """Stop a movie, and remove its jobs and files."""
        await jp.cancel_jobs(group=state.movie_id)
        await jp.drain(group=state.movie_id)
        await jp.remove_jobs(JobQuery(group=state.movie_id))
        await anyio.to_thread.run_sync(_clear, state.base_dir, self.files)


def checked(movie_id: str) -> str:
    """Return an id that a movie may have.

    :raises MovieError: it may not.
    """
    if not is_name(movie_id):
        raise MovieError(f"a movie id is {NAMED}: {movie_id!r} is none")
    return movie_id


def new_state(movie_id: str, base_dir: str | os.PathLike[str], data: dict[str, Any]) -> PipelineState:
    """Return the state of a movie at its beginning.

    :param data: what it is made of.
    """
    state = PipelineState.create(movie_id, Path(base_dir).resolve())
    state.screenplay_dict = data
    state.screenplay_hash = state.compute_screenplay_hash()
    return state


async def retry(jp: JobProcessor, job_id: str) -> None:
    """Try a job again, unless another program was faster."""
    try:
        await jp.retry_job(job_id)
    except JobStateError:
        pass


def _clear(folder: Path, files: tuple[str, ...]) -> None:
    """Remove files of a folder."""
    for pattern in files:
        for file in folder.glob(pattern):
            if file.is_file():
                file.unlink()
