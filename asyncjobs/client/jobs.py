"""Define JobsClient: use the ``JobProcessor`` of another process over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import anyio

from asyncjobs.checks import CheckedArguments
from asyncjobs.client import answers
from asyncjobs.client.answers import ChangedJobs, Snapshot, Stats
from asyncjobs.client.gate_calls import ClientGateCalls
from asyncjobs.client.handle import ClientHandle
from asyncjobs.client.paths import group_path, job_path
from asyncjobs.client.streams import EventStream, OnReset, Types
from asyncjobs.client.submission import checked_ids, checked_name, new_id, render_metadata, submission
from asyncjobs.client.waiting import Waiting
from asyncjobs.exceptions import (
    BackendConnectionError,
    ConfigurationError,
    JobStateError,
    JobTimeoutError,
    MissingExtraError,
)
from asyncjobs.models import (
    Attempt,
    GroupProgress,
    Job,
    JobEvent,
    JobPage,
    JobStatus,
    Reason,
    StatusReport,
    WorkerInfo,
    state_tag,
)
from asyncjobs.paging import iter_pages
from asyncjobs.requests import JobQuery

if TYPE_CHECKING:
    import httpx

    from asyncjobs.client.transport import Answer

EXACT = "application/msgpack"
"""Media type of a result in its stored form."""
_BATCH = 1000
"""Ids that the server accepts in one request."""
_UNFINISHED = frozenset({JobStatus.PENDING, JobStatus.IN_PROGRESS})
_RETRIABLE = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})


class JobsClient(ClientGateCalls, CheckedArguments):
    """Submit, watch, answer and control the jobs of a server that serves ``jp.asgi_app(…)``.

    ::

        async with JobsClient("https://example.org/jobs", token="…") as client:
            handle = await client.submit_job("comic:draw_page", "noir")
            page = await handle

    :param base_url: the URL under which the app is mounted.
    :param token: a token of the server's ``auth=``.
    :param http_client: an ``httpx.AsyncClient`` of your own (certificates, proxies); it is left open. Each open stream
        takes a connection of its pool, and so does each of the first 32 handles that are awaited.
    :param timeout: seconds for a request, of which 5 at most to connect. Default 30, or what ``http_client`` has.
    :param tries: times that a request is tried while the server is unavailable or busy, with pauses that grow to 4 s,
        or longer if the server asks for that. Default 5.
    :param max_silence: seconds without data or a ping after which an event stream reconnects. Default 45: three times
        the server's ``ping``.
    :raises MissingExtraError: the extra ``client`` is not installed.

    Every method raises ``BackendConnectionError`` once its tries are used up. An error of the server is raised as in
    process; one without a class, such as an unknown token, is a ``JobProcessorError`` with its ``code``
    (``"unauthorized"``, ``"forbidden"``, …).
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        http_client: httpx.AsyncClient | None = None,
        timeout: float | None = None,
        tries: int = 5,
        max_silence: float = 45.0,
    ) -> None:
        try:
            from asyncjobs.client.transport import Transport
        except ModuleNotFoundError as error:
            if error.name != "httpx":
                raise
            raise MissingExtraError("client", what="JobsClient") from error
        if token is not None and (not isinstance(token, str) or not token.isascii() or not token.isprintable()):
            raise ConfigurationError("token", problem="token must be printable ASCII")
        for name, value in (("timeout", timeout), ("max_silence", max_silence), ("tries", tries)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
                raise ConfigurationError(name, value, allowed="a number above 0")
        self._transport = Transport(base_url, token, http_client, timeout=timeout, tries=tries, max_silence=max_silence)
        self._waiting = Waiting(self._transport, lambda job_id: f"{job_path(job_id)}/events", self._find_unfinished)

    async def __aenter__(self) -> Self:
        self._transport.check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, also those of streams."""
        with anyio.CancelScope(shield=True):
            await self._transport.aclose()

    def __repr__(self) -> str:
        return f"JobsClient({self._transport.url!r})"

    # -- submitting

    async def submit_job(
        self,
        func: str,
        /,
        *args: Any,
        job_id: str | None = None,
        depends_on: str | Collection[str] = (),
        require: int | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_retries: int | None = None,
        timeout: float | timedelta | None = None,
        delay: float | timedelta | None = None,
        run_at: datetime | None = None,
        **kwargs: Any,
    ) -> ClientHandle:
        """Store a call of a function that is registered at the server. It is durable when this returns.

        Options and arguments are those of ``JobProcessor.submit_job`` that can be sent over HTTP. For a function with
        parameters named like options, pass ``args=(…)`` and ``kwargs={…}``. A handle inside the arguments is a
        dependency, and its result is injected.

        The client chooses the id before it sends the request, so a repeated request does not submit twice. If a job
        with this id exists already, it is returned, provided that function and arguments are the same.

        :param func: the name of the function, ``"pkg.mod:fn"``.
        :raises SubmissionError: refused, nothing was stored. ConfigurationError: an option cannot work. TypeError: the
            function does not take these arguments.
        :raises BackendConnectionError: no response; ``job_id=error.request["id"]`` makes another try safe.
        """
        chosen = new_id() if job_id is None else checked_name("job_id", job_id)
        options = {
            "id": chosen,
            "depends_on": checked_ids("depends_on", depends_on) or None,
            "require": require,
            "group": group,
            "metadata": metadata,
            "queue": queue,
            "priority": priority,
            "max_retries": max_retries,
            "timeout": timeout,
            "delay": delay,
            "run_at": run_at,
        }
        body = submission(func, args, options, kwargs)
        headers = {"idempotency-key": chosen} if job_id is None else None  # not every id fits into a header
        answer = await self._transport.ask("POST", "/v1/jobs", body=body, headers=headers, request=body)
        return ClientHandle(self._transport.read(answer, answers.SentStatus).id, self)

    def handle(self, job_id: str) -> ClientHandle:
        """Return a handle for a stored job, made from its id; nothing is sent."""
        return ClientHandle(checked_name("job_id", job_id), self)

    # -- results

    async def get_result(self, job_id: str) -> Any:
        """Return the result of a completed job; do not wait. Records are plain dicts: the client has no classes.
        A value in which the server hides something is returned as JSON.

        :raises JobNotFoundError: no such job. JobStateError: it has not ended yet. JobNotCompletedError: it ended
            without a result (the subclass names the status).
        """
        found = await self._result(job_id)
        if isinstance(found, answers.SentStatus):
            raise JobStateError(found.id, found.status, "it has no result yet", hint="await handle waits for it")
        return found.result

    async def wait_for_result(self, job_id: str, timeout: float | None = None) -> Any:
        """Wait for a result, on behalf of handles: see ``ClientHandle.result``."""
        with anyio.move_on_after(timeout):
            found = await self._result(job_id)
            while isinstance(found, answers.SentStatus):
                await self._waiting.wait_until_ended(job_id)
                try:
                    found = await self._result(job_id)
                except BackendConnectionError:
                    pass  # the server was reachable before; wait for it
            return found.result
        raise JobTimeoutError(f"job {str(job_id)!r}", timeout or 0.0, job_id=str(job_id))

    async def _result(self, job_id: str) -> answers.SentResult | answers.SentStatus:
        """Return the result of a job, or its status while it has none."""
        headers = {"accept": f"{EXACT}, application/json"}  # JSON: before the job has ended, and if parts are hidden
        answer = await self._transport.ask("GET", f"{job_path(job_id)}/result", headers=headers)
        if answer.response.headers.get("content-type") == EXACT:
            return answers.SentResult(str(job_id), JobStatus.COMPLETED, self._transport.read_value(answer))
        return self._transport.read(
            answer, answers.SentStatus if answer.response.status_code == 202 else answers.SentResult
        )

    async def _find_unfinished(self, job_ids: Sequence[str]) -> set[str]:
        jobs = await self._batch(job_ids)
        return {job_id for job_id, job in jobs.items() if job is not None and job.status in _UNFINISHED}

    # -- reading

    async def get_job(self, job_id: str) -> Job:
        """Return a snapshot of a job. JobNotFoundError: no such job."""
        return (await self._transport.get(job_path(job_id), answers.SentJob)).model()

    async def get_status(self, job_id: str) -> JobStatus:
        """Return the stored status. JobNotFoundError: no such job."""
        return (await self._transport.get(job_path(job_id), answers.SentStatus)).status

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return every attempt of a job, oldest first, with its outcome and error."""
        sent = await self._transport.get(f"{job_path(job_id)}/attempts", answers.SentAttempts)
        return [attempt.model(str(job_id)) for attempt in sent.items]

    async def get_logs(self, job_id: str, after: str | None = None) -> AsyncGenerator[JobEvent]:
        """Iterate over the log of a job so far. ``stream_job(types="log")`` also follows it."""
        path, params = f"{job_path(job_id)}/logs", {} if after is None else {"after": after}
        while True:
            page = await self._transport.get(path, answers.SentEvents, params)
            for event in page.items:
                yield event
            if page.end:
                return
            params = {"after": page.cursor}

    async def why(self, job_id: str) -> Reason:
        """Return why a job is not running (or that it is): a code for programs, a sentence for people."""
        return await self._transport.get(f"{job_path(job_id)}/why", Reason)

    async def iter_jobs(self, query: JobQuery | None = None) -> AsyncGenerator[Job]:
        """Iterate over all jobs that match, read in pages of ``query.limit``."""
        async with aclosing(iter_pages(self.find_jobs, query or JobQuery())) as pages:
            async for page in pages:
                for job in page:
                    yield job

    async def find_jobs(self, query: JobQuery | None = None) -> JobPage:
        """Return a page of jobs: a list, and ``.next``, the cursor of the following page."""
        query = query or JobQuery()
        names = (
            "status",
            "group",
            "queue",
            "function",
            "parent_id",
            "waits_for",
            "metadata",
            "order",
            "limit",
            "cursor",
        )
        asked = _asked(query, names, "find_jobs")
        if "parent_id" in asked:
            asked["parent"] = asked.pop("parent_id")
        if "status" in asked:
            asked["status"] = ",".join(asked["status"])
        if "metadata" in asked:
            asked["metadata"] = render_metadata(asked["metadata"])
        page = await self._transport.get("/v1/jobs", answers.SentJobs, asked)
        return JobPage([job.model() for job in page.items], page.next)

    async def poll_status(self, job_id: str) -> StatusReport:
        """Return status, percentage, elapsed seconds and an estimate of the rest; ``get_result`` returns the result."""
        return (await self._transport.get(job_path(job_id), answers.SentJob)).report()

    async def poll_batch(self, job_ids: Sequence[str]) -> dict[str, StatusReport | None]:
        """Return ``poll_status`` of several jobs at once; None for an unknown id."""
        jobs = await self._batch(checked_ids("job_ids", job_ids))
        return {job_id: None if job is None else job.report() for job_id, job in jobs.items()}

    async def _batch(self, job_ids: Sequence[str]) -> dict[str, answers.SentJob | None]:
        jobs: dict[str, answers.SentJob | None] = dict.fromkeys(job_ids)
        ids = list(jobs)
        for start in range(0, len(ids), _BATCH):
            body = {"ids": ids[start : start + _BATCH]}
            answer = await self._transport.ask("POST", "/v1/jobs:batch", body=body)
            jobs |= {item.id: item.job for item in self._transport.read(answer, answers.SentBatch).items}
        return jobs

    async def get_progress(self, group: str) -> GroupProgress:
        """Return the progress of a group. For an unknown group, the error's ``code`` is ``"group-not-found"``."""
        return await self._transport.get(group_path(group), GroupProgress)

    async def groups(self) -> AsyncGenerator[GroupProgress]:
        """Iterate over the progress of all groups, by name."""
        params: dict[str, str] = {}
        while True:
            page = await self._transport.get("/v1/groups", answers.SentGroups, params)
            for group in page.items:
                yield group
            if page.next is None:
                return
            params = {"after": page.next}

    async def stats(self) -> Stats:
        """Return the numbers of all jobs and workers."""
        return await self._transport.get("/v1/stats", Stats)

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the workers of all processes that the store knows."""
        return (await self._transport.get("/v1/workers", answers.SentWorkers)).items

    async def snapshot(self) -> Snapshot:
        """Return the state that a page shows first, and a cursor from which ``stream_all`` misses nothing."""
        return (await self._transport.get("/v1/snapshot", answers.SentSnapshot)).model()

    # -- controlling

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job, and with ``descendants`` the whole tree of jobs submitted from inside it.

        :returns: the stored status. ``cancelled``: the job will never run (again); ``in_progress``: the job is asked
            to stop, and will end as cancelled; any other: the job had ended before.
        :raises JobNotFoundError: no such job.
        """
        try:
            answer = await self._transport.ask("POST", f"{job_path(job_id)}/cancel", body={"descendants": descendants})
        except JobStateError as error:
            return JobStatus(error.status)
        return self._transport.read(answer, answers.SentStatus).status

    async def cancel_jobs(
        self, query: JobQuery | None = None, *, group: str | None = None, expect: int | None = None
    ) -> ChangedJobs:
        """Cancel all unfinished jobs of a group or of a query (its limit and cursor are ignored).

        :param expect: change nothing unless this many jobs match; the error has the ``code`` ``"count-differs"``.
        :raises BackendConnectionError: the request is sent only once; check which jobs were changed.
        """
        return await self._change("cancel", query, group, expect)

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Run a failed or cancelled job again, with fresh counters, and revive those that were skipped because of it.

        :param fresh: start over. Default: resume, with the steps that the job has kept.
        :raises JobNotFoundError: no such job. JobStateError: it is neither failed nor cancelled.
        """
        # The version makes the request safe to repeat after a lost response.
        job = await self._transport.get(job_path(job_id), answers.SentJob)
        headers = {"if-match": state_tag(job.version, job.created_at)} if job.status in _RETRIABLE else {}
        body = {"fresh": True} if fresh else None
        answer = await self._transport.ask("POST", f"{job_path(job_id)}/retry", body=body, headers=headers, check=False)
        if answer.response.status_code == 412:
            return await (self.get_status(job_id) if answer.repeated else self.retry_job(job_id, fresh=fresh))
        self._transport.check(answer)
        return self._transport.read(answer, answers.SentStatus).status

    async def retry_jobs(
        self,
        query: JobQuery | None = None,
        *,
        group: str | None = None,
        expect: int | None = None,
        fresh: bool = False,
    ) -> ChangedJobs:
        """Retry all failed and cancelled jobs of a group or of a query: as ``cancel_jobs``, and as ``retry_job``."""
        return await self._change("retry", query, group, expect, {"fresh": True} if fresh else {})

    async def _change(
        self, what: str, query: JobQuery | None, group: str | None, expect: int | None, more: Mapping[str, Any] = {}
    ) -> ChangedJobs:
        if (query is None) == (group is None):
            name = f"{what}_jobs"
            raise ConfigurationError(name, problem=f"give {name} a query or a group, and not both")
        query = query or JobQuery(group=group)
        asked = _asked(query, ("ids", "status", "group", "queue", "function", "waits_for"), f"{what}_jobs")
        if "ids" in asked:
            asked["ids"] = checked_ids("ids", asked["ids"])
        body = {"filter": asked} | ({} if expect is None else {"expect": expect}) | dict(more)
        answer: Answer = await self._transport.ask("POST", f"/v1/jobs:{what}", body=body, repeat=False)
        return self._transport.read(answer, ChangedJobs)

    # -- watching

    def stream_job(
        self, job_id: str, after: str | None = None, *, types: Types = None, on_reset: OnReset | None = None
    ) -> EventStream:
        """Stream the events of a job: stored ones after the cursor ``after``, then live ones, until the job has ended.

        The stream reconnects by itself and continues at its cursor. To leave it early, use it as ``async with``.

        :param after: the ``cursor`` of the last event that was seen. Default: from the first one.
        :param types: only events of these types, such as ``["progress", "completed"]``. Default: all.
        :param on_reset: called (and awaited) when the server has removed events before the stream returned them.
        :raises JobNotFoundError: no such job. ConfigurationError: ``after`` is not a cursor.
        :raises BackendConnectionError: the server was not reachable at the beginning.
        """
        return self._stream(f"{job_path(job_id)}/events", after, types, on_reset)

    def stream_group(
        self, group: str, after: str | None = None, *, types: Types = None, on_reset: OnReset | None = None
    ) -> EventStream:
        """Stream the events of a group's jobs until all have ended: as ``stream_job``."""
        return self._stream(f"{group_path(group)}/events", after, types, on_reset)

    def stream_all(
        self, after: str | None = None, *, types: Types = None, on_reset: OnReset | None = None
    ) -> EventStream:
        """Stream every event, without end: as ``stream_job``."""
        return self._stream("/v1/events", after, types, on_reset)

    def _stream(self, path: str, after: str | None, types: Types, on_reset: OnReset | None) -> EventStream:
        return EventStream(self._transport, path, after=after, types=types, on_reset=on_reset)


def _asked(query: JobQuery, names: Sequence[str], where: str) -> dict[str, Any]:
    """Return the given fields of a query by these names; refuse fields that the HTTP interface does not have."""
    if not isinstance(query, JobQuery):
        raise ConfigurationError(where, query, allowed="a JobQuery")
    unset = JobQuery()
    given = {name: getattr(query, name) for name in query.__struct_fields__}
    ignored = () if "limit" in names else ("limit", "cursor", "order")
    asked: dict[str, Any] = {}
    for name, value in given.items():
        if name in names:
            if value is not None:
                asked[name] = value
        elif value != getattr(unset, name) and name not in ignored:
            hint = "poll_batch(ids) asks for jobs by id" if name == "ids" else None
            raise ConfigurationError(name, value, problem=f"{where} cannot ask for {name} over HTTP", hint=hint)
    if "status" in asked:
        status = asked["status"]
        asked["status"] = [str(one) for one in ((status,) if isinstance(status, str) else cast("list[Any]", status))]
    return asked
