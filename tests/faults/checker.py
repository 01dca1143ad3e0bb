"""Three witnesses that do not trust each other, and what must hold between them.

Told: what clients were answered. Ran: the ledger, one line per start and end of a body. Stored: the tables and the
event log of the file. Each function returns the contradictions that it found, as sentences; none is good.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct, msgpack

from asyncjobs.backends.sqlite.numbers import LAST_EVENT
from asyncjobs.backends.sqlite.rows import STATUS_CODE
from asyncjobs.core.codec import decode_value
from asyncjobs.core.state import Role
from asyncjobs.models import EdgeState, JobStatus, WaitsFor

_STATUS = {code: status for status, code in STATUS_CODE.items()}
_ENDED_OTHERWISE = frozenset({JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.SKIPPED})


class JobRow(Struct, frozen=True):
    n: int
    id: str
    status: JobStatus
    attempt: int
    failures: int
    interruptions: int
    max_interruptions: int
    require: int | None
    because: str | None
    seq: int
    limit: str | None
    waits_for: int | None
    role: int | None = None
    parked: int | None = None

    @property
    def is_gate(self) -> bool:
        return self.role == Role.GATE


class EventRow(Struct, frozen=True):
    position: int
    job: int
    seq: int
    type: str
    attempt: int
    status: JobStatus | None
    data: dict[str, Any]


class Stored(Struct):
    """The file at one moment."""

    jobs: dict[int, JobRow]
    events: list[EventRow]
    edges: list[tuple[int, int, bool, EdgeState]]
    ended: dict[tuple[int, int], str]
    results: dict[int, bytes]
    limits: dict[str, int]
    counters: dict[str, int]
    integrity: str
    askers: dict[int, int] = {}
    """The job whose body asked, by the number of its gate."""

    @property
    def by_id(self) -> dict[str, JobRow]:
        return {job.id: job for job in self.jobs.values()}


class Line(Struct, frozen=True):
    """One line of the ledger. ``kind``: S a body starts, E ends, C got a child acknowledged, X saw a wrong value."""

    kind: str
    job_id: str
    attempt: int
    pid: int
    rest: tuple[str, ...]


def read_ledger(path: Path) -> list[Line]:
    if not path.exists():
        return []
    lines: list[Line] = []
    for text in path.read_text().splitlines():
        kind, job_id, attempt, pid, *rest = text.split(" ")
        lines.append(Line(kind, job_id, int(attempt), int(pid), tuple(rest)))
    return lines


def copy_of(path: Path, folder: Path) -> Path:
    """The file and its -wal as a killed process left them, copied, so that looking at them mends nothing."""
    copied = folder / "snapshot.db"
    for suffix in ("", "-wal", "-shm"):
        target = copied.with_name(copied.name + suffix)
        target.unlink(missing_ok=True)
        source = path.with_name(path.name + suffix)
        if suffix != "-shm" and source.exists():
            shutil.copyfile(source, target)
    return copied


def read_store(path: Path) -> Stored:
    """Read everything. In a process that has the file open, only ever a copy of it."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute
        names = {row[0] for row in rows("SELECT name FROM sqlite_master")}
        if "jobs" not in names:
            return Stored({}, [], [], {}, {}, {}, {"event": 0}, "ok")
        jobs = {
            n: JobRow(n, job_id, _STATUS[status], *rest)
            for n, job_id, status, *rest in rows(
                "SELECT n, id, status, attempt, failures, interruptions, max_interruptions, require, because, seq, "
                "limit_key, waits_for, role, parked FROM jobs"
            )
        }
        events = [
            EventRow(
                position,
                job,
                seq,
                kind,
                attempt,
                None if status is None else _STATUS[status],
                msgpack.decode(data) if data else {},
            )
            for position, job, seq, kind, attempt, status, data in rows(
                "SELECT position, job, seq, type, attempt, status, data FROM events ORDER BY position"
            )
        ]
        edges = [
            (parent, child, bool(optional), EdgeState(state))
            for parent, child, optional, state in rows("SELECT parent, child, optional, state FROM edges")
        ]
        ended = {(job, attempt): kind for job, attempt, kind in rows("SELECT job, attempt, kind FROM attempts")}
        results = dict(
            rows(
                "SELECT n, result FROM jobs WHERE result IS NOT NULL UNION ALL SELECT n, value FROM results_apart"
            ).fetchall()
        )
        limits = dict(rows("SELECT key, in_progress FROM limits").fetchall())
        counters = {"event": rows(f"SELECT {LAST_EVENT}").fetchone()[0]}
        integrity = rows("PRAGMA quick_check").fetchone()[0]
        askers = dict(rows("SELECT n, asker FROM gates WHERE asker IS NOT NULL").fetchall())
    return Stored(jobs, events, edges, ended, results, limits, counters, integrity, askers)


