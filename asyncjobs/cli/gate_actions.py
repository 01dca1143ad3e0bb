"""``asyncjobs jobs answer|reject``: the commands that end gates."""

from __future__ import annotations

import os
import pwd
import shlex
from typing import Any

import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.cli.gate_values import parse_value
from asyncjobs.cli.job_actions import decode_json, report_statuses
from asyncjobs.models import Gate, JobStatus

_ENDED = {JobStatus.COMPLETED: "answered", JobStatus.FAILED: "rejected"}


@click.command()
@click.argument("job")
@click.argument("value", required=False)
@click.option("--json", "as_json", metavar="JSON", help="The answer as JSON. (For JSON output: -o json.)")
@command
async def answer(context: Context, job: str, value: str | None, as_json: str | None) -> None:
    """Answer a gate, in your name. Without VALUE, approve it.

    VALUE is one of the choices, or a text, a number, true, false or null, as the gate accepts it. Any other answer
    needs --json. A VALUE that begins with a dash comes after --.
    """
    if value is not None and as_json is not None:
        raise Failure("VALUE and --json cannot be combined", exit_code=USAGE)
    async with context.store() as jp:
        job_id = await context.job_id(jp, job)
        gate = (await jp.get_job(job_id)).gate
        given = decode_json("--json", as_json) if as_json is not None else _parsed(job_id, gate, value)
        status = await jp.answer_job(job_id, given, _user())
    report_statuses(context, {job_id: status}, _ENDED, "")


@click.command()
@click.argument("job")
@click.option("--reason", required=True, help="Why, in up to 2,000 characters.")
@command
async def reject(context: Context, job: str, reason: str) -> None:
    """Reject a gate, in your name. Jobs that depend on it are skipped; retry opens it again."""
    async with context.store() as jp:
        job_id = await context.job_id(jp, job)
        status = await jp.reject_job(job_id, reason, _user())
    report_statuses(context, {job_id: status}, _ENDED, "")


def _parsed(job_id: str, gate: Gate | None, value: str | None) -> Any:
    """Parse VALUE as an answer.

    :raises Failure: VALUE is missing, or the gate does not accept it.
    """
    if gate is None:
        return True  # the store reports what the job is
    if gate.choices is None and gate.schema is None:
        if value not in (None, "true"):
            problem = f"this gate is an approval: it does not accept the VALUE {value!r}"
            hint = f"leave it out to approve, or reject it: asyncjobs jobs reject {shlex.quote(job_id)} --reason no"
            raise Failure(problem, exit_code=USAGE, hint=hint)
        return True
    if value is None:
        takes = "VALUE or --json" if gate.choices is None else f"VALUE, one of: {', '.join(gate.choices)}"
        raise Failure(f"this gate needs an answer: {takes}", exit_code=USAGE)
    return value if gate.schema is None else parse_value(value, gate.schema)


def _user() -> str:
    """Return the name of the user that runs this command, by the system and not by its environment."""
    user = os.geteuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # a container may have users without names
        return f"uid {user}"
