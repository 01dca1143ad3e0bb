"""Define JobProcessor: the facade of an engine, with signatures and docstrings but no logic."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import CheckedArguments
from asyncjobs.clock import Clock
from asyncjobs.config import BackendConfig, BackendType, DaemonConfig
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import (
    Attempt,
    Edge,
    GroupProgress,
    Isolation,
    Job,
    JobEvent,
    JobPage,
    JobResult,
    JobStatus,
    Limit,
    Reason,
    StatusReport,
    WorkerInfo,
)
from asyncjobs.requests import GateRequest, JobQuery, JobRequest
from asyncjobs.runtime.batch import Batch
from asyncjobs.runtime.crewai_calls import CrewAICalls
from asyncjobs.runtime.daemon import JobDaemon
from asyncjobs.runtime.engine import Engine
from asyncjobs.runtime.events.streamer import StatusStreamer
from asyncjobs.runtime.gate_calls import GateCalls
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.runtime.setup import new_engine
from asyncjobs.runtime.stored_calls import JobArguments
from asyncjobs.runtime.submission import LONGEST_ID, Optional, checked_name
from asyncjobs.web_door import WebDoor

if TYPE_CHECKING:
    from typing import Unpack

    from starlette.requests import Request
    from starlette.responses import Response

    from asyncjobs.core.dag import JobDAG
    from asyncjobs.web.app import WebApp
    from asyncjobs.web.settings import WebSettings

T = TypeVar("T")

IfExists = Literal["raise", "return"]
Types = Collection[str] | str | None


class JobProcessor(CheckedArguments, GateCalls, CrewAICalls):
    """Submit callables as jobs, and (unless ``enable_daemon=False``) run them here, in the background.

    ::

        async with JobProcessor() as jp:
            plot = await jp.submit_job(write_plot, "noir")
            page = await jp.submit_job(draw_page, plot)
            picture = await page

    :param backend: where jobs are kept: a path (with a slash or a suffix), a ``BackendType`` or its name, a config
        object (``SQLiteConfig(db_path=…)``, ``SQSConfig(…)``), or a ``JobBackend``. Default: ``asyncjobs.db`` in the
        working directory.
    :param config: settings for a ``BackendType``.
    :param enable_daemon: claim and run jobs in this process. Default True.
    :param daemon: settings of the embedded daemon: slots, queues, allowed modules, times.
    :param functions: functions that this process may run although it did not submit them.
    :param fallback: ``"sync"``: while no worker is alive anywhere, a submit runs its jobs here and returns when they
        have ended; jobs that are not due yet run later; cancelled, it hands them back to the store (ADR 34). With
        ``enable_daemon=False``. Default None: jobs wait.
    :param clock: for tests.
    :raises ConfigurationError: a setting cannot work.

    Leaving the ``async with`` stops claiming, gives running jobs ``daemon.shutdown_timeout`` seconds, and returns the
    rest to pending; nothing is lost. SIGTERM leaves the block like Ctrl-C; a second signal hands running jobs back at
    once. Outside of the block, every method raises ``BackendClosedError``, except in jobs that still run.
    """

    _settings = (("daemon", DaemonConfig),)
    _hands_back_on_ctrl_c = False  # for SyncJobs

    def __init__(
        self,
        backend: BackendType | str | os.PathLike[str] | BackendConfig | JobBackend = BackendType.SQLITE,
        config: BackendConfig | None = None,
        *,
        enable_daemon: bool = True,
        daemon: DaemonConfig | None = None,
        functions: Iterable[Callable[..., Any]] = (),
        fallback: Literal["sync"] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._engine = new_engine(
            backend,
            config,
            daemon=daemon,
            enable_daemon=enable_daemon,
            functions=functions,
            fallback=fallback,
            clock=clock,
            ctrl_c_elsewhere=self._hands_back_on_ctrl_c,
        )
        self._daemon = JobDaemon.of_engine(self._engine)
        self._web = WebDoor(self, self._engine)

    # -- life

    async def __aenter__(self) -> Self:
        await self._engine.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._engine.stop(error)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """Enter the processor for the lifespan of an ASGI app: ``FastAPI(lifespan=jp.lifespan)``. ``app`` is unused."""
        async with self:
            yield

    # -- submitting

    @overload
    async def submit_job(
        self,
        func: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        job_id: str | None = None,
        depends_on: Any = (),
        require: int | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        limit: tuple[str, int] | Limit | None = None,
        retry: RetryPolicy | None = None,
        max_retries: int | None = None,
        max_interruptions: int | None = None,
        timeout: float | None = None,
        delay: float | None = None,
        run_at: datetime | None = None,
        if_exists: IfExists = "raise",
        isolation: Isolation | None = None,
        local: bool = False,
        **kwargs: Any,
    ) -> JobHandle[T]: ...
    @overload
    async def submit_job(
        self,
        func: Callable[..., T],
        /,
        *args: Any,
        job_id: str | None = None,
        depends_on: Any = (),
        require: int | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        limit: tuple[str, int] | Limit | None = None,
        retry: RetryPolicy | None = None,
        max_retries: int | None = None,
        max_interruptions: int | None = None,
        timeout: float | None = None,
        delay: float | None = None,
        run_at: datetime | None = None,
        if_exists: IfExists = "raise",
        isolation: Isolation | None = None,
        local: bool = False,
        **kwargs: Any,
    ) -> JobHandle[T]: ...
    async def submit_job(self, func: Callable[..., Any], /, *args: Any, **options: Any) -> JobHandle[Any]:
        """Store a call of ``func`` as a job. It is durable when this returns.

        Positional arguments and all keywords that are not options go to ``func``. For a function with a parameter named
        like an option, pass ``args=(…)`` and ``kwargs={…}``. A handle as an argument, or inside lists, tuples and dict
        values of one, is a dependency, and is replaced by the result. In sets, keys and records, handles are refused.

        :param job_id: an id of your choice, 1 to 512 characters. Default: a new one.
        :param depends_on: ids, handles, ``jp.optional(…)`` that must end first, besides those in the arguments.
        :param require: run as soon as this many dependencies completed. Default: all that are not optional.
        :param group: the name of a group of jobs that belong together.
        :param metadata: a dict of JSON values, by which ``find_jobs`` can find the job.
        :param queue: which workers may take it. Default ``"default"``.
        :param priority: higher is taken first (strictly). Default 0.
        :param limit: ``(key, capacity)``: at most this many jobs with this key run at a time, over all processes.
        :param retry: a ``RetryPolicy``. Default: 3 retries after 2, 4 and 8 s.
        :param max_retries: overrides the policy's number.
        :param max_interruptions: the job fails when this many workers have died while they ran it. Default 3.
        :param timeout: seconds an attempt may take. An ``async def`` body is cancelled; a plain function is
            notified (``current_job().cancelled``), and killed if it runs in a separate process.
        :param delay: seconds (or a timedelta) until the job is due.
        :param run_at: an aware datetime at which the job is due.
        :param if_exists: if the id exists already: ``"raise"``, or ``"return"`` that job, provided that function and
            arguments are the same.
        :param isolation: ``"process"``: run in a child process, which a timeout or a cancellation kills, and whose
            crash fails only this job. Default ``"thread"``: run in the process of the worker.
        :param local: accept a lambda or closure. The job runs in this process only, and fails if this process ends.
        :raises SubmissionError: refused, nothing was stored. ConfigurationError: an invalid option.
        :raises BackendConnectionError: not stored; ``.request`` submits it again under the same id.
        """
        return await self._engine.parts().submitter.submit_job(func, args, options)

    async def submit_jobs(
        self, requests: Sequence[JobRequest | GateRequest], *, if_exists: IfExists | None = None
    ) -> list[JobHandle[Any]]:
        """Store jobs and gates, all or nothing; they may refer to each other in any order, by ``job_id``.

        :param if_exists: overrides the ``if_exists`` of each request.
        :raises: as ``submit_job``.
        """
        return await self._engine.parts().submitter.submit_jobs(requests, if_exists)

    @overload
    async def map_jobs(
        self, func: Callable[..., Awaitable[T]], items: Iterable[Any], **options: Any
    ) -> list[JobHandle[T]]: ...
    @overload
    async def map_jobs(self, func: Callable[..., T], items: Iterable[Any], **options: Any) -> list[JobHandle[T]]: ...
    async def map_jobs(self, func: Callable[..., Any], items: Iterable[Any], **options: Any) -> list[JobHandle[Any]]:
        """Store ``func(item)`` for each item as one batch. Options: see ``submit_job``; the rest goes to ``func``."""
        return await self._engine.parts().submitter.map_jobs(func, items, options)

    def batch(self) -> Batch:
        """Collect jobs: ``async with jp.batch() as b: h = b.submit_job(…)`` stores all or nothing at its end."""
        return Batch(self._engine.submissions, self._engine.find_submitter, self._engine)

    def optional(self, job: str) -> Optional:
        """Make an optional dependency: the dependent also runs if the job ends without completing.

        Use it in ``depends_on``, or as an argument, which is replaced by the result (``None`` if there is none).
        """
        return Optional(checked_name("depends_on", job, LONGEST_ID))

    def handle(self, job_id: str, func: Callable[..., T] | None = None) -> JobHandle[T]:
        """Make a handle of a stored job, or one that a batch will store; ``func`` is its function, for its records."""
        return JobHandle(checked_name("job_id", job_id, LONGEST_ID), self._engine, func)

    # -- results

    async def get_result(self, job_id: str) -> Any:
        """Return the result of a job that has completed; do not wait.

        :raises JobStateError: it has not ended yet. JobNotCompletedError: no result (a subclass names the status).
        """
        return await self._engine.parts().queries.get_result(job_id)

    async def wait_for_job(self, job_id: str, timeout: float | None = None) -> Job:
        """Wait until a job has ended, in any way, and return its final snapshot.

        :raises JobNotFoundError: no such job. JobTimeoutError: not within ``timeout`` seconds.
        """
        return await self._engine.parts().queries.wait_for_job(job_id, timeout)

    async def wait_for_results(self, job_ids: Iterable[str], timeout: float | None = None) -> list[JobResult]:
        """Wait until all of these jobs (ids or handles) have ended, however they ended; in their order.

        A failed job raises no error here. A ``JobResult`` has the encoded value; ``get_result`` decodes it.

        :raises JobNotFoundError: no such job. JobTimeoutError: not all of them ended within ``timeout`` seconds.
        """
        return await self._engine.parts().queries.wait_for_results(job_ids, timeout)

    async def drain(self, group: str | None = None, timeout: float | None = None) -> None:
        """Wait until no job (of the group) is pending or in progress.

        :raises JobTimeoutError: not within ``timeout`` seconds.
        :raises CyclicDependencyError: called inside of one of these jobs, or of one that such a job waits for.
        """
        await self._engine.parts().queries.drain(group, timeout)

    # -- asking

    async def get_job(self, job_id: str) -> Job:
        """Return a snapshot of a job. JobNotFoundError: no such job."""
        return await self._engine.parts().queries.get_job(job_id)

    async def get_status(self, job_id: str) -> JobStatus:
        """Return the stored status. JobNotFoundError: no such job."""
        return await self._engine.parts().queries.get_status(job_id)

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return every attempt of a job, the first one first, with its outcome and error."""
        return await self._engine.parts().queries.get_attempts(job_id)

    async def get_arguments(self, job_id: str) -> JobArguments:
        """Return the arguments of a job, ``args`` and ``kwargs``, with handles in place of injected results.

        Records are restored by the annotations of the function if this process has it, otherwise as plain dicts.

        :raises JobNotFoundError: no such job. CorruptValueError, ConversionError: they cannot be read.
        """
        return await self._engine.parts().queries.get_arguments(job_id, self.handle)

    async def get_dependencies(self, job_id: str) -> list[Edge]:
        """Return the dependencies of a job, in the order of submission, with the state of each."""
        return await self._engine.parts().queries.get_dependencies(job_id)

    async def find_jobs(self, query: JobQuery | None = None) -> JobPage:
        """Return a page of jobs: a list, and ``.next``, the cursor of the following page."""
        return await self._engine.parts().queries.find_jobs(query)

    def iter_jobs(self, query: JobQuery | None = None) -> AsyncIterator[Job]:
        """Iterate over all jobs that match, read in pages of ``query.limit``."""
        return self._engine.parts().queries.iter_jobs(query)

    async def get_progress(self, group: str) -> GroupProgress:
        """Count the jobs of a group by status; all zero for a group without jobs."""
        return await self._engine.parts().queries.get_progress(group)

    async def why(self, job_id: str) -> Reason:
        """Return why a job is not running (or that it is): a code for programs, a sentence for people."""
        return await self._engine.parts().queries.why(job_id)

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the workers that the store knows, of all processes."""
        return await self._engine.parts().queries.workers()

    async def poll_status(self, job_id: str) -> StatusReport:
        """Return status, percentage, elapsed seconds, an estimate of the rest, and the result once there is one.

        Only running jobs have an estimate: from their own progress once it is 5 %, else from the median duration of
        recent jobs of the same function if 3 have completed, else None. While the message is ``worker gone``, None.
        """
        return await self._engine.parts().streamer.poll_status(job_id)

    async def poll_batch(self, job_ids: Sequence[str]) -> dict[str, StatusReport | None]:
        """Return ``poll_status`` of several jobs; None for an unknown id. An unreadable result is an ``error``."""
        return await self._engine.parts().streamer.poll_batch(job_ids)

    # -- watching

    def stream_job(self, job_id: str, after: str | None = None, *, types: Types = None) -> AsyncIterator[JobEvent]:
        """Iterate over events of a job: its history after the cursor ``after``, then live; ends when the job has ended.

        :param after: the ``cursor`` of the last event that was seen. Default: from the first one.
        :param types: only events of these types, such as ``["progress", "completed"]``. Default: all.
        :raises JobNotFoundError: no such job. ConfigurationError: ``after`` is not a cursor.
        :raises CyclicDependencyError: read live in the body of a job that the streamed job waits for.
        """
        return self._engine.parts().streamer.stream_job(job_id, after, types)

    def stream_group(self, group: str, after: str | None = None, *, types: Types = None) -> AsyncIterator[JobEvent]:
        """Iterate over events of a group's jobs; ends when all of them have ended.

        :raises CyclicDependencyError: as for ``stream_job``; the calling job may be of the group.
        """
        return self._engine.parts().streamer.stream_group(group, after, types)

    def stream_all(self, after: str | None = None, *, types: Types = None) -> AsyncIterator[JobEvent]:
        """Iterate over all events, without end."""
        return self._engine.parts().streamer.stream_all(after, types)

    def subscribe_sse(
        self,
        *,
        job_id: str | None = None,
        group: str | None = None,
        types: Types = None,
        after: str | None = None,
        ping: float = 15.0,
    ) -> AsyncGenerator[bytes]:
        """Stream frames of server-sent events (of a job, a group, or all), for frameworks without ``sse_response``.

        :param after: the request's ``Last-Event-ID``. Empty: from the first event; an invalid cursor gives ``reset``.
        :param ping: seconds without an event after which a comment keeps the connection alive.
        """
        return self._engine.subscribe_sse(job_id=job_id, group=group, types=types, after=after, ping=ping)

    def sse_response(
        self,
        request: Request,
        *,
        job_id: str | None = None,
        group: str | None = None,
        types: Types = None,
        after: str | None = None,
        plain: bool = False,
    ) -> Response:
        """Stream events (of a job, a group, or all) as the response of a route of your own in Starlette or FastAPI.

        The response is that of ``asgi_app``, with ``Last-Event-ID``. The route decides which callers have access.

        :param after: the cursor of the last event that the page has; the header takes precedence.
        :param plain: send frames without names: each is a ``message``, with its type in the JSON.
        :raises ConfigurationError: both a job and a group. MissingExtraError: the extra ``web`` is not installed.
        """
        return self._web.response(request, job_id=job_id, group=group, types=types, after=after, plain=plain)

    def asgi_app(self, **settings: Unpack[WebSettings]) -> WebApp:
        """Return an ASGI app with jobs, groups, the graph, events (SSE) and actions under ``v1/``, to be mounted.

        :param settings: those of ``asyncjobs.web.WebConfig``. By default, only this machine has access.
        :raises MissingExtraError: the extra ``web`` is not installed.
        """
        return self._web.app(dict(settings))

    def close_streams(self, reason: str = "shutdown") -> None:
        """End all event streams that this processor serves; clients reconnect with their cursors.

        Servers wait for open streams before they stop. With uvicorn this happens by itself; with others, call it first.
        """
        self._web.close_streams(reason)

    # -- controlling

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job, and with ``descendants`` the whole tree of jobs submitted from inside it.

        :returns: the stored status. ``cancelled``: the job will never run (again); ``in_progress``: the job is asked to
            stop, and will end as cancelled; any other: the job had ended before.
        :raises JobNotFoundError: no such job.
        """
        return await self._engine.parts().actions.cancel_job(job_id, descendants=descendants)

    async def cancel_jobs(self, query: JobQuery | None = None, *, group: str | None = None) -> dict[str, JobStatus]:
        """Cancel the unfinished jobs of a group, or of a query (without its limit); returns the status of each."""
        return await self._engine.parts().actions.cancel_jobs(query, group)

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Run a failed or cancelled job again, with fresh counters, and revive those that were skipped because of it.

        :param fresh: start over. Default: resume, with the steps that the job has kept.
        :raises JobNotFoundError: no such job. JobStateError: it is neither failed nor cancelled.
        """
        return await self._engine.parts().actions.retry_job(job_id, fresh=fresh)

    async def remove_jobs(self, jobs: JobQuery | str | Iterable[str], *, components: bool = False) -> list[str]:
        """Remove finished jobs, with their results and events, before their retention is over.

        Connected jobs are removed together: jobs that depend on each other, and jobs with those that they submitted.

        :param jobs: ids, or a query (its limit and cursor are ignored; without a status, it selects finished jobs).
        :param components: also remove all jobs that they are connected with, if these have ended.
        :returns: the ids of the jobs that were removed. Unknown ids are left out.
        :raises JobStateError: one of them, or a connected job, has not ended, or a connected job was not named.
        """
        return await self._engine.parts().actions.remove_jobs(jobs, components=components)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a consistent copy of the store to a new file (mode 0600), while jobs continue to run.

        :raises ConfigurationError: the file exists, cannot be made, or this store is not kept in a file.
        """
        await self.backend.backup(path)

    async def compact(self, patience: float = 10.0) -> int:
        """Return the space of removed jobs to the file system; return by how many bytes the file became smaller.

        No process can write meanwhile, so call it when the load is low. It needs disk space for a second copy.

        :param patience: seconds that it may take. Other writers give up after their ``busy_timeout`` (30 by default).
        :raises BackendError: it takes longer (``compact-timeout``), or the file was locked all the time.
        """
        return await self.backend.compact(patience)

    # -- its parts

    @property
    def daemon(self) -> JobDaemon | None:
        """The embedded daemon, which claims and runs jobs here; None with ``enable_daemon=False``."""
        return None if self._engine.runner is None else self._daemon

    @property
    def streamer(self) -> StatusStreamer:
        """Readers of the event log, for programs that need a timeout or the cursor besides the events."""
        return self._engine.parts().streamer

    @property
    def dag(self) -> JobDAG:
        """The live graph: this process's unfinished jobs that have dependencies. A cache to look at."""
        return self._engine.graph.dag

    @property
    def backend(self) -> JobBackend:
        """The store, for tools: its contract is ``JobBackend``."""
        return self._engine.open_backend()

    @property
    def clock(self) -> Clock:
        """The clock of this processor."""
        return self._engine.settings.clock


def get_engine(jp: JobProcessor) -> Engine:
    """Return the engine behind a processor, for the parts of this package that look behind the facade."""
    return jp._engine  # pyright: ignore[reportPrivateUsage] - of the same module