# -- at any moment


def check_told(stored: Stored, acknowledged: Iterable[str], batches: Iterable[Sequence[str]]) -> list[str]:
    """Nothing acknowledged is lost; a batch is there as a whole, or not at all."""
    ids = set(stored.by_id)
    wrong = [f"{job_id} was acknowledged and is lost" for job_id in acknowledged if job_id not in ids]
    for batch in batches:
        there = [job_id for job_id in batch if job_id in ids]
        if there and len(there) != len(batch):
            wrong.append(f"of the batch {list(batch)} only {there} is stored")
    return wrong


def check_log(stored: Stored, before: Sequence[EventRow] = ()) -> list[str]:
    """Positions are dense, a job's ``seq`` is 1..n, what was stored once stays; each row is what its events tell."""
    wrong: list[str] = []
    if stored.integrity != "ok":
        wrong.append(f"the file is damaged: {stored.integrity}")
    if [event.position for event in stored.events] != list(range(1, len(stored.events) + 1)):
        wrong.append("positions of events are not 1..n")
    if stored.counters["event"] != len(stored.events):
        wrong.append(f"the counter says {stored.counters['event']} events, there are {len(stored.events)}")
    if list(stored.events[: len(before)]) != list(before):
        wrong.append("events that were stored have changed or gone")
    histories: dict[int, list[EventRow]] = defaultdict(list)
    for event in stored.events:
        histories[event.job].append(event)
    wrong += [f"events of job number {n}, which is not stored" for n in histories if n not in stored.jobs]
    for n, job in stored.jobs.items():
        wrong += [f"{job.id}: {problem}" for problem in _replay(job, histories.get(n, ()))]
    in_progress = Counter(
        job.limit for job in stored.jobs.values() if job.limit and job.status is JobStatus.IN_PROGRESS
    )
    wrong += [
        f"limit {key!r} counts {count} in progress, there are {in_progress[key]}"
        for key, count in stored.limits.items()
        if count != in_progress[key]
    ]
    return [*wrong, *_check_gates(stored)]


def _check_gates(stored: Stored) -> list[str]:
    """What is parked waits for an open gate of its own, and no question of a job is open that has ended."""
    wrong: list[str] = []
    for job in stored.jobs.values():
        gate = stored.jobs.get(job.parked or 0)
        is_open = gate is not None and gate.is_gate and gate.waits_for == WaitsFor.ANSWER
        if job.parked is not None and (not is_open or stored.askers.get(job.parked) != job.n):
            wrong.append(f"{job.id} is parked on {gate and gate.id}, which is not open, or not its own")
        if not job.is_gate and (job.waits_for == WaitsFor.ANSWER) != (job.parked is not None):
            wrong.append(f"{job.id} waits for {job.waits_for} and is parked on {job.parked}")
    for n, asker in stored.askers.items():
        if stored.jobs[n].waits_for == WaitsFor.ANSWER and stored.jobs[asker].status.terminal:
            wrong.append(f"the question {stored.jobs[n].id} is open, and its job is {stored.jobs[asker].status}")
    return wrong


