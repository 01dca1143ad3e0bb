"""``asyncjobs demo``: run a graph of jobs in a temporary store and watch it live."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio
import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.live_board import follow
from asyncjobs.cli.output import printable, seconds
from asyncjobs.config import DaemonConfig, SQLiteConfig
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import JobStatus
from asyncjobs.plurals import counted
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.context import current_job

_GROUP = "demo"
_PEOPLE = ("Anna", "Bob", "Eve", "Max", "Ida", "Tom")
_PAGE = 25
"""Panels per page."""


async def plot(title: str) -> str:
    """Write the story."""
    await anyio.sleep(0.2)
    return f"{title}: it was a dark and stormy night"


async def character(story: str, name: str) -> str:
    """Describe a character."""
    await anyio.sleep(random.uniform(0.2, 0.6))
    return f"{name} of {len(story)} words"


async def panel(references: list[str], number: int, fails: bool) -> str:
    """Draw a panel; some fail at first."""
    job = current_job()
    steps = 5
    for step in range(steps):
        await anyio.sleep(random.uniform(0.02, 0.08))
        if fails and job.attempt == 1 and step == 2:
            raise ConnectionError("the pen slipped")
        job.progress(step + 1, steps, "inking")
    return f"panel {number} with {len(references)} people"


async def page(panels: list[str], number: int) -> str:
    """Compose a page of panels."""
    await anyio.sleep(0.3)
    return f"page {number}: {len(panels)} panels"


@click.command()
@click.option(
    "--jobs", "count", type=click.IntRange(10, 5000), default=60, show_default=True, help="Approximate number of jobs."
)
@click.option(
    "--fail", type=click.IntRange(0, 100), default=5, show_default=True, help="Percentage of panels that fail at first."
)
@command
async def demo(context: Context, count: int, fail: int) -> None:
    """Draw a comic with a graph of jobs: plot, characters, panels, pages. Some panels fail and are retried."""
    out = context.out
    panels = max(2, count - 2 - len(_PEOPLE) - max(1, count // _PAGE))
    with tempfile.TemporaryDirectory(prefix="asyncjobs-demo-") as folder:
        config = SQLiteConfig(db_path=Path(folder) / "demo.db")
        async with JobProcessor(config, daemon=DaemonConfig(num_workers=8, shutdown_timeout=1)) as jp:
            out.echo(
                f"A comic of {panels} panels on 8 slots; {fail} % of the panels fail on purpose and are retried.\n"
            )
            began = time.monotonic()
            await _submit(jp, panels, fail)
            await follow(context, jp, job_id=None, group=_GROUP, timeout=None)
            took = time.monotonic() - began
            await _summary(context, jp, took)


async def _submit(jp: JobProcessor, panels: int, fail: int) -> None:
    soon = RetryPolicy(max_retries=3, base=0.25)
    chosen = random.Random(7)
    async with jp.batch() as batch:
        story = batch.submit_job(plot, "The Lamp", group=_GROUP, job_id="plot")
        people = [
            batch.submit_job(character, story, name, group=_GROUP, job_id=f"character_{name}") for name in _PEOPLE
        ]
        drawn = [
            batch.submit_job(
                panel,
                chosen.sample(people, 2),
                number,
                chosen.randrange(100) < fail,
                group=_GROUP,
                job_id=f"panel_{number:02}",
                retry=soon,
            )
            for number in range(1, panels + 1)
        ]
        for number, start in enumerate(range(0, panels, _PAGE), start=1):
            batch.submit_job(page, drawn[start : start + _PAGE], number, group=_GROUP, job_id=f"page_{number}")


async def _summary(context: Context, jp: JobProcessor, took: float) -> None:
    jobs = await jp.find_jobs(JobQuery(group=_GROUP, limit=1000))
    counts = Counter(job.status for job in jobs)
    retries = sum(job.attempt - 1 for job in jobs if job.attempt)
    slowest = max(jobs, key=lambda job: job.elapsed or 0.0)
    context.out.echo("")
    context.out.good(
        f"{counts[JobStatus.COMPLETED]} completed, {counts[JobStatus.FAILED]} failed in {seconds(took)}; "
        f"{counted(retries, 'retry', 'retries')}; the slowest was {printable(slowest.id)} ({seconds(slowest.elapsed)})"
    )
    context.out.echo("The store was temporary. To use your own:  asyncjobs daemon start --help")
