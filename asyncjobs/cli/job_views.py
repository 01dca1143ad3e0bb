"""``asyncjobs jobs list|show|result|logs|watch``: the commands that show jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from asyncjobs.backends.base import StoredCall
from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import FAILED, REFUSED, TIMED_OUT, USAGE, Failure
from asyncjobs.cli.gate_views import HEADS, find_gates, gate_lines, gate_row
from asyncjobs.cli.hints import render_hint, retry_command
from asyncjobs.cli.job_selection import find_page, parse_metadata, parse_seconds
from asyncjobs.cli.json_shapes import error_item, event_item, job_item
from asyncjobs.cli.live_board import follow
from asyncjobs.cli.output import Output, age, printable, seconds
from asyncjobs.cli.redaction import (
    redacted,
    redacted_attempt,
    redacted_call,
    redacted_event,
    redacted_gate,
    redacted_job,
    redacted_text,
)
from asyncjobs.cli.run_views import RunView, read_run, run_lines
from asyncjobs.cli.step_views import ShownStep, read_shown_steps, step_line
from asyncjobs.core.codec import decode_call
from asyncjobs.core.gates import FUNCTION
from asyncjobs.core.lifecycle import WORKER_LOST
from asyncjobs.error_texts import shown as shown_text
from asyncjobs.exceptions import CorruptValueError, JobNotCompletedError, JobSkippedError, JobStateError
from asyncjobs.models import Attempt, Job, JobStatus, Reason
from asyncjobs.plurals import counted
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.step_summary import StepSummary, summarize_steps

_MOST = 100_000
_STATUS = click.Choice([status.value for status in JobStatus])
_HEADS = ("id", "name", "status", "try", "age", "time", "error")


@click.command("list")
@click.option("--status", "statuses", type=_STATUS, multiple=True, help="Jobs with this status. Repeatable.")
@click.option("--group", help="Jobs of this group.")
@click.option("--queue", help="Jobs of this queue.")
@click.option("--function", help="Jobs of this function, as module:name.")
@click.option(
    "--metadata",
    "fields",
    metavar="KEY=VALUE",
    multiple=True,
    help='Jobs with this metadata. Repeatable: all must match. n=3 finds 3 and "3".',
)
@click.option("--open-gates", is_flag=True, help="Jobs that wait for an answer: open gates, and jobs parked on one.")
@click.option("--oldest", is_flag=True, help="Oldest first.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, _MOST), default=50, show_default=True, help="Maximum number of jobs."
)
@click.option("--cursor", help="Continue a listing: `next` of its JSON.")
@command
async def list_(
    context: Context,
    statuses: tuple[str, ...],
    group: str | None,
    queue: str | None,
    function: str | None,
    fields: tuple[str, ...],
    open_gates: bool,
    oldest: bool,
    limit: int,
    cursor: str | None,
) -> None:
    """List jobs, newest first. JSON has the cursor of the following ones as `next`, null after the last."""
    query = JobQuery(
        status=[JobStatus(status) for status in statuses] or None,
        group=group,
        queue=queue,
        function=function,
        waits_for="answer" if open_gates else None,
        metadata=parse_metadata(fields),
        order="oldest" if oldest else "newest",
        cursor=cursor,
    )
    async with context.store() as jp:
        found = await find_page(jp, query, limit)
        jobs = [redacted_job(context, job) for job in found]
        gates = await find_gates(jp, found) if open_gates else {}
        gates = {job_id: redacted_gate(context, gate) for job_id, gate in gates.items()}
    out = context.out
    items = [job_item(job) for job in jobs]
    if open_gates:
        out.table(HEADS, [gate_row(job, gates) for job in jobs], items, found.next)
    else:
        out.table(_HEADS, [_row(out, job) for job in jobs], items, found.next)
    if not out.json:
        failed = sum(job.status is JobStatus.FAILED for job in found)
        # No command retries only the failed jobs of a queue, or with some metadata.
        all_failed = failed and not queue and not fields
        mend = f" · retry the failed: {retry_command(group=group, function=function)}" if all_failed else ""
        more = f" (more: -n {limit * 10})" if found.next is not None and limit <= _MOST // 10 else ""
        out.note(f"{counted(len(found), 'job')}{more}{mend}")


def _row(out: Output, job: Job) -> Sequence[str]:
    return (
        printable(job.id),
        printable(job.func.rpartition(":")[2]),
        out.status(job.status),
        tries(job),
        age(job.created_at),
        _elapsed(job),
        _error(job),
    )


def tries(job: Job) -> str:
    """Return the current try of a job, or the number of used tries, out of those that its retry policy allows: ``2/4``.

    Interruptions, releases, and attempts before a manual retry use no tries. They count as attempts, whose number
    follows if it differs: ``2/4 #5``.
    """
    if job.gate is not None:
        return ""  # it is answered, and not tried
    lost = job.error is not None and job.error.error_type == WORKER_LOST
    at_one = job.status in (JobStatus.IN_PROGRESS, JobStatus.COMPLETED) or (job.status is JobStatus.FAILED and lost)
    at = job.failures + at_one
    number = f" #{job.attempt}" if job.attempt != at else ""
    return f"{at}/{job.max_retries + 1}{number}"


def _elapsed(job: Job) -> str:
    if job.status is JobStatus.IN_PROGRESS:
        return age(job.started_at)
    return seconds(job.elapsed)


def _error(job: Job) -> str:
    if job.unreadable is not None:
        return printable(job.unreadable)
    return _own_error(job)


def _own_error(job: Job) -> str:
    if job.error is None:
        return f"because of {printable(job.because)}" if job.because else ""
    return printable(f"{job.error.error_type}: {job.error.message}")


@click.command()
@click.argument("job")
@click.option("--steps", "with_steps", is_flag=True, help="Also show the values that it has kept.")
@command
async def show(context: Context, job: str, with_steps: bool) -> None:
    """Show a job: dependencies, dependents, attempts, error, kept steps, and why it is not running."""
    async with context.store() as jp:
        job_id = await context.job_id(jp, job)
        details = await _read_details(context, jp, job_id)
        if with_steps:
            details = replace(details, shown_steps=await read_shown_steps(context, jp.backend, job_id))
    if context.out.json:
        context.out.data(_details_item(details))
    else:
        _show_details(context, details)


class _Details(Struct, frozen=True):
    """The data that ``jobs show`` prints. ``near`` has the parents and children of the job by id."""

    job: Job
    attempts: Sequence[Attempt]
    reason: Reason
    needs: list[str]
    blocks: list[str]
    near: dict[str, Job]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    unreadable: str | None
    steps: StepSummary
    run: RunView | None = None
    shown_steps: list[ShownStep] | None = None

    @property
    def gone(self) -> bool:
        """Return whether the worker that holds the job is dead."""
        return self.reason.code == "worker_gone"


async def _read_details(context: Context, jp: JobProcessor, job_id: str) -> _Details:
    job = await jp.get_job(job_id)
    attempts = [redacted_attempt(context, attempt) for attempt in await jp.get_attempts(job_id)]
    reason = await _shown_reason(context, jp, await jp.why(job_id))
    needs = [edge.parent_id for edge in await jp.backend.get_dependencies([job_id])]
    blocks = [edge.child_id for edge in await jp.backend.get_dependent_jobs([job_id])]
    near = {other.id: other for other in await jp.backend.get_jobs(needs + blocks)}
    args, kwargs, unreadable = _arguments(await jp.backend.get_call(job_id))
    args, kwargs = redacted_call(context, job.func, args, kwargs)
    steps = await summarize_steps(jp.backend, job_id)
    run = await read_run(context, jp, job)
    job = redacted_job(context, job)
    return _Details(job, attempts, reason, needs, blocks, near, args, kwargs, unreadable, steps, run)


async def _shown_reason(context: Context, jp: JobProcessor, reason: Reason) -> Reason:
    """Return a reason whose sentence has only what may be shown of a question."""
    asked = await jp.backend.get_job(reason.details["gate"]) if reason.code == "answer" else None
    if asked is None or asked.gate is None:
        return reason
    question = redacted_gate(context, asked.gate).question
    return replace(reason, sentence=reason.sentence.replace(shown_text(asked.gate.question), shown_text(question)))


def _details_item(details: _Details) -> dict[str, Any]:
    steps: dict[str, Any] = {"count": details.steps.count, "keys": details.steps.keys}
    if details.shown_steps is not None:
        steps["items"] = details.shown_steps
    run = {} if details.run is None else {"run": details.run}
    return job_item(details.job) | {
        "why": {"code": details.reason.code, "sentence": details.reason.sentence, "details": details.reason.details},
        "needs": details.needs,
        "blocks": details.blocks,
        "attempts": [_attempt_item(attempt) for attempt in details.attempts],
        "args": details.unreadable or repr(details.args),
        "kwargs": details.unreadable or repr(details.kwargs),
        "steps": steps,
        **run,
    }


def _show_details(context: Context, details: _Details) -> None:
    out, job = context.out, details.job
    group = f"  group {printable(job.group)}" if job.group else ""
    status = out.style(f"{out.glyph('✖', 'x')} worker gone", "red") if details.gone else out.status(job.status)
    out.text(f"{status}  {printable(job.id)}  {printable(job.func)}{group}")
    _show_neighbours(out, "needs", details.needs, details.near)
    _show_neighbours(out, "blocks", details.blocks, details.near)
    _show_reason(context, details)
    if job.progress is not None and job.progress.percent is not None:
        message = f"  {printable(job.progress.message)}" if job.progress.message else ""
        _field(out, "progress", f"{out.bar(job.progress.percent, 100)} {job.progress.percent:.0f} %{message}")
    if details.attempts:
        _field(out, "attempts", " · ".join(_attempt(attempt, details.gone) for attempt in details.attempts[-8:]))
    _show_error(out, job)
    if job.gate is not None:
        for name, text in gate_lines(out, job, job.gate):
            _field(out, name, text)
    else:
        _field(out, "args", printable(details.unreadable or _short(details.args, details.kwargs)))
    _show_steps(out, details)
    for name, text in () if details.run is None else run_lines(details.run):
        _field(out, name, text)
    elapsed = _elapsed(job)
    ran = f", ran {elapsed}" if elapsed else ""
    _field(out, "times", f"submitted {age(job.created_at)} ago{ran}")


def _show_reason(context: Context, details: _Details) -> None:
    out, job = context.out, details.job
    if job.status in (JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.SKIPPED):
        _field(out, "why", _why(context, details))
    asked = details.reason.details.get("gate", job.id)
    if job.parked is not None:
        _field(out, "parked", f"on {printable(job.parked)}, until that has ended")
    elif asked != job.id:  # its body waits for this gate
        _field(out, "waits for", printable(asked))


def _show_steps(out: Output, details: _Details) -> None:
    count, keys = details.steps.count, details.steps.keys
    if not count:
        return
    more = " …" if count > 8 else ""
    _field(out, "steps", f"{count:,} kept: {', '.join(map(printable, keys[:8]))}{more}")
    for step in details.shown_steps or ():
        out.text(f"             {step_line(step)}")


def _show_neighbours(out: Output, label: str, ids: list[str], near: dict[str, Job]) -> None:
    if ids:
        more = " …" if len(ids) > 8 else ""
        _field(out, label, "  ".join(_named(out, near.get(job_id), job_id) for job_id in ids[:8]) + more)


def _why(context: Context, details: _Details) -> str:
    if details.reason.code == "no_worker":  # the sentence names calls of a program, not commands
        return context.out.hint(f"no worker is alive: {context.start_hint([details.job.func])}")
    return printable(details.reason.sentence)


def _show_error(out: Output, job: Job) -> None:
    if job.error is not None:
        _field(out, "error", _own_error(job))
        for line in (job.error.traceback_text or "").strip().splitlines()[-7:-1]:
            out.text(f"             {printable(line)}")
    if job.unreadable is not None:
        _field(out, "damage", printable(job.unreadable))


def _arguments(stored: StoredCall | None) -> tuple[tuple[Any, ...], dict[str, Any], str | None]:
    """Return the arguments of a job, and a note if they cannot be read. A gate has none."""
    if stored is None:
        return (), {}, "unreadable: call"
    if stored.function == FUNCTION:
        return (), {}, None
    try:
        return *decode_call(stored.call, lambda parent: f"<{parent}>"), None
    except CorruptValueError as error:
        return (), {}, f"unreadable: call ({error.args[0]})"


def _field(out: Output, name: str, text: str) -> None:
    out.text(f"  {name:9}  {text}")


def _named(out: Output, job: Job | None, job_id: str) -> str:
    return printable(job_id) if job is None else f"{out.mark(job.status)} {printable(job_id)}"


def _attempt(attempt: Attempt, gone: bool) -> str:
    if attempt.finished_at is None:
        return f"{attempt.attempt} {'worker gone' if gone else 'runs'}"
    took = seconds((attempt.finished_at - attempt.started_at).total_seconds())
    return f"{attempt.attempt} {attempt.outcome.value if attempt.outcome else ''} {took}".replace("  ", " ")


def _attempt_item(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "error": error_item(attempt.error),
    }


def _short(args: Any, kwargs: Any) -> str:
    text = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
    return text if len(text) <= 300 else text[:299] + "…"


@click.command()
@click.argument("job")
@click.option("--wait", is_flag=True, help="Wait for the result.")
@click.option("--timeout", help="Maximum time to wait: 30s, 5m.")
@command
async def result(context: Context, job: str, wait: bool, timeout: str | None) -> None:
    """Print the result of a job as JSON."""
    async with context.store() as jp:
        job_id = await context.job_id(jp, job)
        if wait or timeout:
            await context.warn_if_nobody_works(jp)
            await jp.wait_for_job(job_id, timeout=parse_seconds(timeout))
        try:
            value = await jp.get_result(job_id)
        except JobNotCompletedError as error:
            problem = redacted_text(context, str(error.args[0]))
            if isinstance(error, JobSkippedError):
                sentence = (await jp.why(job_id)).sentence.removeprefix("it ")
                problem = printable(f"job {job_id!r} {sentence}")
            raise Failure(problem, exit_code=FAILED, hint=render_hint(error), code=error.code) from None
        except JobStateError as error:
            raise Failure(str(error.args[0]), exit_code=REFUSED, hint="--wait waits for it", code=error.code) from None
    context.out.data(redacted(context, "result", value))


@click.command()
@click.argument("job")
@click.option("-f", "--follow", "live", is_flag=True, help="Follow until the job ends.")
@command
async def logs(context: Context, job: str, live: bool) -> None:
    """Print the log records and the output of a job."""
    out = context.out
    async with context.store() as jp:
        job_id = await context.job_id(jp, job)
        async with jp.streamer.reader(job_id=job_id, types="log") as reader:
            while True:
                batch = await reader.next(None if live else 0)
                for stored in batch.events:
                    event = redacted_event(context, stored)
                    if out.json:
                        out.data(event_item(event))
                    else:
                        level = str(event.data.get("level", "info")).upper()
                        message = printable(str(event.data.get("message", "")))
                        out.text(f"{event.at.astimezone():%H:%M:%S} {level:7} #{event.attempt} {message}")
                if batch.ended or (not live and reader.live):
                    return


@click.command()
@click.argument("job", required=False)
@click.option("--group", help="All jobs of this group.")
@click.option("--timeout", help="Maximum time to watch: 30s, 5m.")
@command
async def watch(context: Context, job: str | None, group: str | None, timeout: str | None) -> None:
    """Watch a job or a group until it ends. The exit code is 1 if a job did not complete."""
    if (job is None) == (group is None):
        raise Failure("give a job id or --group", exit_code=USAGE, hint="asyncjobs jobs list shows the jobs")
    async with context.store() as jp:
        job_id = None if job is None else await context.job_id(jp, job)
        await context.warn_if_nobody_works(jp)
        ended = await follow(context, jp, job_id=job_id, group=group, timeout=parse_seconds(timeout))
        if not ended:
            raise Failure(f"did not end within {timeout}", exit_code=TIMED_OUT, hint="the jobs continue")
        statuses = (
            {(await jp.get_job(job_id)).status}
            if job_id is not None
            else set((await jp.get_progress(group or "")).counts)
        )
    if statuses - {JobStatus.COMPLETED}:
        raise SystemExit(FAILED)
