"""``asyncjobs aws``: create the AWS resources of the SQS store, or print templates for other tools."""

from __future__ import annotations

import click
from msgspec import json

from asyncjobs.backends.select import AWS_ROLES, AWSRole, aws_policy, aws_template, create_on_aws
from asyncjobs.cli.context import Context, command, pass_context
from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.cli.main import Named
from asyncjobs.config import SQSConfig


@click.group(cls=Named)
def aws() -> None:
    """Prepare AWS for the SQS store: table, queues, permissions.

    The names are those of the settings (backend = "sqs", [sqs]) or of the application's own store.
    """


@aws.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be created.")
@command
async def init(context: Context, dry_run: bool) -> None:
    """Create the table with its indexes, the queues and the dead-letter queue; leave existing ones unchanged."""
    config = _config(context)
    context.set_up_logging()
    made = await create_on_aws(config, dry_run=dry_run)
    out = context.out
    if out.json:
        out.data({"schema": 1, "dry_run": dry_run, "made": made})
        return
    for line in made:
        out.text(line)
    if not made:
        out.good(f"everything exists already: {config.where}")
    elif dry_run:
        out.note("nothing was created; to create it:  asyncjobs aws init")
    else:
        out.good(f"ready: {config.where}")


@aws.command()
@pass_context
def template(context: Context) -> None:
    """Print a CloudFormation template of the table, the queues and the bucket."""
    click.echo(aws_template(_config(context)).rstrip("\n"))


@aws.command()
@click.option(
    "--for",
    "role",
    type=click.Choice(AWS_ROLES),
    required=True,
    help="worker: runs jobs, and does all that the others do. submitter: submits, cancels, waits. reader: only reads.",
)
@pass_context
def policy(context: Context, role: AWSRole) -> None:
    """Print the smallest IAM policy for a role."""
    document = aws_policy(_config(context), role)
    if context.out.json:
        context.out.data(document)
    else:
        click.echo(json.format(json.encode(document), indent=2).decode())


def _config(context: Context) -> SQSConfig:
    """Return the settings of the store.

    :raises Failure: the store is of another kind.
    """
    chosen = context.chosen_store
    if isinstance(chosen.config, SQSConfig):
        return chosen.config
    raise Failure(
        f"the store is not on AWS, but {chosen.shown}",
        exit_code=USAGE,
        hint="set backend = 'sqs' in asyncjobs.toml, or ASYNCJOBS_BACKEND=sqs, or name a program that uses SQSConfig: "
        "--app module:attribute",
    )
