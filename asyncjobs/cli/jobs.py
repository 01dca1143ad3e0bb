"""``asyncjobs jobs``: list, inspect and change jobs, and answer gates."""

from __future__ import annotations

import click

from asyncjobs.cli import gate_actions, job_actions, job_views
from asyncjobs.cli.main import Named


@click.group(cls=Named)
def jobs() -> None:
    """List, inspect and change jobs, and answer gates.

    An id may be shortened to a unique prefix of 4 characters or more.
    """


for _command in (
    job_views.list_,
    job_views.show,
    job_views.result,
    job_views.logs,
    job_views.watch,
    job_actions.submit,
    job_actions.cancel,
    job_actions.retry,
    gate_actions.answer,
    gate_actions.reject,
    job_actions.remove,
):
    jobs.add_command(_command)
