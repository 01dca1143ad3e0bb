"""A Starlette app around the crew: its own routes submit and serve, the mounted ones watch, stop, resume and answer."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from asyncjobs import JobNotCompletedError, JobNotFoundError, JobProcessor, JobStateError, SQLiteConfig
from examples.crew.model import Ledger
from examples.crew.pipeline import DAEMON, submit

OUT = Path(os.environ.get("CREW_OUT", "comic-output/crew")).resolve()
OUT.mkdir(parents=True, exist_ok=True)
STATIC = Path(__file__).with_name("static")
SHARED = Path(__file__).parents[1] / "web_app" / "static"
"""What the pages of the examples have in common."""
NOTHING_FOREIGN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
FOR_EVER = "private, max-age=31536000, immutable"  # what a completed job has made does not change
LONGEST = 50
"""Characters of a title."""
_LARGEST = 4_096
"""Bytes of a wish."""

jp = JobProcessor(SQLiteConfig(db_path=OUT / "jobs.db"), daemon=DAEMON)


async def page(request: Request) -> Response:
    """The page; which story it shows stands behind the `#` of its address."""
    headers = {
        "content-security-policy": NOTHING_FOREIGN,
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return FileResponse(STATIC / "index.html", headers=headers)


async def write(request: Request) -> Response:
    """Store all jobs of a story. Once this answers, it will be written and drawn, whatever happens to this process."""
    title = await _title(request)
    story = secrets.token_hex(4)
    await submit(jp, title, story, OUT / story)
    return JSONResponse({"story": story, "events": f"jobs/v1/groups/{story}/events"}, 202)


async def _title(request: Request) -> str:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send JSON")  # which a form of another site cannot
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise HTTPException(413, "this is too long")
    try:
        wish: Any = json.loads(body)
    except ValueError:
        raise HTTPException(422, "this is no JSON") from None
    title = wish.get("title") if isinstance(wish, dict) else None
    if not isinstance(title, str) or not title.strip() or len(title.strip()) > LONGEST:
        raise HTTPException(422, f"give a title of 1 to {LONGEST} characters")
    try:
        title.encode()
    except UnicodeEncodeError:
        raise HTTPException(422, "the title has half of a character") from None
    return title.strip()


def requests(request: Request) -> Response:
    """How many requests of a story the scripted model has answered, and how many of them more than once."""
    answered = Ledger(OUT).answered(request.path_params["story"])
    return JSONResponse({"answered": answered.total(), "again": answered.total() - len(answered)})


async def picture(request: Request) -> Response:
    """The picture that a job has drawn."""
    made = await _result(request)
    return FileResponse(
        _file(made.get("path") if isinstance(made, dict) else made), headers={"cache-control": FOR_EVER}
    )


async def book(request: Request) -> Response:
    """The book that a job has bound, to be kept."""
    made = await _result(request)
    path = _file(made.get(request.path_params["kind"]) if isinstance(made, dict) else None)
    return FileResponse(path, filename=path.name, headers={"cache-control": FOR_EVER})


async def _result(request: Request) -> Any:
    try:
        return await jp.get_result(request.path_params["job_id"])
    except (JobNotFoundError, JobStateError, JobNotCompletedError):
        raise HTTPException(404, "there is nothing of it") from None


def _file(path: object) -> Path:
    """Only what jobs wrote into the output folder is served; nothing of a request becomes part of a path."""
    if not isinstance(path, Path) or not path.is_relative_to(OUT) or not path.is_file():
        raise HTTPException(404, "this job has made no such file")
    return path


async def refuse(request: Request, error: Exception) -> Response:
    """Say what was wrong in the form that the mounted routes use."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


app = Starlette(
    routes=[
        Route("/", page),
        Route("/stories", write, methods=["POST"]),
        Route("/requests/{story}", requests),
        Route("/pictures/{job_id}", picture),
        Route("/books/{job_id}/{kind}", book),
        Mount("/jobs", jp.asgi_app()),
        Mount("/static", StaticFiles(directory=STATIC)),
        Mount("/shared", StaticFiles(directory=SHARED)),
    ],
    middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    exception_handlers={HTTPException: refuse},
    lifespan=jp.lifespan,
)
