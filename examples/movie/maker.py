"""`MovieMaker`: the interface of the old pipeline, over a graph of durable jobs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread

from asyncjobs import Job, JobNotFoundError, JobProcessor, JobStatus
from asyncjobs.compat import PipelineState
from examples.comic.differences import name_differences
from examples.comic.ledger import NAME as LEDGER
from examples.comic.maker import AGAIN, Maker, MovieError, checked, new_state, retry

from .ffmpeg import find_ffmpeg
from .graph import STAGES, Graph, Movie, job_id_of
from .parts import sweep
from .screenplay import Screenplay, parse_screenplay, read_screenplay

Source = Mapping[str, Any] | str | Path


class MovieMaker(Maker):
    """Makes films of screenplays. What is submitted is done, whatever happens to this process, by any later one.

    ::

        state = await MovieMaker(db_path="cinema.db").generate_from_screenplay(Path("screenplay.json"))

    :param db_path: the file of the store; one of the old tracker is imported beside itself. Default:
        ``cinema_jobs.asyncjobs.db`` in the working directory.
    :param processor: one that is open already, on the same file.
    :param strict: the whole film or none. Default: it is made of the scenes that could be filmed.
    """

    stages = STAGES
    files = (
        "characters/*.png", "images/*.png", "videos/*.mp4", "videos/*_letters.png", "audio/*.wav", "output/*.mp4",
        "output/contact_sheet.png", "screenplay.json", LEDGER,
    )  # fmt: skip

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        *,
        processor: JobProcessor | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(db_path, processor=processor)
        self.strict = strict

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

    async def resubmit(self, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> Movie:
        """Go on with a movie as ``resume``, and return the handles at once.

        :raises MovieError: as ``resume``.
        """
        return await self._resubmit(self.processor, movie_id, base_dir)

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
        movie_id = checked(secrets.token_hex(4) if movie_id is None else movie_id)
        screenplay = await anyio.to_thread.run_sync(read_screenplay, source)
        await anyio.to_thread.run_sync(find_ffmpeg)
        state = new_state(movie_id, base_dir, screenplay.data)
        await self._check(jp, movie_id)
        stored = await self._stored(jp, movie_id)
        if stored is not None and restart:
            await self._remove(jp, state)
            stored = None
        if stored is not None:
            if differences := name_differences(stored.data, screenplay.data):
                raise MovieError(
                    f"the movie {movie_id!r} has another screenplay: {'; '.join(differences)}. Take another movie "
                    "id, or restart=True (--restart) to begin it anew"
                )
            return await self._go_on(jp, screenplay, state)
        await self._save(state)
        async with jp.batch() as batch:
            graph = Graph(jp, batch, screenplay, state)
            graph.build(self.strict)
        await self._shown_to_others(jp, movie_id)
        return graph.movie

    def _sweep(self, folder: Path) -> None:
        sweep(folder)

    async def _go_on(self, jp: JobProcessor, screenplay: Screenplay, state: PipelineState) -> Movie:
        """Try again what failed, and store a further film if the newest one lacks scenes."""
        jobs = await self._jobs(jp, state.movie_id)
        _check_folder(jobs, state)
        await self._save(state)
        films = sorted((job for job in jobs if job.metadata["stage"] == "film"), key=_version)
        for job in jobs:
            if job not in films and job.status in AGAIN:
                await retry(jp, job.id)
        movie = Movie(state.movie_id, state, {job.metadata["tracker_id"]: jp.handle(job.id) for job in jobs})
        if films and await _is_to_be_cut_again(jp, films[-1]):
            async with jp.batch() as batch:
                graph = Graph(jp, batch, screenplay, state)
                posts: list[Any] = [jp.handle(job_id_of(state.movie_id, f"post_{s.id}")) for s in screenplay.scenes]
                graph.film(posts if self.strict else [jp.optional(post) for post in posts], _version(films[-1]) + 1)
            movie.jobs |= graph.movie.jobs
        return movie

    async def _resubmit(self, jp: JobProcessor, movie_id: str, base_dir: str | os.PathLike[str]) -> Movie:
        await self._check(jp, checked(movie_id))
        screenplay = await self._stored(jp, movie_id)
        if screenplay is None:
            raise await self._unknown(jp, movie_id, "generate_from_screenplay(…)")
        return await self._go_on(jp, screenplay, new_state(movie_id, base_dir, screenplay.data))

    async def _stored(self, jp: JobProcessor, movie_id: str) -> Screenplay | None:
        try:
            stored = await jp.get_arguments(job_id_of(movie_id, f"screenplay_{movie_id}"))
        except JobNotFoundError:
            return None
        return parse_screenplay(stored.args[0])


def _check_folder(jobs: list[Job], state: PipelineState) -> None:
    paths = {job.metadata["output_path"] for job in jobs if job.metadata["stage"] == "film"}
    if paths and str(state.get_final_video_path()) not in paths:
        raise MovieError(f"the files of movie {state.movie_id!r} are not in {state.base_dir}: its film is {min(paths)}")


def _version(job: Job) -> int:
    return int(job.metadata["version"])


async def _is_to_be_cut_again(jp: JobProcessor, film: Job) -> bool:
    """Return whether a film has ended without all scenes, or its file is gone.

    It is not retried: what it has learned of its scenes stands. A skipped one is revived with the clip that it lacked.
    """
    if film.status in AGAIN:
        return True
    if film.status is not JobStatus.COMPLETED:
        return False
    made = await jp.get_result(film.id)
    return bool(made["missing"]) or not Path(made["path"]).is_file()
