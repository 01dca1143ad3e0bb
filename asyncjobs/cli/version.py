"""``asyncjobs version``: show installed versions."""

from __future__ import annotations

import platform

import click

from asyncjobs.cli.context import Context, pass_context
from asyncjobs.versions import installed_version, own_version

_PARTS = (
    *("anyio", "msgspec", "networkx", "aiosqlite", "click", "rich", "starlette", "uvicorn", "httpx", "uvloop"),
    *("aiobotocore", "botocore"),
)


@click.command()
@pass_context
def version(context: Context) -> None:
    """Show installed versions."""
    import sqlite3

    versions = {"asyncjobs": own_version(), "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    versions |= {name: found for name in _PARTS if (found := installed_version(name)) is not None}
    if context.out.json:
        context.out.data(versions)
        return
    for name, found in versions.items():
        context.out.text(f"{name:11} {found}")
