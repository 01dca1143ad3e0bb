"""``asyncjobs doctor``: diagnose problems and suggest fixes."""

from __future__ import annotations

import shlex
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import click
from msgspec import Struct, to_builtins

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.unreadable import PREFIX
from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import FAILED, Failure
from asyncjobs.cli.serving import given_token
from asyncjobs.cli.stores import ChosenStore, shown
from asyncjobs.exceptions import JobProcessorError, MissingExtraError
from asyncjobs.host import find_openers, this_process
from asyncjobs.models import JobStatus, WorkerInfo
from asyncjobs.paging import take_jobs
from asyncjobs.plurals import counted
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobQuery
from asyncjobs.settings import WEB_TOKEN
from asyncjobs.versions import own_version

_SOUND_SQLITE = (3, 51, 3)
"""The first version without the bug of resetting the write-ahead log."""
_REPAIRED_SQLITE = ((3, 50, 7),)
"""The first versions of older branches that have the repair, too."""
_SLOW_FIRST_BYTE = 2.0
_CLOCK_OFF = 5.0
_LOOKED_AT = 20_000
"""The newest jobs, which are searched for unreadable ones."""
_SHOWN = 5
_MOST_READY = 1000


class Finding(Struct, frozen=True):
    """The result of one check."""

    level: Literal["ok", "warning", "error"]
    what: str
    mend: str | None = None


@click.command()
@click.option(
    "--url",
    help="Also check the HTTP interface at this URL: does a proxy buffer its events? With ASYNCJOBS_WEB_TOKEN in the "
    "environment, the request presents this token.",
)
@command
async def doctor(context: Context, url: str | None) -> None:
    """Check the installation, the configuration, the store and its daemons. Exit code 1 if something is wrong."""
    found: list[Finding] = []
    async for finding in _examine(context, url):
        found.append(finding)
        if not context.out.json:
            _show(context, finding)
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    if context.out.json:
        context.out.data({"schema": 1, "findings": to_builtins(found), "errors": errors, "warnings": warnings})
    else:
        context.out.text(
            f"{counted(errors, 'error')}, {counted(warnings, 'warning')}" if errors or warnings else "all is well"
        )
    if errors:
        raise SystemExit(FAILED)


def _show(context: Context, finding: Finding) -> None:
    out = context.out
    glyph, ascii, colour = {"ok": ("✔", "+", "green"), "warning": ("⚠", "!", "yellow"), "error": ("✖", "x", "red")}[
        finding.level
    ]
    out.text(f"{out.style(out.glyph(glyph, ascii), colour)} {out.hint(finding.what)}")
    if finding.mend:
        out.text(f"  {out.glyph('→', '->')} {out.hint(finding.mend)}")


async def _examine(context: Context, url: str | None) -> AsyncGenerator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", f"Python {python}, asyncjobs {own_version()}, SQLite {sqlite3.sqlite_version}")
    try:
        settings, chosen = context.settings, context.chosen_store
    except Failure as failure:
        yield Finding("error", failure.message, failure.hint)
        return
    yield Finding("ok", f"configuration: {shown(settings.file) if settings.file else 'no file, defaults'}")
    if chosen.missing:
        async for finding in _missing_store(chosen):
            yield finding
        return
    async for finding in _existing_store(context, chosen):
        yield finding
    if url is not None:
        yield await _stream(url)


async def _missing_store(chosen: ChosenStore) -> AsyncGenerator[Finding]:
    async for finding in _checkup(chosen.backend(), chosen):
        yield finding
    yield Finding("warning", f"there is no store at {chosen.shown} yet", "submit a job, or start a daemon")


async def _existing_store(context: Context, chosen: ChosenStore) -> AsyncGenerator[Finding]:
    opened = False
    try:
        async with context.store() as jp:
            opened = True
            async for finding in _store(context, jp, chosen):
                yield finding
    except (JobProcessorError, Failure) as error:
        if not opened:
            async for finding in _checkup(chosen.backend(), chosen):
                yield finding
        yield Finding("error", f"the store cannot be opened: {error.args[0] if error.args else error}", error.hint)


async def _checkup(backend: JobBackend, chosen: ChosenStore) -> AsyncGenerator[Finding]:
    """Yield what the store, which may not be open, finds in itself; its path is relative to the working directory."""
    for found in await backend.checkup():
        yield Finding(found.level, found.text.replace(chosen.where, chosen.shown), found.mend)


async def _store(context: Context, jp: JobProcessor, chosen: ChosenStore) -> AsyncGenerator[Finding]:
    async for finding in _checkup(jp.backend, chosen):
        yield finding
    workers = await jp.workers()
    alive = [worker for worker in workers if worker.alive]
    start = await context.start_hint_for(jp)
    counts = await jp.backend.count_jobs()
    ready = len(await jp.backend.get_ready_jobs(limit=_MOST_READY))
    for finding in (
        *_dead_workers(workers, None if alive else start),
        *(() if chosen.file is None else _shared_file(alive, chosen.file)),
        *_waiting_jobs(alive, counts, ready, start),
        *_refused_functions(alive),
        *_failed_jobs(counts),
    ):
        yield finding
    async for finding in _unreadable(jp):
        yield finding
    newest = await jp.find_jobs()
    ahead = max((job.created_at.timestamp() - time.time() for job in newest), default=0.0)
    if ahead > _CLOCK_OFF:
        why = "the clock of this host is slow" if chosen.file is None else "the clock was set back"
        yield Finding("warning", f"jobs were created {ahead:.0f} s in the future: {why}", "check NTP")


