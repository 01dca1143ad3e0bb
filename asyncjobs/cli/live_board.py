"""Watch jobs live: a table that redraws itself on a terminal (with rich), lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from asyncjobs.cli.context import Context
from asyncjobs.cli.json_shapes import event_item
from asyncjobs.cli.output import Output, printable
from asyncjobs.cli.redaction import redacted_event
from asyncjobs.models import Job, JobEvent, JobStatus
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.events.reader import EventReader

_SHOWN = 8
_DETAIL = 60


async def follow(
    context: Context, jp: JobProcessor, *, job_id: str | None, group: str | None, timeout: float | None
) -> bool:
    """Show events until the job or group has ended. Return False if that takes longer than ``timeout`` seconds."""
    out = context.out
    async with jp.streamer.reader(job_id=job_id, group=group) as reader:
        with anyio.move_on_after(timeout):
            if out.json or not out.tty or job_id is not None:
                await _lines(context, reader)
            else:
                board = Board(await _all(jp, group))
                await _draw(context, reader, board)
            return True
    return False


async def _lines(context: Context, reader: EventReader) -> None:
    out = context.out
    while True:
        batch = await reader.next()
        for stored in batch.events:
            event = redacted_event(context, stored)
            if out.json:
                out.data(event_item(event))
            else:
                out.text(event_line(out, event))
        if batch.ended:
            return


async def _all(jp: JobProcessor, group: str | None) -> list[Job]:
    return [job async for job in jp.iter_jobs(JobQuery(group=group, limit=1000))]


def event_line(out: Output, event: JobEvent) -> str:
    """Return a line for an event: ``10482 02:22:09.123 ▶ panel_7  started  attempt 2``."""
    glyph = out.mark(event.status) if event.status is not None else out.glyph("·", ".")
    at = event.at.astimezone()
    text = printable(_describe(event))
    attempt = f"#{event.attempt}" if event.attempt else ""
    moment = f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
    return f"{event.cursor:>6} {moment} {glyph} {printable(event.job_id)}  {event.type:9} {attempt} {text}".rstrip()


def _describe(event: JobEvent) -> str:
    data = event.data
    match event.type:
        case "progress":
            total, message = data.get("total"), data.get("message") or ""
            share = f"{100 * data.get('done', 0) / total:.0f} %" if total else f"{data.get('done', 0)}"
            return f"{share} {message}"
        case "log":
            return f"{str(data.get('level', '')).upper()} {data.get('message', '')}"
        case _:
            error = data.get("error_type") or data.get("error")
            if error:
                return f"{error}: {data.get('message', '')}" if "message" in data else str(error)
            return ", ".join(f"{name}={value!r}" for name, value in data.items())[:200]


class Board:
    """The state of a live view of a group: counts per function, running jobs, latest errors."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.status: dict[str, JobStatus] = {job.id: job.status for job in jobs}
        self.name: dict[str, str] = {job.id: job.func.rpartition(":")[2] for job in jobs}
        self.detail: dict[str, str] = {}
        self.attempt: dict[str, int] = {}

    def apply(self, event: JobEvent) -> None:
        """Apply an event; the job may be new, because groups grow."""
        job_id = event.job_id
        if event.status is not None:
            self.status[job_id] = event.status
        self.attempt[job_id] = event.attempt
        self.name.setdefault(job_id, "…")
        if event.type in ("progress", "retrying", "failed"):
            self.detail[job_id] = printable(_describe(event))[:_DETAIL]

    def by_name(self) -> dict[str, Counter[JobStatus]]:
        """Return the counts by status of each function, in the order of its first job."""
        rows: dict[str, Counter[JobStatus]] = {}
        for job_id, status in self.status.items():
            rows.setdefault(self.name[job_id], Counter())[status] += 1
        return rows

    def running(self) -> list[str]:
        """Return the ids of running jobs, the longest running first."""
        return [job_id for job_id, status in self.status.items() if status is JobStatus.IN_PROGRESS]


def board_lines(out: Output, board: Board) -> list[str]:
    """Return the lines of a board."""
    lines: list[str] = []
    rows = board.by_name()
    width = max((len(name) for name in rows), default=4)
    for name, counts in rows.items():
        total, done = counts.total(), counts[JobStatus.COMPLETED]
        rest = "  ".join(
            f"{out.mark(status)} {counts[status]}"
            for status in (JobStatus.IN_PROGRESS, JobStatus.FAILED, JobStatus.SKIPPED, JobStatus.CANCELLED)
            if counts[status]
        )
        lines.append(f"  {name:{width}}  {out.bar(done, total)} {done:>4}/{total:<4}  {rest}".rstrip())
    for job_id in board.running()[:_SHOWN]:
        mark = out.mark(JobStatus.IN_PROGRESS)
        attempt = f"#{board.attempt[job_id]}" if job_id in board.attempt else ""
        lines.append(f"  {mark} {printable(job_id)} {attempt}  {board.detail.get(job_id, '')}".rstrip())
    return lines


async def _draw(context: Context, reader: EventReader, board: Board) -> None:
    out = context.out
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text
    except ModuleNotFoundError:
        await _print_now_and_then(context, reader, board)
        return
    console = Console(no_color=not out.colour)

    def shown() -> Any:
        return Text.from_ansi("\n".join(board_lines(out, board)))

    with Live(shown(), console=console, auto_refresh=False, transient=False) as live:
        while True:
            batch = await reader.next(1.0)
            for event in batch.events:
                board.apply(redacted_event(context, event))
            live.update(shown(), refresh=True)
            if batch.ended:
                return


async def _print_now_and_then(context: Context, reader: EventReader, board: Board) -> None:
    """Print the board each time another tenth of the jobs has ended (without rich)."""
    out = context.out
    shown = -1
    while True:
        batch = await reader.next()
        for event in batch.events:
            board.apply(redacted_event(context, event))
        done = sum(status.terminal for status in board.status.values())
        tenth = 10 * done // max(1, len(board.status))
        if tenth != shown or batch.ended:
            shown = tenth
            for line in board_lines(out, board):
                out.text(line)
        if batch.ended:
            return
