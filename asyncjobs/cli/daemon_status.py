"""``asyncjobs daemon status``: show whether a daemon runs, its jobs, and the last lines of its log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from msgspec import Struct

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.daemon_name import NAME, state_file
from asyncjobs.cli.failures import Failure
from asyncjobs.cli.output import printable, seconds
from asyncjobs.cli.state_files import DaemonState, Found, StateFile
from asyncjobs.cli.stores import shown
from asyncjobs.exceptions import BackendError, JobProcessorError
from asyncjobs.models import Job, JobStatus, WorkerInfo
from asyncjobs.observability.last_lines import read_last_lines
from asyncjobs.paging import take_jobs
from asyncjobs.plurals import counted
from asyncjobs.requests import JobQuery

_LISTED = 1000
"""Running jobs that are listed in JSON: one page."""
_SHOWN = 20
"""Running jobs that are listed for people; the others are counted."""
_NAMED = 5
"""Workers that are named where no state file is found."""


@click.command()
@click.option(
    "--check",
    is_flag=True,
    help="Print nothing to standard output; the exit code is the answer (for health checks).",
)
@NAME
@command
async def status(context: Context, check: bool, name: str) -> None:
    """Show the state of the daemon. Exit codes: 0 running, 1 dead but its state is left, 3 not running, 4 unknown."""
    file = state_file(context, name)
    found = file.look()
    code, word = _verdict(found)
    others = await find_others(context, file) if found is None else []
    if check:
        if others:
            context.out.warn(*report_others(file, others))
        raise SystemExit(code)
    state = found.state if found else None
    lines = [printable(line) for line in read_last_lines(file.last_lines)]
    if code or state is None:
        await _show_stopped(context, file, word, lines, others)
        raise SystemExit(code)
    live = await _look_at_store(context, state)
    if context.out.json:
        context.out.data(_item(state, live, word, lines))
    else:
        _show_running(context, state, live)
        _show_lines(context, lines)


class _Live(Struct, frozen=True):
    """The store's record of a running daemon. ``worker`` is None if it has no row."""

    counts: Mapping[JobStatus, int]
    worker: WorkerInfo | None
    running: Sequence[Job]
    more: bool


async def _look_at_store(context: Context, state: DaemonState) -> _Live:
    async with context.store() as jp:
        workers = {worker.id: worker for worker in await jp.workers()}
        most = _LISTED if context.out.json else _SHOWN
        query = JobQuery(status=JobStatus.IN_PROGRESS, worker_id=state.worker, limit=most)
        return _Live(
            await jp.backend.count_jobs(),
            workers.get(state.worker),
            *await take_jobs(jp.find_jobs, query, most),
        )


def _item(state: DaemonState, live: _Live, word: str, lines: list[str]) -> dict[str, Any]:
    return {
        "name": state.name,
        "status": word,
        "draining": state.draining,
        "pid": state.process.pid,
        "uptime": time.time() - state.started_at,
        "version": state.version,
        "store": state.store,
        "http": state.http,
        "worker": state.worker,
        "counts": {str(key): value for key, value in live.counts.items()},
        "running": [job.id for job in live.running],
        "log": lines,
    }


def _show_running(context: Context, state: DaemonState, live: _Live) -> None:
    out, worker = context.out, live.worker
    alive = "" if worker is None or worker.alive else "  its lease has expired"
    dot = out.style(out.glyph("●", "*"), "green")
    doing = "draining" if state.draining else "running"
    up = seconds(time.time() - state.started_at)
    out.text(f"{dot} {state.name}  {doing}  pid {state.process.pid} · up {up} · asyncjobs {state.version}{alive}")
    slots = f"{worker.running}/{worker.slots}" if worker else "?"
    numbers = "   ".join(f"{status} {live.counts.get(status, 0)}" for status in JobStatus)
    out.text(f"  slots {slots}   {numbers}")
    for job in live.running:
        out.text(f"  {out.status(job.status)} {printable(job.id)}  attempt {job.attempt}")
    more = 0 if worker is None else worker.running - len(live.running)
    if live.more and more > 0:
        out.text(f"  … and {more} more")


async def find_others(context: Context, file: StateFile) -> list[WorkerInfo]:
    """Return the live workers of the store that no daemon of this user is, to its knowledge; none if it cannot be read.

    They are daemons whose state files are elsewhere, or programs that run jobs themselves.
    """
    if context.chosen_store.missing:
        return []
    try:
        async with context.store() as jp:
            workers = await jp.workers()
    except (JobProcessorError, Failure):  # no state file is there, whatever the store has
        return []
    known = file.find_workers()
    return [worker for worker in workers if worker.alive and worker.id not in known]


def report_others(file: StateFile, others: Sequence[WorkerInfo]) -> tuple[str, str]:
    """Return what to report about live workers without a state file here, and what to do."""
    names = ", ".join(printable(worker.name) for worker in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    living = counted(len(others), "worker is", "workers are")
    return (
        f"{living} alive on this store all the same ({names}{more}): programs that run jobs themselves, or daemons "
        f"whose state files are not in {shown(file.path.parent)}",
        "ask as the user of the daemon, and with its XDG_STATE_HOME",
    )


async def _show_stopped(
    context: Context, file: StateFile, word: str, lines: list[str], others: Sequence[WorkerInfo]
) -> None:
    name = file.name
    if context.out.json:
        workers = [worker.name for worker in others]
        context.out.data({"name": name, "status": word, "draining": False, "log": lines, "other_workers": workers})
        return
    context.out.text(f"{context.out.glyph('○', 'o')} {name}  {word}")
    _show_lines(context, lines)
    if others:
        context.out.warn(*report_others(file, others))
    start = await _start_again(context, name)
    context.out.note(f"to start it:  {start}" if start.startswith("asyncjobs ") else start)


async def _start_again(context: Context, name: str) -> str:
    named = None if name == "default" else name
    if context.chosen_store.missing:
        return context.start_hint(name=named)
    try:
        async with context.store() as jp:
            waiting = await jp.find_jobs(JobQuery(order="newest", limit=100))
    except BackendError:  # whether the daemon runs is known without the store
        return context.start_hint(name=named)
    return context.start_hint((job.func for job in waiting), name=named)


def _show_lines(context: Context, lines: list[str]) -> None:
    for line in lines:
        context.out.text(f"  log  {line}")


def _verdict(found: Found | None) -> tuple[int, str]:
    """Return the exit code by the Linux Standard Base, and a word for it."""
    if found is None:
        return 3, "not running"
    if not found.running:
        return 1, "dead, its state is left"
    if found.state is None:
        return 4, "unknown: its state cannot be read"
    return (0, "running") if found.state.ready else (4, "starting")