def _replay(job: JobRow, history: Sequence[EventRow]) -> list[str]:
    """Run the state machine over the events of a job; it must end where the row is."""
    wrong: list[str] = []
    status: JobStatus | None = None
    attempt = failures = interruptions = 0
    is_open = False
    if [event.seq for event in history] != list(range(1, len(history) + 1)):
        wrong.append(f"seq is {[event.seq for event in history]}, not 1..{len(history)}")
    for event in history:
        was, running = status, status is JobStatus.IN_PROGRESS
        allowed = True
        match event.type:
            case "submitted":
                allowed, status = was is None, JobStatus.PENDING
            case "started":
                allowed = was is JobStatus.PENDING and event.attempt == attempt + 1 and not job.is_gate
                attempt, status = event.attempt, JobStatus.IN_PROGRESS
            case "completed":
                allowed, status = running or is_open, JobStatus.COMPLETED
            case "asked" if job.is_gate:
                allowed = was is JobStatus.PENDING and not is_open
                is_open = True
            case "retrying" if event.data.get("by") == "ask":
                allowed = job.is_gate and was is not None and was.terminal
                status = JobStatus.PENDING
            case "failed":
                allowed, status = running or was is JobStatus.PENDING, JobStatus.FAILED
                if event.data.get("error_type") == "WorkerLostError":
                    interruptions += 1
                elif running:
                    failures += 1
            case "retrying" if event.data.get("by") == "retry_job":
                allowed = was is not None and was in _ENDED_OTHERWISE
                status, failures, interruptions = JobStatus.PENDING, 0, 0
            case "retrying":
                allowed, status, failures = running, JobStatus.PENDING, failures + 1
            case "interrupted":
                allowed, status, interruptions = running, JobStatus.PENDING, interruptions + 1
            case "released":
                allowed, status = running, JobStatus.PENDING
            case "skipped":
                allowed, status = was is JobStatus.PENDING, JobStatus.SKIPPED
            case "cancelled":
                allowed, status = was in (JobStatus.PENDING, JobStatus.IN_PROGRESS), JobStatus.CANCELLED
            case "answered":  # the end of its question, whatever the job does at the moment
                allowed = not was.terminal and event.status is None
            case _:
                allowed = running and event.status is None
        if not allowed:
            wrong.append(f"event {event.seq}, {event.type!r} of attempt {event.attempt}, cannot follow status {was}")
        is_open = is_open and status is JobStatus.PENDING
        if status is not was and event.status is not status:
            wrong.append(f"event {event.seq}, {event.type!r}, says status {event.status} and makes {status}")
        if event.type != "submitted" and event.attempt != attempt:
            wrong.append(f"event {event.seq}, {event.type!r}, is of attempt {event.attempt}, not {attempt}")
    told = (status, attempt, failures, interruptions, len(history))
    row = (job.status, job.attempt, job.failures, job.interruptions, job.seq)
    if told != row:
        wrong.append(f"(status, attempt, failures, interruptions, seq): the events tell {told}, the row is {row}")
    if status is JobStatus.FAILED and interruptions > job.max_interruptions:
        wrong.append(f"interrupted {interruptions} times, allowed are {job.max_interruptions}")
    if (job.status is JobStatus.PENDING) != (job.waits_for is not None):
        wrong.append(f"{job.status} and waiting for {job.waits_for}")
    if job.is_gate and is_open != (job.waits_for == WaitsFor.ANSWER):
        wrong.append(f"by its events it is {'' if is_open else 'not '}open, and it waits for {job.waits_for}")
    return wrong


