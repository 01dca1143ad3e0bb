"""`DetectiveMaker`: the interface of the old pipeline, over a graph of durable jobs."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio.to_thread

from asyncjobs import Job, JobHandle, JobNotFoundError, JobProcessor, JobQuery
from asyncjobs.compat import PipelineState

from . import planner
from .constraints import Character, ConstraintsError, PlotConstraints, check
from .differences import name_differences
from .files import sweep
from .ledger import NAME as LEDGER
from .maker import AGAIN, DAEMON, Maker, MovieError, checked, new_state, retry
from .pipeline import STAGES, build, make_folders, roles_of
from .script import Script, ScriptError, parse_script, read_script
from .storyboard import mystery_of, title_of, write_script

WRITERS = "examples.comic.writers:make_writers"
"""A name: what submits needs no CrewAI."""
_DAEMON = replace(DAEMON, allowed_modules=["examples.comic"])


@dataclass
class Comic:
    """What was submitted: all jobs by the ids that the old tracker gave them.

    Where a crew writes the story, these are the plot and the ``plan``; the others come when the plan is made.
    """

    movie_id: str
    state: PipelineState
    jobs: dict[str, JobHandle[Any]] = field(default_factory=dict[str, JobHandle[Any]])


class DetectiveMaker(Maker):
    """Makes detective comics. What is submitted is done, whatever happens to this process, by any later one.

    ::

        maker = DetectiveMaker(db_path="cinema.db")
        state = await maker.generate(PlotConstraints(killer="Rook", victim="Lord Vane"), characters)

    :param db_path: the file of the store; one of the old tracker is imported beside itself. Default:
        ``cinema_jobs.asyncjobs.db`` in the working directory.
    :param max_concurrent_images: how many pictures are drawn at a time, over all processes on this store.
    :param processor: one that is open already, on the same file.
    :param crew: whether a crew writes the stories. Default: where CrewAI is installed, and ``OPENAI_BASE_URL`` or
        ``OPENAI_API_KEY`` says whom to ask. Else they follow a storyboard.
    """

    stages = (*STAGES, "plan")
    files = ("story/*", "characters/*", "images/*.png", "pages/*.png", "*.pdf", "*.cbz", "contact_sheet.png", LEDGER)

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        *,
        max_concurrent_images: int = 3,
        processor: JobProcessor | None = None,
        crew: bool | None = None,
    ) -> None:
        if isinstance(max_concurrent_images, bool) or not isinstance(max_concurrent_images, int):
            raise MovieError(f"max_concurrent_images: a whole number is needed, not {max_concurrent_images!r}")
        if max_concurrent_images < 1:
            raise MovieError(f"max_concurrent_images: at least 1 is needed, not {max_concurrent_images}")
        super().__init__(db_path, processor=processor, daemon=_DAEMON)
        self._images = max_concurrent_images
        self._crew = _has_crew() if crew is None else crew

    # -- the interface of before

    async def generate(
        self,
        constraints: PlotConstraints,
        characters: list[Character],
        movie_id: str | None = None,
        base_dir: str | os.PathLike[str] = "./output",
        *,
        title: str | None = None,
        script: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        restart: bool = False,
    ) -> PipelineState:
        """Make a comic, and return its state at the end; one that is stored already goes on.

        :param script: the story, in the format of ``script.toml``, or its file; its cast has all characters.
        :param restart: remove what there is of this movie, and begin anew.
        :raises: as ``submit``.
        """
        async with self._opened() as jp:
            comic = await self._submit(jp, constraints, characters, movie_id, base_dir, title, script, restart=restart)
            return await self._finished(jp, comic.state)

    async def submit(
        self,
        constraints: PlotConstraints,
        characters: list[Character],
        movie_id: str | None = None,
        base_dir: str | os.PathLike[str] = "./output",
        *,
        title: str | None = None,
        script: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        restart: bool = False,
    ) -> Comic:
        """Store all jobs of a comic, or go on with it, and return their handles at once.

        :raises ConstraintsError: mistakes, with their paths. ScriptError: the script cannot be drawn.
        :raises MovieError: the movie was asked for otherwise. Nothing has been stored in all these cases.
        """
        return await self._submit(
            self.processor, constraints, characters, movie_id, base_dir, title, script, restart=restart
        )

    async def resubmit(self, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> Comic:
        """Go on with a comic as ``resume``, and return the handles at once.

        :raises MovieError: as ``resume``.
        """
        return await self._resubmit(self.processor, movie_id, base_dir)

    # -- steps

    async def _submit(
        self,
        jp: JobProcessor,
        constraints: PlotConstraints,
        characters: list[Character],
        movie_id: str | None,
        base_dir: str | os.PathLike[str],
        title: str | None,
        script: Mapping[str, Any] | str | os.PathLike[str] | None,
        *,
        restart: bool,
    ) -> Comic:
        movie_id = checked(f"detective_{secrets.token_hex(4)}" if movie_id is None else movie_id)
        check(constraints, characters)
        given = await anyio.to_thread.run_sync(_read, script)
        title = _title(title, constraints)
        request = {
            "constraints": constraints.as_dict(),
            "characters": [asdict(character) for character in characters],
            "title": title,
            "script": given,
        }
        await self._check(jp, movie_id)
        by_crew = given is None and self._crew
        written = None if by_crew else _script(constraints, characters, title, given)
        state = new_state(movie_id, base_dir, request)
        stored = await self._stored(jp, movie_id)
        if stored is not None and restart:
            await self._remove(jp, state)
            stored = None
        if stored is not None:
            if differences := name_differences(stored, request):
                raise MovieError(
                    f"the movie {movie_id!r} was asked for otherwise: {'; '.join(differences)}. Take another movie id, "
                    "or restart=True to begin it anew"
                )
            return await self._go_on(jp, state)
        await self._save(state)
        if written is None:
            comic = await self._submit_crew(jp, request, state)
        else:
            comic = await self._submit_script(jp, written, request, state)
        await self._shown_to_others(jp, movie_id)
        return comic

    async def _submit_script(
        self, jp: JobProcessor, script: Script, request: dict[str, Any], state: PipelineState
    ) -> Comic:
        comic, out = Comic(state.movie_id, state), state.base_dir
        async with jp.batch() as batch:

            async def add(stage: str, name: str, func: Any, *args: Any, **options: Any) -> JobHandle[Any]:
                comic.jobs[name] = batch.submit_job(
                    func,
                    *args,
                    job_id=f"{state.movie_id}/{name}",
                    group=state.movie_id,
                    if_exists="return",
                    **planner.options_of(stage, name, script, out, args, options),
                )
                return comic.jobs[name]

            plot_id = f"plot_{state.movie_id}"
            plot = await add("plot", plot_id, planner.write_plot, request, script.mystery, roles_of(script), out)
            await build(add, script, plot, out, images=("images", self._images))
        return comic

    async def _submit_crew(self, jp: JobProcessor, request: dict[str, Any], state: PipelineState) -> Comic:
        """Submit the plot and its plan: what is drawn is known when the plot is."""
        plot_id = f"plot_{state.movie_id}"
        common = planner.options_of("plot", plot_id, None, state.base_dir)
        async with jp.batch() as batch:
            plot = batch.submit_crew_run(
                WRITERS,
                args=(request,),
                job_id=f"{state.movie_id}/{plot_id}",
                group=state.movie_id,
                if_exists="return",
                **common,
            )
            plan = batch.submit_job(
                planner.plan,
                plot,
                request,
                state.base_dir,
                self._images,
                job_id=state.movie_id,
                group=state.movie_id,
                metadata={"stage": "plan", "title": request["title"]},
                retry=common["retry"],
                max_interruptions=planner.INTERRUPTIONS,
                if_exists="return",
            )
        return Comic(state.movie_id, state, {plot_id: plot, "plan": plan})

    def _sweep(self, folder: Path) -> None:
        make_folders(folder)
        sweep(folder)

    async def _go_on(self, jp: JobProcessor, state: PipelineState) -> Comic:
        """Try again what failed; what it had kept from being done comes back with it."""
        jobs = [job async for job in jp.iter_jobs(JobQuery(group=state.movie_id)) if "stage" in job.metadata]
        _check_folder(jobs, state)
        await self._save(state)
        for job in jobs:
            if job.status in AGAIN:
                await retry(jp, job.id)
        names = {job.id: job.metadata.get("tracker_id", "plan") for job in jobs}
        return Comic(state.movie_id, state, {name: jp.handle(job_id) for job_id, name in names.items()})

    async def _resubmit(self, jp: JobProcessor, movie_id: str, base_dir: str | os.PathLike[str]) -> Comic:
        await self._check(jp, checked(movie_id))
        request = await self._stored(jp, movie_id)
        if request is None:
            raise await self._unknown(jp, movie_id, "generate(…)")
        return await self._go_on(jp, new_state(movie_id, base_dir, request))

    async def _stored(self, jp: JobProcessor, movie_id: str) -> dict[str, Any] | None:
        """Return what was asked for: it is an argument of the plan, or of the plot where there is no plan."""
        for job_id, place in ((movie_id, 1), (f"{movie_id}/plot_{movie_id}", 0)):
            try:
                stored = await jp.get_arguments(job_id)
            except JobNotFoundError:
                continue
            request = stored.args[place] if len(stored.args) > place else None
            if not isinstance(request, dict) or "constraints" not in request:
                raise MovieError(f"{movie_id!r} is the id of another kind of movie: take another id")
            return request
        return None


def _has_crew() -> bool:
    named = any(os.environ.get(name) for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"))
    return named and importlib.util.find_spec("crewai") is not None


def _read(script: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any] | None:
    """Return the script that is given, in whatever way."""
    if script is None or isinstance(script, Mapping):
        return None if script is None else dict(script)
    if not isinstance(script, (str, os.PathLike)):
        raise ScriptError(f"script: a dict or the path of a file is needed, not {script!r}")
    return read_script(Path(script))


def _title(title: object, constraints: PlotConstraints) -> str:
    if title is None:
        return title_of(constraints)
    if not isinstance(title, str) or not title.strip() or len(title) > 100:
        raise ConstraintsError([("title", f"a text of at most 100 letters is needed, not {title!r}")])
    return title


def _script(
    constraints: PlotConstraints, characters: list[Character], title: str, given: dict[str, Any] | None
) -> Script:
    """Return the script: the one that is given, with the mystery of the constraints, or one of the storyboard's."""
    if given is None:
        return parse_script(write_script(constraints, characters, title))
    cast = given.get("characters")
    missing = [c for c in characters if not isinstance(cast, dict) or c.key not in cast]
    if missing:
        raise ScriptError(f"characters: the script has no {missing[0].key!r}, who is among the characters")
    mystery = {**given.get("mystery", {}), **mystery_of(constraints, characters)}
    return parse_script({**given, "mystery": mystery})


def _check_folder(jobs: list[Job], state: PipelineState) -> None:
    paths = {job.metadata["output_path"] for job in jobs if job.metadata["stage"] == "plot"}
    if paths and str(state.base_dir / "story" / "plot.json") not in paths:
        raise MovieError(f"the files of movie {state.movie_id!r} are not in {state.base_dir}: its plot is {min(paths)}")
