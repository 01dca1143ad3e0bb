"""``asyncjobs backup``."""

from __future__ import annotations

from pathlib import Path

import click

from asyncjobs.cli.context import Context, command, shown


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@command
async def backup(context: Context, path: Path) -> None:
    """Copy the store to PATH, which must not exist, while others go on using it."""
    async with context.store() as jp:
        await jp.backup(path)
    context.out.good(f"copied to {shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")
