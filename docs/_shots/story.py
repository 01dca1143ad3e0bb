"""The jobs that the pictures of the command line show: a comic of which some pages are drawn until they are stopped."""

from __future__ import annotations

import anyio

from asyncjobs import JobProcessor, RetryPolicy, current_job

jp = JobProcessor(enable_daemon=False)
DRAWN = {1: 24, 2: 15, 3: 6}
"""How far each page gets, of 24."""


async def write_plot(genre: str) -> str:
    return f"a {genre} plot"


async def cast(plot: str, name: str) -> str:
    current_job().log(f"{name} is in {plot}")
    return name


async def draw_page(plot: str, people: list[str], number: int) -> str:
    for done in range(DRAWN[number] + 1):
        current_job().progress(done, 24, "the inks" if done > 12 else "the pencils")
    if DRAWN[number] < 24:
        await anyio.sleep_forever()
    return f"page {number}"


def draw_cover(plot: str) -> str:
    raise ConnectionError("the image service hung up")


async def bind(pages: list[str], cover: str | None) -> str:
    return " + ".join([cover or "no cover", *pages])


async def main() -> None:
    """Submit the jobs, and return when nothing more will happen."""
    async with jp:
        async with jp.batch() as batch:
            plot = batch.submit_job(write_plot, "noir", job_id="plot", group="noir")
            people = [
                batch.submit_job(cast, plot, name, job_id=f"cast-{name}", group="noir") for name in ("ana", "max")
            ]
            pages = [
                batch.submit_job(draw_page, plot, people, number, job_id=f"page-{number}", group="noir")
                for number in DRAWN
            ]
            cover = batch.submit_job(
                draw_cover, plot, job_id="cover", group="noir", retry=RetryPolicy(max_retries=1, base=0.01)
            )
            title = batch.submit_gate(
                "Which title?",
                choices=["Fog", "Night Train"],
                job_id="title",
                group="noir",
                depends_on=[plot],
                timeout=86_400,
            )
            batch.submit_job(bind, pages, jp.optional(cover), depends_on=[title], job_id="book", group="noir")
        missing = {"page-1", "page-2", "page-3", "cover", "title"}
        async for event in jp.stream_group("noir"):
            if event.type in ("completed", "failed", "asked"):
                missing.discard(event.job_id)
            if event.type == "progress" and event.data["done"] == DRAWN[int(event.job_id[-1])]:
                missing.discard(event.job_id)
            if not missing:
                return


if __name__ == "__main__":
    anyio.run(main)
