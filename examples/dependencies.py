"""A graph of jobs: its picture, the order in which it runs, results that are injected, and one edge that may break.

Command: `python examples/dependencies.py`
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from asyncjobs import JobProcessor, SQLiteConfig


def write(topic: str) -> str:
    return f"an article about {topic}"


def draw(text: str, number: int) -> str:
    return f"picture {number} of {text}"


def proofread(text: str) -> str:
    raise ConnectionError("the proofreader is on holiday")


def publish(text: str, pictures: list[str], corrected: str | None) -> str:
    return f"{text}, with {len(pictures)} pictures, {'as it was written' if corrected is None else 'corrected'}"


async def main(folder: Path) -> None:
    async with JobProcessor(SQLiteConfig(db_path=folder / "jobs.db")) as jp:
        async with jp.batch() as batch:  # stored completely, or not at all
            text = batch.submit_job(write, "queues", job_id="text", group="article")
            pictures = [batch.submit_job(draw, text, n, job_id=f"picture-{n}", group="article") for n in (1, 2, 3)]
            corrected = batch.submit_job(proofread, text, job_id="proofread", group="article", max_retries=0)
            final = batch.submit_job(publish, text, pictures, jp.optional(corrected), job_id="publish", group="article")
        async for event in jp.stream_group("article", types=["started", "completed", "failed"]):
            print(f"{event.type:9} {event.job_id}")
        print(await final)
    await anyio.run_process(  # what you would type
        [sys.executable, "-m", "asyncjobs", "dag", "show", "article", "--db", str(folder / "jobs.db")], stdout=None
    )


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        anyio.run(main, Path(temporary))
