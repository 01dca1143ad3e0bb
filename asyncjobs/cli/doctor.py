"""``asyncjobs doctor``: what is wrong here, and how to mend it."""

from __future__ import annotations

import shlex
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

import click
from msgspec import Struct, to_builtins

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.select import make_backend
from asyncjobs.backends.unreadable import PREFIX
from asyncjobs.cli.context import Context, command, shown
from asyncjobs.cli.failures import FAILED, Failure
from asyncjobs.cli.job_selection import count
from asyncjobs.clock import SystemClock
from asyncjobs.exceptions import JobProcessorError, MissingExtraError
from asyncjobs.models import JobQuery, JobStatus
from asyncjobs.paging import take_jobs
from asyncjobs.processor import JobProcessor
from asyncjobs.versions import own_version

_SOUND_SQLITE = (3, 51, 3)
_SLOW_FIRST_BYTE = 2.0
_CLOCK_OFF = 5.0
_LOOKED_AT = 20_000
"""Jobs that are looked at for what cannot be read, the newest."""
_SHOWN = 5


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "error"]
    what: str
    mend: str | None = None


@click.command()
@click.option("--url", help="Also look at the HTTP interface there: does a proxy hold back its events?")
@command
async def doctor(context: Context, url: str | None) -> None:
    """Look at the installation, the configuration, the store and its daemons. Exit code 1 when something is wrong."""
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
            f"{count(errors, 'error')}, {count(warnings, 'warning')}" if errors or warnings else "all is well"
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
        settings, config = context.settings, context.sqlite
    except Failure as failure:
        yield Finding("error", failure.message, failure.hint)
        return
    yield Finding("ok", f"configuration: {shown(settings.file) if settings.file else 'no file, defaults'}")
    path = config.file
    unopened, _ = make_backend(config, None, SystemClock())
    if not path.exists():
        async for finding in _checkup(unopened, path):
            yield finding
        yield Finding("warning", f"there is no store at {shown(path)} yet", "submit a job, or start a daemon")
        return
    opened = False
    try:
        async with context.store() as jp:
            opened = True
            async for finding in _store(context, jp, path):
                yield finding
    except (JobProcessorError, Failure) as error:
        if not opened:
            async for finding in _checkup(unopened, path):
                yield finding
        yield Finding("error", f"the store cannot be opened: {error.args[0] if error.args else error}", error.hint)
    if url is not None:
        yield await _stream(url)


async def _checkup(backend: JobBackend, path: Path) -> AsyncGenerator[Finding]:
    """What the store finds in itself, with its path as a person would write it from here."""
    for found in await backend.checkup():
        yield Finding(found.level, found.text.replace(str(path), shown(path)), found.mend)


async def _store(context: Context, jp: JobProcessor, path: Path) -> AsyncGenerator[Finding]:
    async for finding in _checkup(jp.backend, path):
        yield finding
    known = await jp.workers()
    start = await context.start_hint_for(jp)
    workers = [worker for worker in known if worker.alive]
    for worker in known:
        if worker.name.startswith(PREFIX):
            yield Finding(
                "warning",
                f"the row of worker {worker.id} is {worker.name}",
                "if it lives, start its program again; if not, its jobs are pending again once its lease has run out",
            )
        if not worker.alive and worker.running:
            yield Finding(
                "error",
                f"worker gone: {worker.name} is dead and has {count(worker.running, 'job')}; they are pending again "
                "within two leases",
                None if workers else start,
            )
    processes = {(worker.host, worker.pid) for worker in workers}
    if len(processes) > 1 and sqlite3.sqlite_version_info < _SOUND_SQLITE:
        version = ".".join(map(str, _SOUND_SQLITE))
        yield Finding(
            "warning",
            f"{len(processes)} processes share the file, and SQLite {sqlite3.sqlite_version} is older than {version}: "
            "very rarely, two of them could damage the write-ahead log",
            f"a Python with SQLite {version} or newer",
        )
    counts = await jp.backend.count_jobs()
    ready = len(await jp.backend.get_ready_jobs(limit=1000))
    left = counts.get(JobStatus.PENDING, 0) + counts.get(JobStatus.IN_PROGRESS, 0)
    if left and not workers:
        more = "1,000 or more" if ready == 1000 else str(ready)
        what = (
            f"{more} {'job is' if ready == 1 else 'jobs are'} ready" if ready else f"{count(left, 'job')} not ended yet"
        )
        yield Finding("error", f"no worker is alive, and {what}", start)
    elif workers:
        slots = sum(worker.slots for worker in workers)
        alive = f"{count(len(workers), 'worker')} {'is' if len(workers) == 1 else 'are'} alive"
        waiting = f"{count(ready, 'job')} {'is' if ready == 1 else 'are'} ready"
        yield Finding("ok", f"{alive}, with {count(slots, 'slot')}; {waiting}")
    refused = {name: reason for worker in workers for name, reason in worker.refused.items()}
    for name, reason in list(refused.items())[:5]:
        yield Finding(
            "warning", f"jobs of {name} are left alone: {reason}", "start the daemon with --allow and the module's name"
        )
    failed = counts.get(JobStatus.FAILED, 0)
    if failed:
        yield Finding("ok", f"{count(failed, 'job')} failed: asyncjobs jobs list --status failed")
    async for finding in _unreadable(jp):
        yield finding
    newest = await jp.find_jobs()
    ahead = max((job.created_at.timestamp() - time.time() for job in newest), default=0.0)
    if ahead > _CLOCK_OFF:
        yield Finding("warning", f"jobs come from the future, by {ahead:.0f} s: the clock was set back", "look at NTP")


async def _unreadable(jp: JobProcessor) -> AsyncGenerator[Finding]:
    """Rows that cannot be read, among the newest."""
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
            "warning", "the HTTP interface was not looked at", MissingExtraError("client", what="looking at it").hint
        )
    target = f"{url.rstrip('/')}/v1/events?after=0"
    began = time.monotonic()
    try:
        async with httpx.AsyncClient(timeout=15) as client, client.stream("GET", target) as response:
            if response.status_code != 200:
                return Finding("error", f"{target} answers {response.status_code}", "look at auth= and the mount path")
            async for _ in response.aiter_bytes():
                break
    except httpx.HTTPError as error:
        return Finding("error", f"{target}: {type(error).__name__}", "is the server up, and the address right?")
    took = time.monotonic() - began
    if took > _SLOW_FIRST_BYTE:
        return Finding(
            "warning",
            f"{url}: the first bytes took {took:.1f} s; a proxy holds them back",
            "nginx: proxy_buffering off",
        )
    return Finding("ok", f"{url}: events come at once ({1000 * took:.0f} ms)")
