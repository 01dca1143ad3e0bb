"""Answer the reading half of the contract (``backends.base.JobBackend``) through the pool of readers.

Each statement finds its rows by an index, and reads a bounded page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from asyncjobs.backends.base import LimitInfo, StoredCall
from asyncjobs.backends.bounds import LOOKED_AT, check_group, check_limit
from asyncjobs.backends.sqlite import event_pages, gates, group_pages, id_ranges, job_pages
from asyncjobs.backends.sqlite.ids import worker_id
from asyncjobs.backends.sqlite.job_pages import ids_as_json
from asyncjobs.backends.sqlite.job_rows import (
    LAST_ATTEMPT,
    error_from,
    get_number,
    job_from_row,
    parse_status,
    select_jobs,
)
from asyncjobs.backends.sqlite.moments import read_clocks
from asyncjobs.backends.sqlite.numbers import LAST_EVENT
from asyncjobs.backends.sqlite.payloads import CALL, INJECTS, JOIN_CALL, JOIN_RESULT, RESULT
from asyncjobs.backends.sqlite.readers import Readers
from asyncjobs.backends.sqlite.steps import StepReads
from asyncjobs.backends.sqlite.suspects import PresentWorker, is_alive
from asyncjobs.backends.unreadable import Once, mark, problem
from asyncjobs.checks import encodable
from asyncjobs.clock import Clock, SystemClock, to_datetime
from asyncjobs.core.lanes import Lane
from asyncjobs.core.state import SECOND
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.host import ProcessIdentity, boot_number, this_process
from asyncjobs.models import (
    Attempt,
    Edge,
    EdgeState,
    EventPage,
    GroupProgress,
    Job,
    JobPage,
    JobResult,
    JobStatus,
    OutcomeKind,
    WorkerInfo,
)
from asyncjobs.requests import JobQuery
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqlite")

_OUTCOMES: Mapping[object, OutcomeKind] = {str(kind): kind for kind in OutcomeKind}
_EDGE_STATES: Mapping[object, EdgeState] = {int(state): state for state in EdgeState}
_UNFINISHED = "SELECT EXISTS (SELECT 1 FROM jobs WHERE status = 0) OR EXISTS (SELECT 1 FROM jobs WHERE status = 1)"
_UNFINISHED_IN_GROUP = (
    "SELECT EXISTS (SELECT 1 FROM jobs WHERE grp = ? AND status = 0) "
    "OR EXISTS (SELECT 1 FROM jobs WHERE grp = ? AND status = 1)"
)
_CHUNK = 500
"""Jobs that one statement reads."""
_EDGES = 5000
"""Edges that one statement reads: a job may have any number of dependents."""
_SMALL = 65_536
"""Bytes up to which a result is read together with others; a larger one is read alone."""

_BY_IDS = "SELECT i.n FROM json_each(?) k CROSS JOIN jobs i ON i.id = k.value"
_NUMBERS = "SELECT i.n, i.id FROM json_each(?) k CROSS JOIN jobs i ON i.id = k.value"
# The first jobs of each lane in the order of claims, then the first of those: cost does not grow with the backlog.
_READY = (
    "SELECT r.n FROM lanes m CROSS JOIN jobs r ON r.n IN (SELECT q.n FROM jobs q WHERE q.waits_for = 0 "
    "AND q.lane = m.n ORDER BY q.priority DESC, q.n LIMIT ?) ORDER BY r.priority DESC, r.n LIMIT ?"
)
_RESULTS = f"""
SELECT j.n, j.id, j.status, l.function, j.because, j.attempt, j.interruptions, a.error_type, a.message, a.traceback,
  a.kind, g.answered_by, length({RESULT}), CASE WHEN length({RESULT}) <= {_SMALL} THEN {RESULT} END
FROM json_each(?) k
CROSS JOIN jobs j ON j.id = k.value
LEFT JOIN lanes l ON l.n = j.lane
{JOIN_RESULT}
LEFT JOIN attempts a ON a.rowid = CASE WHEN j.status = 3 THEN {LAST_ATTEMPT} END
LEFT JOIN gates g ON g.n = CASE WHEN j.role IS NOT NULL THEN j.n END"""
_RESULT = "SELECT value FROM results_apart WHERE n = ?"
# The hot row records an attempt that runs or succeeded; attempt 0 stands for a job that was given up before it ran, or
# for a gate, which has none.
_ATTEMPTS = """
SELECT a.attempt, w.name, a.started_at, a.finished_at, a.kind, a.error_type, a.message, a.traceback
FROM jobs j CROSS JOIN attempts a ON a.job = j.n LEFT JOIN workers w ON w.n = a.worker
WHERE j.id = ? AND a.attempt > 0
UNION ALL
SELECT j.attempt, w.name, j.started_at, CASE j.status WHEN 2 THEN j.finished_at END,
  CASE j.status WHEN 2 THEN 'succeeded' END, NULL, NULL, NULL
