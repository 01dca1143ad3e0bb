"""A FastAPI app with durable jobs: its own routes submit and serve, the mounted ones watch and act.

What belongs to asyncjobs are five lines: the processor, `lifespan=`, `mount`, and in the routes `submit` and
`get_result`. Everything else on the page (events, cancelling, retrying, answering) is `jobs/v1/…`, which
`jp.asgi_app()` serves.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field, StringConstraints
from starlette.middleware.trustedhost import TrustedHostMiddleware

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from examples.comic.__main__ import SCRIPT
from examples.comic.pipeline import submit
from examples.comic.script import load_script
from examples.web_app.films import film_routes
from examples.web_app.made import FOR_EVER, file_in, result_of
from examples.web_app.printing import print_page

OUT = Path(os.environ.get("COMIC_OUT", "comic-output/web")).resolve()
OUT.mkdir(parents=True, exist_ok=True)
STORY = load_script(Path(os.environ.get("COMIC_SCRIPT", SCRIPT)))
STATIC = Path(__file__).with_name("static")
NOTHING_FOREIGN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

DATABASE = OUT / "jobs.db"
jp = JobProcessor(SQLiteConfig(db_path=DATABASE), daemon=DaemonConfig(num_workers=8, shutdown_timeout=0.25))

app = FastAPI(title="The comic", lifespan=jp.lifespan, docs_url=None, redoc_url=None)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
app.mount("/jobs", jp.asgi_app())
app.mount("/static", StaticFiles(directory=STATIC))
app.include_router(film_routes(jp, DATABASE, OUT))


class Wish(BaseModel):
    """Which comic is wanted."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)] = STORY.title
    pages: Annotated[int, Field(ge=1, le=100)] = len(STORY.scenes)


class Comic(BaseModel):
    """A comic that is being drawn: the group of its jobs, and where to watch them."""

    comic: str
    events: str


@app.get("/")
async def page() -> FileResponse:
    """The page; which comic it shows stands behind the `#` of its address."""
    return _page("index.html")


@app.get("/film")
async def film_page() -> FileResponse:
    """The page of the film, likewise."""
    return _page("film.html")


def _page(name: str) -> FileResponse:
    return FileResponse(
        STATIC / name,
        headers={
            "content-security-policy": NOTHING_FOREIGN,
            "cache-control": "no-cache",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        },
    )


@app.post("/comics", status_code=202)
async def draw(wish: Wish) -> Comic:
    """Store all jobs of a comic. Once this answers, it will be drawn, whatever happens to this process."""
    comic = secrets.token_hex(4)
    script = replace(STORY, title=wish.title, scenes=STORY.scenes[: wish.pages])
    await submit(jp, script, comic, OUT / comic, prefix=f"{comic}:")
    first = jp.handle(f"{comic}:page_{script.scenes[0].number:02d}")
    await jp.submit_job(print_page, first, job_id=f"{comic}:print")  # of no group: a comic is complete without it
    return Comic(comic=comic, events=f"jobs/v1/groups/{comic}/events")


@app.get("/pictures/{job_id:path}")
async def picture(job_id: str) -> FileResponse:
    """The picture that a job has drawn, or that stands for the clip that it has made."""
    made = await result_of(jp, job_id)
    path = file_in(OUT, made.get("poster", made.get("path")) if isinstance(made, dict) else made)
    return FileResponse(path, headers={"cache-control": FOR_EVER})


@app.get("/books/{job_id}/{kind}")
async def book(job_id: str, kind: Literal["pdf", "cbz"]) -> FileResponse:
    """The book that a job has bound, to be kept."""
    made = await result_of(jp, job_id)
    path = file_in(OUT, made.get(kind) if isinstance(made, dict) else None)
    return FileResponse(path, filename=path.name, headers={"cache-control": FOR_EVER})
