"""``asyncjobs groups``: list, show and watch groups of jobs."""

from __future__ import annotations

import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import FAILED, NOT_FOUND, TIMED_OUT, Failure
from asyncjobs.cli.job_selection import parse_seconds
from asyncjobs.cli.json_shapes import group_item
from asyncjobs.cli.live_board import follow
from asyncjobs.cli.main import Named
from asyncjobs.cli.output import printable
from asyncjobs.models import GroupProgress, JobStatus
from asyncjobs.processor import JobProcessor
from asyncjobs.spellings import nearest


@click.group(cls=Named)
def groups() -> None:
    """List, show and watch groups of jobs."""


@groups.command("list")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Maximum number of groups."
)
@click.option("--after", help="Continue after this group.")
@command
async def list_(context: Context, limit: int, after: str | None) -> None:
    """List groups by name, with their progress. JSON has `--after` of the following ones as `next`."""
    async with context.store() as jp:
        found = await jp.backend.list_groups(after, limit)
    context.out.table(
        ("group", "done", "percent", "running", "failed", "pending"),
        [
            (
                printable(group.group),
                f"{group.completed}/{group.total}",
                f"{group.percent:.0f} %",
                str(group.counts.get(JobStatus.IN_PROGRESS, 0)),
                str(group.counts.get(JobStatus.FAILED, 0)),
                str(group.counts.get(JobStatus.PENDING, 0)),
            )
            for group in found
        ],
        [group_item(group) for group in found],
        found[-1].group if len(found) == limit else None,
    )


async def known(jp: JobProcessor, name: str) -> GroupProgress:
    """Return the progress of a group that has jobs.

    :raises Failure: no job is in the group; the hint names the nearest group.
    """
    group = await jp.get_progress(name)
    if not group.total:
        near = nearest(name, [other.group for other in await jp.backend.list_groups(None, 1000)])
        hint = f"did you mean {near!r}?" if near else "asyncjobs groups list shows the groups"
        raise Failure(f"group {name!r} not found", exit_code=NOT_FOUND, hint=hint, code="group-not-found")
    return group


@groups.command()
@click.argument("group")
@command
async def show(context: Context, group: str) -> None:
    """Show the progress of a group."""
    out = context.out
    async with context.store() as jp:
        found = await known(jp, group)
    if out.json:
        out.data(group_item(found))
        return
    out.text(f"{printable(group)}  {out.bar(found.completed, found.total)} {found.completed}/{found.total}")
    for status, count in found.counts.items():
        if count:
            out.text(f"  {out.status(status)} {count}")


@groups.command()
@click.argument("group")
@click.option("--timeout", help="Maximum time to watch: 30s, 5m.")
@command
async def watch(context: Context, group: str, timeout: str | None) -> None:
    """Watch a group until all of its jobs have ended. The exit code is 1 if a job did not complete."""
    async with context.store() as jp:
        await known(jp, group)
        ended = await follow(context, jp, job_id=None, group=group, timeout=parse_seconds(timeout))
        counts = (await jp.get_progress(group)).counts
    if not ended:
        raise Failure(f"did not end within {timeout}", exit_code=TIMED_OUT, hint="the jobs continue")
    if any(count for status, count in counts.items() if status is not JobStatus.COMPLETED):
        raise SystemExit(FAILED)
