"""``asyncjobs jobs submit|cancel|retry|rm``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import click
from msgspec import json

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import FAILED, NOT_FOUND, REFUSED, USAGE, Failure
from asyncjobs.cli.hints import render_hint
from asyncjobs.cli.job_selection import count, find, parse_seconds
from asyncjobs.cli.json_shapes import job_item
from asyncjobs.cli.output import printable
from asyncjobs.clock import from_datetime
from asyncjobs.core.codec import from_json
from asyncjobs.core.json_values import NO_SURROGATES, find_lone_surrogate
from asyncjobs.exceptions import JobNotCompletedError, JobStateError
from asyncjobs.models import JobQuery, JobStatus
from asyncjobs.processor import JobProcessor

_PAGE = 500
_STATUS = click.Choice([status.value for status in JobStatus])
_HEADS = ("id", "name", "status", "try", "age", "time", "error")


@click.command()
@click.argument("target", metavar="MODULE:FUNCTION")
@click.option("--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="An argument; JSON, else text. Repeatable.")
@click.option("--args", "as_json", metavar="JSON", help="All arguments: a list, or an object.")
@click.option("--id", "job_id", help="An id of your own.")
@click.option("--group")
@click.option("--queue")
@click.option("--priority", type=int)
@click.option("--delay", metavar="DURATION", help="When it is due: 30s, 5m.")
@click.option("--after", "depends_on", multiple=True, metavar="JOB", help="A job that must complete first. Repeatable.")
@click.option("--max-retries", type=int)
@click.option("--timeout", metavar="DURATION", help="What an attempt may take.")
@click.option("--wait", is_flag=True, help="Wait for the result, and print it.")
@command
async def submit(
    context: Context,
    target: str,
    pairs: tuple[str, ...],
    as_json: str | None,
    job_id: str | None,
    group: str | None,
    queue: str | None,
    priority: int | None,
    delay: str | None,
    depends_on: tuple[str, ...],
    max_retries: int | None,
    timeout: str | None,
    wait: bool,
) -> None:
    """Submit a function as a job. It is imported here, so that its arguments can be checked."""
    function = context.function(target)
    args, kwargs = _arguments(pairs, as_json)
    async with context.store(must_exist=False) as jp:
        parents = [await context.job_id(jp, parent) for parent in depends_on]
        handle = await jp.submit_job(
            function,
            args=tuple(map(from_json, args)),
            kwargs={name: from_json(value) for name, value in kwargs.items()},
            job_id=job_id,
            group=group,
            queue=queue,
            priority=priority,
            delay=None if delay is None else parse_seconds(delay),
            depends_on=parents,
            max_retries=max_retries,
            timeout=None if timeout is None else parse_seconds(timeout),
        )
        if not wait:
            if context.out.json:
                context.out.data(job_item(await jp.get_job(handle)))
            else:
                context.out.text(handle.id)
                if not any(worker.alive for worker in await jp.workers()):
                    start = context.start_hint([(await jp.get_job(handle)).func])
                    context.out.warn("no worker is alive: it waits", start)
            return
        context.when_interrupted = f"the job goes on: asyncjobs jobs watch {shlex.quote(handle.id)}"
        await context.warn_if_nobody_works(jp)
        try:
            context.out.value(await handle.result())
        except JobNotCompletedError as error:
            raise Failure(str(error.args[0]), exit_code=FAILED, hint=render_hint(error), code=error.code) from None


def _arguments(pairs: Sequence[str], as_json: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if as_json is not None:
        try:
            value = json.decode(as_json)
        except ValueError as error:
            raise _lone_surrogate("--args", as_json) or Failure(
                f"--args is not JSON: {error}", exit_code=USAGE
            ) from None
        if isinstance(value, list):
            args = tuple(cast("list[Any]", value))
        elif isinstance(value, dict):
            kwargs = cast("dict[str, Any]", value)
        else:
            raise Failure("--args is a list or an object", exit_code=USAGE)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise Failure(f"--arg {pair!r} is not NAME=VALUE", exit_code=USAGE)
        try:
            kwargs[name] = json.decode(text)
        except ValueError:
            if refused := _lone_surrogate(f"--arg {name}", text):
                raise refused from None
            kwargs[name] = text
    return args, kwargs


def _lone_surrogate(option: str, text: str) -> Failure | None:
    where = find_lone_surrogate(text)
    if where is None:
        try:
            text.encode()
        except UnicodeEncodeError as error:  # of the command line itself: bytes that are no UTF-8
            return Failure(
                f"{option} is no UTF-8 at character {error.start}", exit_code=USAGE, hint="is the locale UTF-8?"
            )
        return None
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return Failure(
        f"{option}: {path} has a lone surrogate (half of a pair such as \\ud83d\\ude00), which is no text",
        exit_code=USAGE,
        hint=NO_SURROGATES,
    )


_FILTERS = (
    click.option("--group", help="All of a group."),
    click.option("--function", help="All of a function, as module:name."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask."),
)


def _filtered(function: Any) -> Any:
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@click.command()
@click.argument("ids", nargs=-1, metavar="[JOB]…")
@click.option("--descendants", is_flag=True, help="Also the jobs that were submitted from inside.")
@_filtered
@command
async def cancel(
    context: Context, ids: tuple[str, ...], descendants: bool, group: str | None, function: str | None, yes: bool
) -> None:
    """Cancel jobs: pending ones never run, running ones are asked to stop."""
    async with context.store() as jp:
        if group or function:
            query = JobQuery(group=group, function=function, status=[JobStatus.PENDING, JobStatus.IN_PROGRESS])
            await _confirm(context, jp, query, "cancel", yes=yes)
            statuses = await jp.cancel_jobs(query)
        else:
            statuses = {}
            for job_id in await _ids(context, jp, ids):
                statuses[job_id] = await jp.cancel_job(job_id, descendants=descendants)
    _report_statuses(
        context,
        statuses,
        {JobStatus.CANCELLED: "cancelled", JobStatus.IN_PROGRESS: "asked to stop"},
        "only pending and running jobs can be cancelled",
    )


@click.command()
@click.argument("ids", nargs=-1, metavar="[JOB]…")
@click.option("--failed", is_flag=True, help="All that failed (of the group or function).")
@_filtered
@command
async def retry(
    context: Context, ids: tuple[str, ...], failed: bool, group: str | None, function: str | None, yes: bool
) -> None:
    """Run failed or cancelled jobs again; what was skipped because of them waits for them again."""
    async with context.store() as jp:
        if failed or group or function:
            query = JobQuery(group=group, function=function, status=JobStatus.FAILED)
            await _confirm(context, jp, query, "retry", yes=yes)
            wanted = [job.id for job in await find(jp, query, 100_000)]
        else:
            wanted = await _ids(context, jp, ids)
        statuses: dict[str, JobStatus] = {}
        for job_id in wanted:
            try:
                statuses[job_id] = await jp.retry_job(job_id)
            except JobStateError as error:
                if len(wanted) == 1:
                    raise
                context.out.warn(str(error.args[0]))
    _report_statuses(context, statuses, dict.fromkeys(JobStatus, "pending again"), "")


@click.command("rm")
@click.argument("ids", nargs=-1, metavar="[JOB]…")
@click.option("--older", metavar="DURATION", help="All that ended longer ago: 30d.")
@click.option("--group", help="All of a group.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@command
async def remove(context: Context, ids: tuple[str, ...], older: str | None, group: str | None, yes: bool) -> None:
    """Remove ended jobs with their results and events. What belongs together goes together, or not at all."""
    async with context.store() as jp:
        if older is not None:
            if ids or group:
                raise Failure("--older stands alone", exit_code=USAGE)
            before = datetime.now(UTC) - timedelta(seconds=parse_seconds(older))
            _sure(context, f"remove everything that ended more than {older} ago", yes=yes)
            removed = 0
            while part := await jp.backend.prune(from_datetime(before), 1_000_000):
                removed += part
            context.out.good(f"{count(removed, 'job')} removed")
            return
        if group:
            wanted = [job.id for job in await find(jp, JobQuery(group=group), 100_000)]
            _sure(context, f"remove {count(len(wanted), 'job')}", yes=yes)
        else:
            wanted = await _ids(context, jp, ids)
        gone = await jp.remove_jobs(wanted)
    context.out.good(f"{count(len(gone), 'job')} removed")


async def _ids(context: Context, jp: JobProcessor, ids: Sequence[str]) -> list[str]:
    if not ids:
        raise Failure("name a job", exit_code=USAGE, hint="asyncjobs jobs list shows what there is")
    return [await context.job_id(jp, job_id) for job_id in ids]


async def _confirm(context: Context, jp: JobProcessor, query: JobQuery, what: str, *, yes: bool) -> None:
    found = await find(jp, query, 100_000)
    if not found:
        raise Failure(f"no job to {what}", exit_code=NOT_FOUND)
    _sure(context, f"{what} {count(len(found), 'job')}", yes=yes)


def _sure(context: Context, what: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"to {what}, say --yes", exit_code=USAGE, hint="nobody is there to be asked")
    click.confirm(f"{what[:1].upper()}{what[1:]}?", abort=True, err=True)


def _report_statuses(
    context: Context, statuses: dict[str, JobStatus], words: dict[JobStatus, str], refusal: str
) -> None:
    out = context.out
    if out.json:
        out.data({"items": [{"id": job_id, "status": status} for job_id, status in statuses.items()]})
    refused = {job_id: status for job_id, status in statuses.items() if status not in words}
    if not out.json:
        for status, word in words.items():
            ids = [job_id for job_id, found in statuses.items() if found is status]
            if ids:
                out.good(f"{printable(ids[0])} {word}" if len(ids) == 1 else f"{len(ids)} jobs {word}")
    if refused:
        job_id, status = next(iter(refused.items()))
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise Failure(f"{printable(job_id)} is already {status}{more}; {refusal}", exit_code=REFUSED)