FROM jobs j LEFT JOIN workers w ON w.n = j.worker
WHERE j.id = ? AND (j.status = 1 OR (j.status = 2 AND j.attempt > 0))
ORDER BY 1"""
_CALL = f"""
SELECT l.function, {CALL}, {INJECTS} FROM json_each(?) k CROSS JOIN jobs j ON j.id = k.value
CROSS JOIN lanes l ON l.n = j.lane {JOIN_CALL}"""
# Walks the completed jobs backwards by (status, n): to the first one beyond the bound, then again from the newest until
# the limit or that one is reached. The unary plus keeps the walk on that index.
_DURATIONS = f"""
SELECT j.finished_at - j.started_at FROM jobs j
WHERE j.status = 2 AND j.role IS NOT 1
AND j.n > ifnull((SELECT b.n FROM jobs b WHERE b.status = 2 ORDER BY b.n DESC LIMIT 1 OFFSET {LOOKED_AT}), 0)
AND +j.lane IN (SELECT l.n FROM lanes l WHERE l.function = ?)
ORDER BY j.n DESC LIMIT ?"""
_COUNT_GROUP = "SELECT status, count(*) FROM jobs WHERE grp = ? GROUP BY status"
_COUNT_ALL = "SELECT status, count(*) FROM jobs GROUP BY status"
_WORKERS = """
SELECT w.n, w.name, w.slots, w.queues, w.host, w.boot, w.pid_namespace, w.pid, w.process_start, w.registered_at,
  w.expires, w.refused, w.lease, (SELECT count(*) FROM jobs j WHERE j.status = 1 AND j.worker = w.n)