def check_ran(stored: Stored, ledger: Sequence[Line]) -> list[str]:
    """What ran had been claimed, durably, and every attempt at most once; what completed ran no more."""
    wrong: list[str] = []
    jobs = stored.by_id
    started = Counter(
        (stored.jobs[e.job].id, e.attempt) for e in stored.events if e.type == "started" and e.job in stored.jobs
    )
    wrong += [
        f"{job_id}: attempt {attempt} was given out {n} times" for (job_id, attempt), n in started.items() if n > 1
    ]
    begun: dict[tuple[str, int], Line] = {}
    latest: defaultdict[str, int] = defaultdict(int)
    over: dict[tuple[str, int], Line] = {}
    for line in ledger:
        key = (line.job_id, line.attempt)
        if line.kind == "S":
            if key in begun:
                wrong.append(f"{line.job_id}: attempt {line.attempt} ran twice")
            if key not in started:
                wrong.append(f"{line.job_id}: attempt {line.attempt} ran, and its claim is not stored")
            begun[key] = line
            latest[line.job_id] = max(latest[line.job_id], line.attempt)
        elif line.kind == "E":
            if key in over or key not in begun:
                wrong.append(f"{line.job_id}: attempt {line.attempt} ended twice, or before it began")
            over[key] = line
        elif line.kind == "C":
            if line.job_id not in jobs:
                wrong.append(f"the child {line.job_id} was acknowledged to its parent and is lost")
        else:
            wrong.append(f"{line.job_id}: attempt {line.attempt} saw {line.rest}")
    for event in stored.events:
        job = stored.jobs.get(event.job)
        if job is None:
            continue
        key = (job.id, event.attempt)
        if event.type == "completed" and not job.is_gate:
            if key not in over or over[key].rest != ("well",):
                wrong.append(f"{job.id}: attempt {event.attempt} is stored as completed, and did not end well")
            if latest[job.id] > event.attempt:
                wrong.append(f"{job.id}: completed at attempt {event.attempt}, and ran again as {latest[job.id]}")
        elif event.type in ("retrying", "failed") and event.data.get("error_type", "").endswith("Unlucky"):
            if key not in over or over[key].rest != ("badly",):
                wrong.append(f"{job.id}: attempt {event.attempt} is stored as failed, and did not fail")
            if stored.ended.get((job.n, event.attempt)) != "failed":
                wrong.append(f"{job.id}: attempt {event.attempt} failed, and its history says otherwise")
        lost = event.type == "interrupted" or event.data.get("error_type") == "WorkerLostError"
        if lost and stored.ended.get((job.n, event.attempt)) != "interrupted":
            wrong.append(f"{job.id}: attempt {event.attempt} was interrupted, and its history says otherwise")
    return wrong


def check_interruptions(stored: Stored, ledger: Sequence[Line], troubled: Collection[int]) -> list[str]:
    """Only processes that were killed or frozen lose what they run; and it is lost a limited number of times.

    :param troubled: their numbers.
    """
    wrong: list[str] = []
    ran = {(line.job_id, line.attempt): line.pid for line in ledger if line.kind == "S"}
    for event in stored.events:
        if event.type == "interrupted" or event.data.get("error_type") == "WorkerLostError":
            job_id = stored.jobs[event.job].id
            pid = ran.get((job_id, event.attempt))
            if pid is not None and pid not in troubled:
                wrong.append(f"{job_id}: attempt {event.attempt} was taken from a living worker")
    for job in stored.jobs.values():
        if job.interruptions >= job.max_interruptions and job.status is not JobStatus.FAILED:
            wrong.append(f"{job.id} was interrupted {job.interruptions} times, and is {job.status}")
    return wrong


def check_order(stored: Stored, ledger: Sequence[Line] = ()) -> list[str]:
    """No attempt was given out before its dependencies allowed it, and no job skipped that could have run."""
    wrong: list[str] = []
    completed: dict[int, int] = {}
    ended: dict[int, list[EventRow]] = defaultdict(list)
    for event in stored.events:
        if event.type == "completed":
            completed.setdefault(event.job, event.position)
        if event.status is not None and event.status.terminal:
            ended[event.job].append(event)
    parents: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for parent, child, optional, _ in stored.edges:
        parents[child].append((parent, optional))
    never = len(stored.events) + 1
    for event in stored.events:
        above = parents.get(event.job)
        job = stored.jobs.get(event.job)
        if not above or job is None or event.type not in ("started", "skipped", "asked"):
            continue
        met = [p for p, _ in above if completed.get(p, never) < event.position]
        failed = [
            (p, optional)
            for p, optional in above
            if p not in met and any(e.position < event.position for e in ended.get(p, ()))
        ]
        if event.type == "asked" and not job.is_gate:
            continue  # by a body that runs
        if event.type != "skipped":
            if job.require is not None:
                early = len(met) < job.require
            else:
                early = len(met) + len(failed) < len(above) or any(not optional for _, optional in failed)
            if early:
                what = "it was asked" if job.is_gate else f"attempt {event.attempt} was given out"
                wrong.append(f"{job.id}: {what} before its dependencies allowed it")
        else:
            hopeless = (
                any(not optional for _, optional in failed)
                if job.require is None
                else len(above) - len(failed) < job.require
            )
            if not hopeless:
                wrong.append(f"{job.id} was skipped, and could have run")
    wrong += _check_order_of_effects(stored, parents, ledger)
    return wrong


