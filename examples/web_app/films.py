"""The routes of the film: store its jobs, go on with them, send clips and films, in ranges where they are asked for."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, StringConstraints

from asyncjobs import JobProcessor
from examples.comic.maker import MovieError
from examples.movie.__main__ import SCREENPLAY
from examples.movie.ffmpeg import NoFfmpegError
from examples.movie.maker import MovieMaker
from examples.movie.screenplay import read_screenplay
from examples.web_app.made import ASK_AGAIN, file_in, result_of

PLAY = read_screenplay(Path(os.environ.get("MOVIE_SCREENPLAY", SCREENPLAY)))


class FilmWish(BaseModel):
    """Which film is wanted."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)] = PLAY.title
    scenes: Annotated[int, Field(ge=1, le=100)] = len(PLAY.scenes)


class Film(BaseModel):
    """A film that is being made: the group of its jobs, and where to watch them."""

    movie: str
    events: str


class FilmName(BaseModel):
    """A film that is there."""

    movie: Annotated[str, StringConstraints(min_length=1, max_length=100)]


def film_routes(jp: JobProcessor, db_path: Path, out: Path) -> APIRouter:
    """Return the routes of films whose files are in a folder and whose jobs are in the store of a processor."""
    routes, maker = APIRouter(), MovieMaker(db_path, processor=jp)

    @routes.post("/movies", status_code=202)
    async def film(wish: FilmWish) -> Film:
        """Store all jobs of a film. Once this answers, it will be made, whatever happens to this process."""
        movie = f"film-{secrets.token_hex(4)}"
        scenes = [dict(scene) for scene in PLAY.data["scenes"][: wish.scenes]]
        if PLAY.scenes[0].title == PLAY.title:
            scenes[0]["title"] = wish.title  # the title card
        try:
            await maker.submit({**PLAY.data, "title": wish.title, "scenes": scenes}, movie, out)
        except NoFfmpegError as error:
            raise HTTPException(503, str(error)) from None
        return Film(movie=movie, events=f"jobs/v1/groups/{movie}/events")

    @routes.post("/movies/resume", status_code=202)
    async def go_on(name: FilmName) -> Film:
        """Try again what failed, and cut the film anew if scenes are missing."""
        try:
            await maker.resubmit(name.movie, out)
        except MovieError as error:
            raise HTTPException(404, str(error)) from None
        return Film(movie=name.movie, events=f"jobs/v1/groups/{name.movie}/events")

    @routes.get("/films/{job_id:path}")
    async def play(job_id: str) -> FileResponse:
        """Send a clip or a film: all of it, or the range that the browser asks for."""
        made = await result_of(jp, job_id)
        path = file_in(out, made.get("path") if isinstance(made, dict) else None)
        if path.suffix != ".mp4":
            raise HTTPException(404, "this job has made no film")
        return FileResponse(path, media_type="video/mp4", headers={"cache-control": ASK_AGAIN})

    return routes
