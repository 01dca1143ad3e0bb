"""`MovieMaker`: the interface of the old pipeline, over a graph of durable jobs."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio.to_thread

from asyncjobs import (
    DaemonConfig,
    Job,
    JobNotFoundError,
    JobProcessor,
    JobQuery,
    JobStateError,
    JobStatus,
    SQLiteConfig,
)
from asyncjobs.compat import JobTracker, PipelineState

from .differences import name_differences
from .ffmpeg import find_ffmpeg
from .graph import Graph, Movie, job_id_of
from .mistakes import NAMED, is_name
from .parts import sweep
from .screenplay import Screenplay, parse_screenplay, read_screenplay
from .stages import mark_stages

Source = Mapping[str, Any] | str | Path
DAEMON = DaemonConfig(num_workers=8, shutdown_timeout=1.0)
"""A program that is to end gives its clips back after a second: what they lose is done again soon."""
_FOLDERS = ("characters", "images", "videos", "audio", "output")
_AGAIN = {JobStatus.FAILED, JobStatus.CANCELLED}


class MovieError(ValueError):
    """A movie that cannot be made or gone on with as it was asked for."""


class MovieMaker:
    """Makes films of screenplays. What is submitted is done, whatever happens to this process, by any later one.

    ::

        state = await MovieMaker(db_path="cinema.db").generate_from_screenplay(Path("screenplay.json"))

    Every method opens the store for its time; with ``async with MovieMaker(…) as maker`` it stays open, as the handles
    of ``submit`` need it.

    :param db_path: the file of the store; one of the old tracker is imported beside itself.
    :param processor: one that is open already, on the same file.
    :param strict: the whole film or none. Default: it is made of the scenes that could be filmed.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] = "./cinema_jobs.asyncjobs.db",
        *,
        processor: JobProcessor | None = None,
        strict: bool = False,
    ) -> None:
        self.db_path, self.strict = Path(db_path), strict
        self._tracker: JobTracker | None = None
        self._processor, self._own = processor, None

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
            raise MovieError("this MovieMaker is not open: async with MovieMaker(…) as maker")
        return self._processor

    async def _open_tracker(self) -> JobTracker:
        if self._tracker is None:
            self._tracker = await anyio.to_thread.run_sync(JobTracker, self.db_path)
        return self._tracker

    def _shown(self, jp: JobProcessor) -> JobTracker:
        """Return a tracker that shows the jobs of a processor."""
        return JobTracker(self.db_path if self._tracker is None else self._tracker.file, processor=jp)

    async def _new_processor(self, *, enable_daemon: bool = True) -> JobProcessor:
        file = (await self._open_tracker()).file
        return JobProcessor(SQLiteConfig(db_path=file), enable_daemon=enable_daemon, daemon=DAEMON)

    @asynccontextmanager
    async def _opened(self, *, enable_daemon: bool = True) -> AsyncIterator[JobProcessor]:
        if self._processor is not None:
            yield self._processor
            return
        async with await self._new_processor(enable_daemon=enable_daemon) as jp:
            yield jp

    # -- the interface of before

    async def generate(
        self,
        script_input: Source,
        movie_id: str | None = None,
        base_dir: str | os.PathLike[str] = "./output",
        screenplay_json: Source | None = None,
        *,
        restart: bool = False,
    ) -> PipelineState:
        """Make a film of a screenplay, and return its state at the end.

        :param script_input: the screenplay, if ``screenplay_json`` is not given. Prose is refused: nobody here writes.
        """
        source = script_input if screenplay_json is None else screenplay_json
        return await self.generate_from_screenplay(source, movie_id, base_dir, restart=restart)

    async def generate_from_screenplay(
        self,
        screenplay_json: Source,
        movie_id: str | None = None,
        base_dir: str | os.PathLike[str] = "./output",
        *,
        restart: bool = False,
    ) -> PipelineState:
        """Make a film of a screenplay, and return its state at the end; a movie that is stored already goes on."""
        async with self._opened() as jp:
            movie = await self._submit(jp, screenplay_json, movie_id, base_dir, restart=restart)
            return await self._finished(jp, movie.state)

    async def submit(
        self,
        screenplay_json: Source,
        movie_id: str | None = None,
        base_dir: str | os.PathLike[str] = "./output",
        *,
        restart: bool = False,
    ) -> Movie:
        """Store all jobs of a movie, or go on with it, and return their handles at once.

        :raises ScreenplayError: mistakes, with their paths. MovieError: the movie has another screenplay.
        :raises NoFfmpegError: there is no ffmpeg that could make it. Nothing has been stored in all these cases.
        """
        return await self._submit(self.processor, screenplay_json, movie_id, base_dir, restart=restart)

    async def resume(self, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> PipelineState:
        """Go on with a movie: try again what failed, cut the film anew if it lacks scenes, return the state at the end.

        :raises MovieError: no such movie, or its files are in another folder.
        """
        async with self._opened() as jp:
            movie = await self._resubmit(jp, movie_id, base_dir)
            return await self._finished(jp, movie.state)

    async def resubmit(self, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> Movie:
        """Go on with a movie as ``resume``, and return the handles at once.

        :raises MovieError: as ``resume``.
        """
        return await self._resubmit(self.processor, movie_id, base_dir)

    async def get_status(self, movie_id: str) -> dict[str, Any]:
        """Return how many jobs a movie has, how many are completed, failed and pending, and the percentage.

        :raises MovieError: no such movie.
        """
        async with self._opened(enable_daemon=False) as jp:
            progress = await anyio.to_thread.run_sync(self._shown(jp).get_progress, _checked(movie_id))
        if not progress["total"]:
            raise MovieError(f"there is no movie {movie_id!r}")
        return progress

    async def jobs(self, movie_id: str) -> list[Job]:
        """Return the jobs of a movie, by submission."""
        async with self._opened(enable_daemon=False) as jp:
            return await _jobs(jp, movie_id)

    # -- steps

    async def _submit(
        self,
        jp: JobProcessor,
        source: Source,
        movie_id: str | None,
        base_dir: str | os.PathLike[str],
        *,
        restart: bool,
    ) -> Movie:
        movie_id = _checked(secrets.token_hex(4) if movie_id is None else movie_id)
        screenplay = await anyio.to_thread.run_sync(read_screenplay, source)
        await anyio.to_thread.run_sync(find_ffmpeg)
        state = _state(movie_id, base_dir, screenplay)
        stored = await self._stored(jp, movie_id)
        if stored is not None and restart:
            await self._remove(jp, state)
            stored = None
        if stored is not None:
            if differences := name_differences(stored.data, screenplay.data):
                raise MovieError(
                    f"the movie {movie_id!r} has another screenplay: {'; '.join(differences)}. Take another movie "
                    "id, or --restart to begin it anew"
                )
            return await self._go_on(jp, screenplay, state)
        await self._prepare(state)
        async with jp.batch() as batch:
            graph = Graph(jp, batch, screenplay, state)
            graph.build(self.strict)
        return graph.movie

    async def _prepare(self, state: PipelineState) -> None:
        tracker = await self._open_tracker()

        def prepare() -> None:
            state.ensure_directories()
            sweep(state.base_dir)
            tracker.save_state(state)

        await anyio.to_thread.run_sync(prepare)

    async def _go_on(self, jp: JobProcessor, screenplay: Screenplay, state: PipelineState) -> Movie:
        """Try again what failed, and store a further film if the newest one lacks scenes."""
        jobs = await _jobs(jp, state.movie_id)
        _check_folder(jobs, state)
        await self._prepare(state)
        films = sorted((job for job in jobs if job.metadata["stage"] == "film"), key=_version)
        for job in jobs:
            if job not in films and job.status in _AGAIN:
                await _retry(jp, job.id)
        movie = Movie(state.movie_id, state, {job.metadata["tracker_id"]: jp.handle(job.id) for job in jobs})
        if films and await _is_to_be_cut_again(jp, films[-1]):
            async with jp.batch() as batch:
                graph = Graph(jp, batch, screenplay, state)
                posts: list[Any] = [jp.handle(job_id_of(state.movie_id, f"post_{s.id}")) for s in screenplay.scenes]
                graph.film(posts if self.strict else [jp.optional(post) for post in posts], _version(films[-1]) + 1)
            movie.jobs |= graph.movie.jobs
        return movie

    async def _finished(self, jp: JobProcessor, state: PipelineState) -> PipelineState:
        await jp.drain(group=state.movie_id)

        def finish() -> PipelineState:
            tracker = self._shown(jp)
            ended = tracker.load_state(state.movie_id, state.base_dir.parent)
            assert ended is not None, "it was saved before anything was submitted"
            mark_stages(ended)
            tracker.save_state(ended.model_copy(update={"jobs": []}))  # the store knows them itself
            return ended

        return await anyio.to_thread.run_sync(finish)

    async def _resubmit(self, jp: JobProcessor, movie_id: str, base_dir: str | os.PathLike[str]) -> Movie:
        screenplay = await self._stored(jp, _checked(movie_id))
        if screenplay is None:
            raise MovieError(f"there is no movie {movie_id!r}")
        return await self._go_on(jp, screenplay, _state(movie_id, base_dir, screenplay))

    async def _stored(self, jp: JobProcessor, movie_id: str) -> Screenplay | None:
        try:
            stored = await jp.get_arguments(job_id_of(movie_id, f"screenplay_{movie_id}"))
        except JobNotFoundError:
            return None
        return parse_screenplay(stored.args[0])

    async def _remove(self, jp: JobProcessor, state: PipelineState) -> None:
        """Stop a movie, and remove its jobs and files."""
        await jp.cancel_jobs(group=state.movie_id)
        await jp.drain(group=state.movie_id)
        await jp.remove_jobs(JobQuery(group=state.movie_id))
        for folder in _FOLDERS:
            await anyio.to_thread.run_sync(_clear, state.base_dir / folder)


def _checked(movie_id: str) -> str:
    if not is_name(movie_id):
        raise MovieError(f"a movie id is {NAMED}: {movie_id!r} is none")
    return movie_id


def _state(movie_id: str, base_dir: str | os.PathLike[str], screenplay: Screenplay) -> PipelineState:
    state = PipelineState.create(movie_id, Path(base_dir).resolve())
    state.screenplay_dict = screenplay.data
    state.screenplay_hash = state.compute_screenplay_hash()
    return state


def _check_folder(jobs: list[Job], state: PipelineState) -> None:
    paths = {job.metadata["output_path"] for job in jobs if job.metadata["stage"] == "film"}
    if paths and str(state.get_final_video_path()) not in paths:
        raise MovieError(f"the files of movie {state.movie_id!r} are not in {state.base_dir}: its film is {min(paths)}")


async def _jobs(jp: JobProcessor, movie_id: str) -> list[Job]:
    return [job async for job in jp.iter_jobs(JobQuery(group=movie_id)) if "tracker_id" in job.metadata]


def _version(job: Job) -> int:
    return int(job.metadata["version"])


async def _retry(jp: JobProcessor, job_id: str) -> None:
    try:
        await jp.retry_job(job_id)
    except JobStateError:
        pass  # another program was faster


async def _is_to_be_cut_again(jp: JobProcessor, film: Job) -> bool:
    """Return whether a film has ended without all scenes, or its file is gone.

    It is not retried: what it has learned of its scenes stands. A skipped one is revived with the clip that it lacked.
    """
    if film.status in _AGAIN:
        return True
    if film.status is not JobStatus.COMPLETED:
        return False
    made = await jp.get_result(film.id)
    return bool(made["missing"]) or not Path(made["path"]).is_file()


def _clear(folder: Path) -> None:
    """Remove the files of a folder, and the folder."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