FROM workers w WHERE w.gone = 0 ORDER BY w.n"""
_PRESENT = (
    "SELECT n, expires, lease, host, boot, pid_namespace, pid, process_start FROM workers WHERE gone = 0 ORDER BY n"
)
_LEFT_BEHIND = """
SELECT EXISTS (SELECT 1 FROM jobs j LEFT JOIN workers w ON w.n = j.worker WHERE j.status = 1 AND w.gone IS NOT 0)
OR EXISTS (
  SELECT 1 FROM lanes l CROSS JOIN workers w ON w.n = CAST(substr(l.owner, 2) AS INTEGER)
  CROSS JOIN jobs j ON j.lane = l.n WHERE l.owner IS NOT NULL AND w.gone <> 0 AND j.local = 1 AND j.status = 0
)"""
_LIMIT = "SELECT key, capacity, in_progress FROM limits WHERE key = ?"
_LANES = "SELECT queue, function, owner FROM lanes ORDER BY n"
_LAST = f"SELECT {LAST_EVENT}"


class Queries:
    """The reads of the contract, which see only committed data."""

    def __init__(self, readers: Readers, clock: Clock | None = None) -> None:
        self._fetch = readers.fetch
        self._clock = SystemClock() if clock is None else clock
        self._boot = boot_number(this_process().boot)
        self._once = Once(logger)
        self.steps = StepReads(readers.fetch)

    def _jobs(self, rows: Sequence[tuple[Any, ...]]) -> list[Job]:
        clocks = read_clocks(self._clock, self._boot)
        jobs = [job_from_row(row, clocks) for row in rows]
        for job in jobs:
            if job.unreadable is not None:
                self._once.log("job", job.id, job.unreadable)
        return jobs

    # -- jobs

    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Read jobs in chunks of ids."""
        found: dict[str, Job] = {}
        for chunk in _chunks(list(dict.fromkeys(ids)), _CHUNK):
            rows = await self._fetch(select_jobs(_BY_IDS, "j.n"), (ids_as_json(chunk),))
            found.update((job.id, job) for job in self._jobs(rows))
        return [found[job_id] for job_id in ids if job_id in found]

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Read results in chunks of ids, and large values one by one."""
        found: dict[str, JobResult] = {}
        for chunk in _chunks(list(dict.fromkeys(ids)), _CHUNK):
            for row in await self._fetch(_RESULTS, (ids_as_json(chunk),)):
                n, job_id, status, function, because, attempt, interruptions, *error, kind, by, size, value = row
                if size is not None and value is None:
                    value = await self._large_result(n)
                found[job_id] = JobResult(
                    job_id,
                    parse_status(status),
                    function or "?",
                    value,
                    error_from(*error),
                    because,
                    attempt,
                    interruptions,
                    _outcome(kind),
                    by if isinstance(by, str | None) else "?",
                )
        return {job_id: found[job_id] for job_id in ids if job_id in found}

    async def _large_result(self, n: int) -> bytes | None:
        rows = await self._fetch(_RESULT, (n,))
        return rows[0][0] if rows else None

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Read the history of attempts, and the current one from the hot row."""
        job_id = str.__str__(job_id)
        return [
            Attempt(
                job_id,
                attempt,
                worker,
                _moment(started_at) or _moment(finished_at) or to_datetime(0),
                _moment(finished_at),
                _outcome(kind),
                error_from(*error),
            )
            for attempt, worker, started_at, finished_at, kind, *error in await self._fetch(_ATTEMPTS, (job_id, job_id))
        ]

    async def find_jobs(self, query: JobQuery) -> JobPage:
        """Read a page by keyset: the cursor is the number of its last job, or of the last one that was examined."""
        last_examined = job_pages.last_examined_statement(query)
        end: int | None = None if last_examined is None else (await self._fetch(*last_examined))[0][0]
        sql, params = job_pages.page_statement(query, end)
        rows = await self._fetch(sql, params)
        page = rows[: query.limit]
        after = get_number(page[-1]) if len(rows) > len(page) else end
        return JobPage(self._jobs(page), None if after is None else str(after))

    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """Read a range of the index of ids."""
        check_limit(limit)
        if not encodable(prefix):
            return []  # no id begins with this prefix
        sql, params = id_ranges.statement(prefix, limit)
        return [job_id for (job_id,) in await self._fetch(sql, params)]

    async def get_call(self, job_id: str) -> StoredCall | None:
        """Read the call of a job, whatever its size."""
        rows = await self._fetch(_CALL, (ids_as_json([job_id]),))
        return next((StoredCall(function, call, injects == 1) for function, call, injects in rows), None)

    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        """Count by an index; an unreadable status counts as failed."""
        rows = await (self._fetch(_COUNT_ALL) if group is None else self._fetch(_COUNT_GROUP, (group,)))
        counts: dict[JobStatus, int] = {}
        for code, count in rows:
            status = parse_status(code)
            counts[status] = counts.get(status, 0) + count
        return counts

    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        """Read the first jobs of every lane, and merge them; at most 1,000."""
        limit = max(0, min(limit, _CHUNK * 2))
        rows = await self._fetch(select_jobs(_READY, "j.priority DESC, j.n"), (limit, limit))
        return self._jobs(rows)

    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        """Read groups by a skip scan of their index."""
        check_limit(limit)
        check_group("after", after)
        sql, params = group_pages.page_statement(after, limit)
        return list(map(group_pages.group_from_row, await self._fetch(sql, params)))

    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        """Read durations of the latest completed jobs, walking backwards."""
        check_limit(limit)
        if not encodable(function):
            return []
        # Not below 0: the wall clock may have been set back meanwhile.
        return [max(0, took) / SECOND for (took,) in await self._fetch(_DURATIONS, (function, limit))]

    # -- edges

    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Read edges by their child."""
        return await self._edges(ids, "child", "parent")

    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Read edges by their parent."""
        return await self._edges(ids, "parent", "child")

    async def _edges(
        self, ids: Iterable[str], near: Literal["child", "parent"], far: Literal["child", "parent"]
    ) -> list[Edge]:
        """Read edges with one of ``ids`` at their ``near`` end, in this order, then by the number of the other end."""
        head = f"SELECT e.{near}, e.{far}, o.id, e.optional, e.state FROM edges e CROSS JOIN jobs o ON o.n = e.{far}"
        many = (
            f"{head} WHERE e.{near} IN (SELECT k.value FROM json_each(?) k) ORDER BY e.{near}, e.{far} LIMIT {_EDGES}"
        )
        one = f"{head} WHERE e.{near} = ? AND e.{far} > ? ORDER BY e.{far} LIMIT {_EDGES}"
        names: dict[int, str] = {}
        unique = list(dict.fromkeys(ids))
        for chunk in _chunks(unique, _CHUNK):
            names.update(await self._fetch(_NUMBERS, (ids_as_json(chunk),)))  # pairs
        rows: list[tuple[Any, ...]] = []
        for left in _chunks(sorted(names), _CHUNK):
            while left:
                page = await self._fetch(many, (msgspec.json.encode(left).decode(),))
                rows.extend(page)
                if len(page) < _EDGES:
                    break
                while len(page) == _EDGES:  # the rest of the job at which the page ended, then the jobs after it
                    page = await self._fetch(one, rows[-1][:2])
                    rows.extend(page)
                left = [n for n in left if n > rows[-1][0]]
        rank = {job_id: place for place, job_id in enumerate(unique)}
        rows.sort(key=lambda row: (rank[names[row[0]]], row[1]))
        return [_edge(names, near, row) for row in rows]

    # -- the rest

    async def get_limit(self, key: str) -> LimitInfo | None:
        """Read the counters of a limited key."""
        rows = await self._fetch(_LIMIT, (key,))
        return LimitInfo(*rows[0]) if rows else None

    async def get_lanes(self) -> Sequence[Lane]:
        """Read all lanes, in the order of their first jobs."""
        return [Lane(*row) for row in await self._fetch(_LANES)]

    async def workers(self, now_monotonic: int, gone: Callable[[ProcessIdentity], bool]) -> Sequence[WorkerInfo]:
        """Read the registered workers.

        :param now_monotonic: µs of the host's clock.
        :param gone: returns whether a process has ended; called in a thread.
        """
        rows = await self._fetch(_WORKERS)

        def infos() -> list[WorkerInfo]:
            return [_worker(row, now_monotonic, gone) for row in rows]

        # Checking processes reads /proc, which a store without workers need not do.
        return await in_thread(infos) if rows else []

    async def present_workers(self) -> Sequence[PresentWorker]:
        """Read the workers that are not marked as gone, as they are stored."""
        rows = await self._fetch(_PRESENT)
        return [PresentWorker(n, expires, lease, ProcessIdentity(*identity)) for n, expires, lease, *identity in rows]

    async def left_behind(self) -> bool:
        """Return whether a gone worker still holds jobs, or was the only one that could run some."""
        return (await self._fetch(_LEFT_BEHIND))[0][0] == 1

    async def due_gates(self) -> Sequence[int]:
        """Read the open gates whose deadline has come, earliest first, then those whose deadline cannot be read."""
        return [n for (n,) in await self._fetch(gates.DUE, (self._clock.now(),))]

    async def has_unfinished(self, group: str | None = None) -> bool:
        """Look for one entry in the index of statuses."""
        sql, params = (_UNFINISHED, ()) if group is None else (_UNFINISHED_IN_GROUP, (group, group))
        return (await self._fetch(sql, params))[0][0] == 1

    # -- events

    async def read_events(
        self,
        after: str | None = None,
        *,
        limit: int = 500,
        job_id: str | None = None,
        group: str | None = None,
    ) -> EventPage:
        """Read a page of the log, and log the unreadable events in it once."""
        begin = event_pages.position(after)
        if limit < 1:
            raise ConfigurationError("limit", limit, allowed="a whole number from 1")
        sql, params = event_pages.page_statement(begin, limit, job_id, group)
        page = event_pages.page_from_rows(await self._fetch(sql, params), begin, limit, resumed=after is not None)
        for event in page.events:
            if "unreadable" in event.data:
                self._once.log("event", event.cursor, str(event.data["unreadable"]))
        return page

    async def last_cursor(self) -> str:
        """Read the counter of events."""
        return str((await self._fetch(_LAST))[0][0])


