"""``asyncjobs backup`` and ``asyncjobs compact``: copy the store, and return unused space."""

from __future__ import annotations

from pathlib import Path

import click

from asyncjobs.cli.context import Context, command, shown
from asyncjobs.cli.job_selection import parse_seconds


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@command
async def backup(context: Context, path: Path) -> None:
    """Copy the store to PATH while it is in use. PATH must not exist."""
    async with context.store() as jp:
        await jp.backup(path)
    context.out.good(f"copied to {shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")


@click.command()
@click.option("--patience", default="10s", show_default=True, help="Time limit; other writers wait meanwhile.")
@command
async def compact(context: Context, patience: str) -> None:
    """Return the space of removed jobs to the file system."""
    async with context.store() as jp:
        freed = await jp.compact(parse_seconds(patience))
    context.out.good(f"freed {freed / 1e6:.1f} MB")
