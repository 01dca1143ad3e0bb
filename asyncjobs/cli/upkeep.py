"""``asyncjobs backup`` and ``asyncjobs compact``: copy the store, and return unused space."""

from __future__ import annotations

from pathlib import Path

import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.cli.job_selection import parse_seconds
from asyncjobs.cli.stores import shown
from asyncjobs.config import SQSConfig
from asyncjobs.exceptions import BackendClosedError


def _check_file(context: Context, what: str) -> None:
    """Refuse the command for a store that is not a file, before it is opened.

    :raises Failure: the store is not a file.
    """
    chosen = context.chosen_store
    if "backup" in chosen.backend().capabilities:
        return
    hint = None
    if isinstance(chosen.config, SQSConfig):
        hint = "point-in-time recovery of DynamoDB copies the table; removed jobs take no space in it"
    raise Failure(f"{what} is for stores in files; this is {chosen.shown}", exit_code=USAGE, hint=hint)


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@command
async def backup(context: Context, path: Path) -> None:
    """Copy the store to PATH while it is in use. PATH must not exist. For stores in files."""
    _check_file(context, "backup")
    async with context.store() as jp:
        await jp.backup(path)
    context.out.good(f"copied to {shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")


@click.command()
@click.option("--patience", default="10s", show_default=True, help="Time limit; other writers wait meanwhile.")
@command
async def compact(context: Context, patience: str) -> None:
    """Return the space of removed jobs to the file system. For stores in files."""
    _check_file(context, "compact")
    seconds = parse_seconds(patience)
    try:
        freed = await context.chosen_store.backend().compact(seconds)  # what can be done while nobody has it open
    except BackendClosedError:
        async with context.store() as jp:
            freed = await jp.compact(seconds)
    context.out.good(f"freed {freed / 1e6:.1f} MB")
