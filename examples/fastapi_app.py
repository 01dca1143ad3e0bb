"""An app with jobs: one route submits, and the mounted routes stream and tell the status.

Command: `uvicorn examples.fastapi_app:app`, then `curl -X POST localhost:8000/pages/noir`
"""

from __future__ import annotations

import anyio
from fastapi import FastAPI

from asyncjobs import JobProcessor, current_job

jp = JobProcessor()
app = FastAPI(lifespan=jp.lifespan)
app.mount("/jobs", jp.asgi_app())  # JSON, server-sent events and an OpenAPI document, for this machine only


async def write_page(genre: str) -> str:
    job = current_job()
    for word in f"It was a dark and {genre} night.".split():
        job.emit("output", {"text": f"{word} "}, append="text")
        await anyio.sleep(0.2)
    return f"one {genre} page"


@app.post("/pages/{genre}", status_code=202)
async def new_page(genre: str) -> dict[str, str]:
    """Answer at once: the page is written in the background, and survives a restart."""
    job = await jp.submit_job(write_page, genre)
    return {"status": f"/jobs/v1/jobs/{job.id}", "events": f"/jobs/v1/jobs/{job.id}/events"}
