"""Select one of the daemons on a store by its name."""

from __future__ import annotations

import shlex

import click

from asyncjobs.cli.context import Context
from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.cli.state_files import StateFile

NAME = click.option("--name", default="default", show_default=True, help="Name of the daemon, if there are several.")


def state_file(context: Context, name: str) -> StateFile:
    """Return the state file of a daemon on the configured store.

    :raises Failure: the name is not valid.
    """
    if not name or not name.isprintable() or "/" in name or name.startswith("."):
        raise Failure(f"a daemon cannot be named {name!r}", exit_code=USAGE)
    return StateFile(name, context.chosen_store.identity)


def named(name: str) -> str:
    """Return the option that names the daemon in a command."""
    return "" if name == "default" else f" --name {shlex.quote(name)}"