def _check_order_of_effects(
    stored: Stored, parents: Mapping[int, Sequence[tuple[int, bool]]], ledger: Sequence[Line]
) -> list[str]:
    """The same by the ledger alone: a body began after the bodies of its required parents had ended well."""
    wrong: list[str] = []
    jobs = stored.by_id
    well: set[str] = set()
    for line in ledger:
        if line.kind == "E" and line.rest == ("well",):
            well.add(line.job_id)
        job = jobs.get(line.job_id)
        if line.kind != "S" or job is None:
            continue
        above = [(stored.jobs[parent].id, optional) for parent, optional in parents.get(job.n, ())]
        if job.require is not None:
            early = sum(parent in well for parent, _ in above) < job.require
        else:
            early = any(parent not in well for parent, optional in above if not optional)
        if early:
            wrong.append(f"{job.id}: attempt {line.attempt} began before the bodies of its parents had ended")
    return wrong


# -- when everything is over


def check_end(stored: Stored) -> list[str]:
    """Every job is terminal, with the status that its parents and its own history leave it; edges say the same."""
    wrong: list[str] = []
    above: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for parent, child, optional, state in stored.edges:
        above[child].append((parent, optional))
        met = stored.jobs[parent].status is JobStatus.COMPLETED
        should = EdgeState.MET if met else EdgeState.PASSED if optional else EdgeState.BROKEN
        if state is not should:
            wrong.append(f"the edge {stored.jobs[parent].id} -> {stored.jobs[child].id} is {state!r}, not {should!r}")
    for job in stored.jobs.values():
        if not job.status.terminal:
            wrong.append(f"{job.id} is {job.status} at the end")
            continue
        statuses = [(stored.jobs[parent].status, optional) for parent, optional in above.get(job.n, ())]
        met = sum(status is JobStatus.COMPLETED for status, _ in statuses)
        if job.require is not None:
            skipped = met < job.require
        else:
            skipped = any(status is not JobStatus.COMPLETED and not optional for status, optional in statuses)
        if skipped != (job.status is JobStatus.SKIPPED) and job.status is not JobStatus.CANCELLED:
            wrong.append(f"{job.id} is {job.status}, its parents are {statuses}, require={job.require}")
        if job.status is JobStatus.SKIPPED:
            cause = stored.by_id.get(job.because or "")
            if cause is None or cause.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
                wrong.append(f"{job.id} was skipped because of {job.because!r}, which did not fail")
        if job.status is JobStatus.COMPLETED and not job.is_gate:
            value = decode_value(stored.results[job.n]) if job.n in stored.results else None
            if value != [job.id, job.attempt]:
                wrong.append(f"{job.id} completed at attempt {job.attempt}, and its result is {value!r}")
        elif job.n in stored.results and not job.is_gate:  # one that was asked again has its earlier answer there
            wrong.append(f"{job.id} is {job.status} and has a result")
    return wrong


def check_everything(stored: Stored, ledger: Sequence[Line]) -> list[str]:
    """What must hold of a file whose jobs are all over."""
    return [*check_log(stored), *check_ran(stored, ledger), *check_order(stored, ledger), *check_end(stored)]
