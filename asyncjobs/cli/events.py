"""``asyncjobs events``: follow the event log."""

from __future__ import annotations

import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.json_shapes import event_item
from asyncjobs.cli.live_board import event_line
from asyncjobs.cli.main import Named
from asyncjobs.cli.redaction import redacted_event


@click.group(cls=Named)
def events() -> None:
    """Follow the event log."""


@events.command()
@click.option("--group", help="Events of this group.")
@click.option("--job", help="Events of this job.")
@click.option("--type", "types", multiple=True, help="Events of this type: started, completed, log, … Repeatable.")
@click.option("--after", metavar="CURSOR", help="Continue after this cursor (first column); 0 starts at the beginning.")
@click.option("--no-follow", is_flag=True, help="Print what is stored, and exit.")
@command
async def tail(
    context: Context, group: str | None, job: str | None, types: tuple[str, ...], after: str | None, no_follow: bool
) -> None:
    """Follow events. With --after, or for one job, stored events come first."""
    out = context.out
    async with context.store() as jp:
        job_id = None if job is None else await context.job_id(jp, job)
        if after is None and job is None and not no_follow:
            after = await jp.backend.last_cursor()
            out.note("following new events; for earlier ones: --after 0")
        reader = jp.streamer.reader(
            job_id=job_id, group=group, types=types or None, after=None if after == "0" else after
        )
        async with reader:
            while True:
                batch = await reader.next(0 if no_follow else None)
                for stored in batch.events:
                    event = redacted_event(context, stored)
                    if out.json:
                        out.data(event_item(event))
                    else:
                        out.text(event_line(out, event))
                if batch.lost:
                    out.warn("earlier events were removed")
                if batch.ended or (no_follow and reader.live):
                    return
