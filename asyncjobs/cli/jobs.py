"""``asyncjobs jobs``: what is there, and what to do with it."""

from __future__ import annotations

import click

from asyncjobs.cli import acting, looking
from asyncjobs.cli.main import Named


@click.group(cls=Named)
def jobs() -> None:
    """What is there, and what to do with it. Ids may be cut to a beginning that is unique (4 characters or more)."""


for _command in (
    looking.list_,
    looking.show,
    looking.result,
    looking.logs,
    looking.watch,
    acting.submit,
    acting.cancel,
    acting.retry,
    acting.remove,
):
    jobs.add_command(_command)