def _outcome(kind: object) -> OutcomeKind | None:
    """Return how an attempt ended; ``failed`` if that cannot be read."""
    return None if kind is None else _OUTCOMES.get(kind, OutcomeKind.FAILED)


def _moment(moment: object) -> datetime | None:
    """Return a stored moment; None without one, and if it cannot be read."""
    try:
        return to_datetime(moment) if isinstance(moment, int) else None
    except OverflowError:
        return None


def _chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _edge(names: Mapping[int, str], near: str, row: tuple[Any, ...]) -> Edge:
    number, _, other, optional, state = row
    parent, child = (names[number], other) if near == "parent" else (other, names[number])
    return Edge(parent, child, optional == 1, _EDGE_STATES.get(state, EdgeState.OPEN))


def _worker(row: tuple[Any, ...], now_monotonic: int, gone: Callable[[ProcessIdentity], bool]) -> WorkerInfo:
    try:
        return _sound_worker(row, now_monotonic, gone)
    except Exception as error:  # border: the row may hold anything; only this worker loses its name
        name = mark([problem("worker", error)])
        _, _, _, _, host, boot, namespace, pid, start, _, expires, *_ = row
        alive = is_alive(expires, now_monotonic) and not gone(ProcessIdentity(host, boot, namespace, pid, start))
        return WorkerInfo(
            id=worker_id(row[0]), name=name, pid=pid if isinstance(pid, int) else 0, host="?", slots=0, alive=alive
        )


def _sound_worker(row: tuple[Any, ...], now_monotonic: int, gone: Callable[[ProcessIdentity], bool]) -> WorkerInfo:
    n, name, slots, queues, host, boot, namespace, pid, start, registered_at, expires, refused, lease, running = row
    identity = ProcessIdentity(host, boot, namespace, pid, start)
    if not isinstance(expires, int) or not isinstance(pid, int):
        raise TypeError("its lease or its process is not a number")
    return WorkerInfo(
        id=worker_id(n),
        name=name,
        pid=pid,
        host=host,
        slots=slots,
        queues=None if queues is None else tuple(msgspec.json.decode(queues)),
        started_at=to_datetime(registered_at),
        alive=expires >= now_monotonic and not gone(identity),
        running=running,
        lease=lease / SECOND,
        refused={} if refused is None else msgspec.json.decode(refused),
    )