def _dead_workers(workers: Sequence[WorkerInfo], start: str | None) -> Iterator[Finding]:
    for worker in workers:
        if worker.name.startswith(PREFIX):
            yield Finding(
                "warning",
                f"the row of worker {worker.id} is {worker.name}",
                "if it lives, restart its program; if not, its jobs are pending again once its lease has expired",
            )
        if not worker.alive and worker.running:
            yield Finding(
                "error",
                f"worker gone: {worker.name} is dead and has {counted(worker.running, 'job')}; they are pending again "
                "within two leases",
                start,
            )


def _shared_file(alive: Sequence[WorkerInfo], file: Path) -> Iterator[Finding]:
    """Warn where this command is not the only process that has the file open, and SQLite is an older one."""
    own = this_process()
    # Workers may be in other containers; programs that only submit jobs, or serve HTTP, are no workers.
    here = {(own.host, pid) for pid in {own.pid, *find_openers(file)}}
    processes = here | {(worker.host, worker.pid) for worker in alive}
    if len(processes) > 1 and not _is_sound(sqlite3.sqlite_version_info):
        version = ".".join(map(str, _SOUND_SQLITE))
        yield Finding(
            "warning",
            f"{len(processes)} processes, of which this command is one, share the file, and SQLite "
            f"{sqlite3.sqlite_version} is older than {version}: very rarely, two that write back the write-ahead log "
            "at the same moment could damage it",
            f"use a Python with SQLite {version} or newer for all of them, and keep backups until then",
        )


def _is_sound(version: tuple[int, ...]) -> bool:
    repaired = any(version[:2] == first[:2] and version >= first for first in _REPAIRED_SQLITE)
    return repaired or version >= _SOUND_SQLITE


def _waiting_jobs(
    alive: Sequence[WorkerInfo], counts: Mapping[JobStatus, int], ready: int, start: str
) -> Iterator[Finding]:
    left = counts.get(JobStatus.PENDING, 0) + counts.get(JobStatus.IN_PROGRESS, 0)
    if left and not alive:
        number = f"{_MOST_READY:,} or more jobs are" if ready == _MOST_READY else _jobs_are(ready)
        what = f"{number} ready" if ready else f"{counted(left, 'job')} not ended yet"
        yield Finding("error", f"no worker is alive, and {what}", start)
    elif alive:
        slots = sum(worker.slots for worker in alive)
        living = f"{counted(len(alive), 'worker is', 'workers are')} alive"
        yield Finding("ok", f"{living}, with {counted(slots, 'slot')}; {_jobs_are(ready)} ready")


def _jobs_are(number: int) -> str:
    return counted(number, "job is", "jobs are")


def _refused_functions(alive: Sequence[WorkerInfo]) -> Iterator[Finding]:
    refused = {name: reason for worker in alive for name, reason in worker.refused.items()}
    for name, reason in list(refused.items())[:_SHOWN]:
        yield Finding(
            "warning",
            f"jobs of {name} are not run: {reason}",
            "start the daemon with --allow and the module's name",
        )


def _failed_jobs(counts: Mapping[JobStatus, int]) -> Iterator[Finding]:
    failed = counts.get(JobStatus.FAILED, 0)
    if failed:
        yield Finding("ok", f"{counted(failed, 'job')} failed: asyncjobs jobs list --status failed")


async def _unreadable(jp: JobProcessor) -> AsyncGenerator[Finding]:
    """Yield the rows that cannot be read, among the newest."""
    newest, _ = await take_jobs(jp.find_jobs, JobQuery(order="newest", limit=1000), _LOOKED_AT)
    unreadable = [job for job in newest if job.unreadable is not None]
    for job in unreadable[:_SHOWN]:
        yield Finding("warning", f"job {job.id}: {job.unreadable}", f"asyncjobs jobs show {shlex.quote(job.id)}")
    if len(unreadable) > _SHOWN:
        more = len(unreadable) - _SHOWN
        yield Finding("warning", f"{more} more of the newest {len(newest):,} jobs cannot be read")


async def _stream(url: str) -> Finding:
    try:
        import httpx
    except ModuleNotFoundError:
        return Finding(
            "warning", "the HTTP interface was not checked", MissingExtraError("client", what="checking it").hint
        )
    target = f"{url.rstrip('/')}/v1/events?after=0"
    try:
        token = given_token()
    except Failure as failure:
        return Finding("error", failure.message, failure.hint)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    began = time.monotonic()
    try:
        async with httpx.AsyncClient(timeout=15) as client, client.stream("GET", target, headers=headers) as response:
            if response.status_code != 200:
                mend = _mend_answer(response.status_code, has_token=token is not None)
                return Finding("error", f"{target} answers {response.status_code}", mend)
            async for _ in response.aiter_bytes():
                break
    except httpx.HTTPError as error:
        return Finding(
            "error", f"{target}: {type(error).__name__}", "check that the server is running and the address is right"
        )
    took = time.monotonic() - began
    if took > _SLOW_FIRST_BYTE:
        return Finding(
            "warning",
            f"{url}: the first bytes took {took:.1f} s; a proxy buffers them",
            "nginx: proxy_buffering off",
        )
    return Finding("ok", f"{url}: events arrive immediately ({1000 * took:.0f} ms)")


def _mend_answer(status: int, *, has_token: bool) -> str:
    """Return what to do about a status of the HTTP interface that is not 200."""
    if status == 401:
        unknown, needed = f"{WEB_TOKEN} has a token that is unknown there", f"set {WEB_TOKEN} to a token of its auth="
        return unknown if has_token else needed
    return "check auth= and the mount path"
