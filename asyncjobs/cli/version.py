"""``asyncjobs version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from asyncjobs.cli.context import Context, pass_context

_PARTS = ("anyio", "msgspec", "networkx", "aiosqlite", "click", "rich", "starlette", "uvicorn", "httpx", "uvloop")


def own_version() -> str:
    """The installed version."""
    return _installed("asyncjobs-dag") or "0"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@click.command()
@pass_context
def version(context: Context) -> None:
    """Show installed versions."""
    import sqlite3

    versions = {"asyncjobs": own_version(), "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    versions |= {name: found for name in _PARTS if (found := _installed(name)) is not None}
    if context.out.json:
        context.out.data(versions)
        return
    for name, found in versions.items():
        context.out.text(f"{name:10} {found}")
