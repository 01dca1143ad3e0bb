"""JobProcessor: the facade. It puts the parts together and has no logic of its own."""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from asyncjobs.backends.base import AttemptRef, JobBackend, NewJob
from asyncjobs.backends.select import make_backend
from asyncjobs.backends.transient import enqueue_patiently
from asyncjobs.checks import is_a, listed, refuse_unknown_arguments
from asyncjobs.clock import Clock, clock_of
from asyncjobs.config import BackendConfig, BackendType, DaemonConfig
from asyncjobs.core.child_ids import path_before
from asyncjobs.core.codec import decode_result, result_stand_in
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.exceptions import (
    BackendClosedError,
    BackendConnectionError,
    ConfigurationError,
    JobNotFoundError,
    JobStateError,
)
from asyncjobs.forks import fork_count
from asyncjobs.models import (
    Attempt,
    EventType,
    GroupProgress,
    Isolation,
    Job,
    JobEvent,
    JobPage,
    JobQuery,
    JobRequest,
    JobResult,
    JobStatus,
    Limit,
    Reason,
    WorkerInfo,
    name_text,
)
from asyncjobs.runtime import job_log
from asyncjobs.runtime.argument_checks import id_of, items_of, query_of, requests_of
from asyncjobs.runtime.background import new_background
from asyncjobs.runtime.batch import Batch
from asyncjobs.runtime.context import JobContext, find_current_job
from asyncjobs.runtime.daemon import JobDaemon
from asyncjobs.runtime.events.publisher import EventPublisher
from asyncjobs.runtime.events.streamer import StatusStreamer
from asyncjobs.runtime.fallback import SyncFallback
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.runtime.inside import refuse_to_leave_inside
from asyncjobs.runtime.live_graph import LiveGraph
from asyncjobs.runtime.main_script import refuse_while_loading
from asyncjobs.runtime.no_worker_warning import warn_when_no_worker_lives
from asyncjobs.runtime.reaper import Reaper
from asyncjobs.runtime.reasons import why
from asyncjobs.runtime.result_cache import ResultCache
from asyncjobs.runtime.shutdown import Leaving, warn_of_unfinished
from asyncjobs.runtime.submission import Optional, Submissions, duration, name_of, request_of
from asyncjobs.runtime.suggestions import nearest_id
from asyncjobs.runtime.upkeep import Upkeep
from asyncjobs.runtime.waiting import Waiting, Watch, error_of
from asyncjobs.runtime.wakeups import Home
from asyncjobs.runtime.watcher import watch_others
from asyncjobs.safe_logging import SafeLogger
from asyncjobs.watching import Watching

if TYPE_CHECKING:
    from asyncjobs.core.dag import JobDAG

T = TypeVar("T")
logger = SafeLogger("asyncjobs")

_PAGE = 500
IfExists = Literal["raise", "return"]
Types = Collection[str] | str | None


class JobProcessor(Watching, Upkeep):
    """Submit callables as jobs, and (unless ``enable_daemon=False``) run them here, in the background.

    ::

        async with JobProcessor() as jp:
            plot = await jp.submit_job(write_plot, "noir")
            page = await jp.submit_job(draw_page, plot)
            picture = await page

    :param backend: where jobs are kept: a path (a ``Path``, or a text with a slash or a suffix), a ``BackendType`` or
        its name, a config object (``SQLiteConfig(path=…)``), or a ``JobBackend``. Default: ``asyncjobs.db`` in the
        working directory.
    :param config: settings for a ``BackendType``.
    :param enable_daemon: claim and run jobs in this process. Default True.
    :param daemon: settings of that: slots, queues, allowed modules, times.
    :param functions: functions that this process may run although it did not submit them.
    :param fallback: ``"sync"``: while no worker is alive anywhere, a submit runs its jobs here and returns when they
        have ended. With ``enable_daemon=False``. Default None: they wait for a worker.
    :param clock: for tests.
    :raises ConfigurationError: a setting cannot work.

    Leaving the ``async with`` stops claiming, gives running jobs ``daemon.shutdown_timeout`` seconds, and returns the
    rest to pending; nothing is lost. Jobs that still run may use it to the end of that time; for everybody else, every
    method raises ``BackendClosedError`` outside of the block. On the main thread of a program without a handler of its
    own, SIGTERM leaves the block as Ctrl-C does, and the process then dies of it; a second signal hands back at once.
    """

    _hands_back_on_ctrl_c = False  # for SyncJobs

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        refuse_unknown_arguments(cls, settings)
        return super().__new__(cls)

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
        self._clock = clock_of("clock", clock)
        self._backend, backend_config = make_backend(backend, config, self._clock)
        if daemon is not None and not is_a(daemon, DaemonConfig):
            raise ConfigurationError("daemon", daemon, allowed="a DaemonConfig")
        raw: object = enable_daemon
        if raw is not True and raw is not False:
            raise ConfigurationError("enable_daemon", raw, allowed="True or False")
        self._daemon_config = (DaemonConfig() if daemon is None else daemon) if enable_daemon else None
        self._functions = Functions(daemon.allowed_modules if daemon else None)
        for i, function in enumerate(listed("functions", functions, "functions, in a list")):
            self._functions.register(function, f"functions[{i}]")
        self.backend_config = backend_config
        self._max_value_size = backend_config.max_value_size
        self._attempts = backend_config.attempts
        self._submissions = Submissions(self._functions, self._max_value_size)
        self._graph = LiveGraph()
        self._running = False
        self._leaving = False
        self._submitted = 0
        self._forks = fork_count()
        self._daemon: JobDaemon | None = None
        self._exit: Leaving | None = None
        wanted: object = fallback
        if wanted is not None and (not is_a(wanted, str) or wanted != "sync" or enable_daemon):
            raise ConfigurationError("fallback", fallback, allowed="None, or 'sync' with enable_daemon=False")
        self._fallback_config = None if fallback is None else (daemon or DaemonConfig())
        Watching.__init__(self)

    def run_with(self, backend: BackendConfig, daemon: DaemonConfig) -> None:
        """Take these settings in place of its own, and run jobs: for ``asyncjobs daemon`` (ADR 25). Not while entered.

        :raises BackendClosedError: it is running already.
        """
        if self._running or self._leaving:
            raise BackendClosedError("this JobProcessor is running already", hint="enter it once")
        registered = self._functions.registered.values()
        self._backend, self.backend_config = make_backend(backend, None, self._clock)
        self._max_value_size, self._attempts = backend.max_value_size, backend.attempts
        self._functions = Functions(daemon.allowed_modules)
        for function in registered:
            self._functions.register(function)
        self._submissions = Submissions(self._functions, self._max_value_size)
        self._daemon_config, self._fallback_config = daemon, None

    # -- life

    async def __aenter__(self) -> JobProcessor:
        if self._running or self._leaving:
            raise BackendClosedError("this JobProcessor is running already", hint="enter it once")
        refuse_while_loading()
        self._forks = fork_count()
        self._home = Home()
        await self._backend.open()
        try:
            self._results = ResultCache(self._backend.removals)
            self._publisher = EventPublisher(self._backend, self._clock)
            self._waiting = Waiting(self._backend, self._publisher, self._results, self._clock, self._why)
            self._streamer = StatusStreamer(self._backend, self._publisher, self._clock, inside=self._waiting.streaming)
            self._fallback = self._make_fallback()
            self._backend.set_listener(self._committed)
            self._stopping = anyio.Event()
            self._background = new_background()
            await self._background.start(self._run, self._stopping.set)
        except BaseException as error:
            self._backend.set_listener(None)
            await self._backend.close()
            leaving, self._exit = self._exit, None
            if leaving is not None:
                leaving.end(error)
            raise
        self._running = True
        return self

    async def _run(self, started: Callable[[], None]) -> None:
        """Everything that runs beside the user's code. Shielded: a cancelled user still gets an orderly shutdown."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                self._beside = tasks
                tasks.start_soon(self._publisher.run)
                if self._daemon_config is not None:
                    daemon = self._new_daemon(self._daemon_config)
                    await daemon.start(tasks)
                    self._daemon = daemon
                    self._waiting.worker = daemon.worker
                    self._exit = Leaving(
                        daemon, self._background, self._begin_to_leave, self._clock, ctrl_c=self._hands_back_on_ctrl_c
                    )
                    tasks.start_soon(self._exit.listen)
                tasks.start_soon(watch_others, self._backend, self._publisher, self._daemon, self._clock)
                tasks.start_soon(self._waiting.warn_forever)
                tasks.start_soon(self._graph.run, self._backend, self._clock)
                if self._daemon is None:
                    tasks.start_soon(Reaper(self._backend, self._clock).run)
                    if self._fallback is None:  # which says so itself
                        tasks.start_soon(self._warn_when_no_worker_lives)
                started()
                await self._stopping.wait()
                if self._daemon is not None and self._exit is not None:
                    tasks.start_soon(self._exit.watch)
                    await self._daemon.stop()
                self._running = False
                tasks.cancel_scope.cancel()
            if self._exit is not None:
                self._exit.end_alone()

    async def _warn_when_no_worker_lives(self) -> None:
        await warn_when_no_worker_lives(
            self._backend,
            self._clock,
            awaited=self._waiting.find_suspicious,
            followed=lambda: self._publisher.listened_to,
        )

    def _make_fallback(self) -> SyncFallback | None:
        config = self._fallback_config
        if config is None:
            return None

        def new_daemon() -> JobDaemon:
            daemon = self._new_daemon(config)
            self._waiting.worker = daemon.worker
            return daemon

        return SyncFallback(self._backend, self._streamer, new_daemon)

    def _new_daemon(self, config: DaemonConfig) -> JobDaemon:
        daemon = JobDaemon(
            self._backend,
            config,
            self._clock,
            functions=self._functions,
            publisher=self._publisher,
            results=self._results,
            submit=self._submit_child,
            max_value_size=self._max_value_size,
        )
        daemon.worker.jobs = self
        return daemon

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if fork_count() != self._forks:
            return None  # a forked child leaves its parent's processor alone
        refuse_to_leave_inside(self._waiting.worker)
        self._begin_to_leave(error)
        try:
            return await self._background.join(error)
        finally:
            with anyio.CancelScope(shield=True):
                self._running = False
                if self._submitted and not isinstance(error, anyio.get_cancelled_exc_class()):
                    await warn_of_unfinished(self._backend)
                self._publisher.close()
                self._backend.set_listener(None)
                try:
                    await self._backend.close()
                finally:
                    self._daemon = None
                    self._leaving = False
                    leaving, self._exit = self._exit, None
                    if leaving is not None:
                        leaving.end(error)

    def _begin_to_leave(self, error: BaseException | None = None) -> None:
        self._leaving = True
        if self._exit is not None:
            self._exit.begin(error)
        if self._daemon is not None:
            self._daemon.close()
        self.close_streams()
        self._stopping.set()

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """For ASGI apps: ``FastAPI(lifespan=jp.lifespan)``. ``app`` is not looked at."""
        async with self:
            yield

    def _committed(self, events: Sequence[JobEvent]) -> None:
        if self._daemon is not None:
            self._daemon.worker.committed(events)
            for event in events:
                if event.type == EventType.CANCEL_REQUESTED:
                    self._daemon.worker.request_cancel(event.job_id, event.attempt)
        self._functions.local.committed(events)
        self._graph.ended(events)
        self._publisher.publish(events)

    def _not_entered(self) -> BackendClosedError:
        if find_current_job() is None:
            return BackendClosedError()
        return BackendClosedError(
            "this JobProcessor is not entered in this process",
            hint="in a job: current_job().submit_job(…), and the handles that it returns",
        )

    def _called_elsewhere(self) -> BackendClosedError:
        if find_current_job() is not None:
            hint = "in a plain function that runs as a job: current_job().submit_job_sync(…), handle.result_sync()"
        else:
            hint = (
                "from another thread: asyncio.run_coroutine_threadsafe(jp.submit_job(…), loop).result(), with the loop "
                "that entered it; or SyncJobs, which any thread may call; another loop enters a JobProcessor of its own"
            )
        return BackendClosedError("this JobProcessor was entered in another event loop or thread", hint=hint)

    def _removed(self, job_ids: list[str]) -> None:
        self._functions.local.seen(job_ids, {})
        self._graph.removed(job_ids)

    def _open(self) -> JobBackend:
        if fork_count() != self._forks:
            raise BackendClosedError(
                "this JobProcessor belongs to the parent process",
                hint="open a JobProcessor of its own in a forked child",
            )
        if not self._running:
            raise self._not_entered()
        if not self._home.is_here():
            raise self._called_elsewhere()
        if self._leaving and not self._is_running(find_current_job()):
            raise BackendClosedError(
                "this JobProcessor is shutting down: only the jobs that still run may use it",
                hint="do this before the block of 'async with JobProcessor() as jp:' is left",
                leaving=True,
            )
        return self._backend

    def _is_running(self, context: JobContext | None) -> bool:
        """Return whether this is the context of a job whose body runs here now, in whatever thread or process."""
        return context is not None and self._daemon is not None and self._daemon.worker.runs(context)

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

        Positional arguments and every keyword that is not an option go to ``func``; a callee with a parameter named
        like an option gets its arguments by ``args=(…)`` and ``kwargs={…}``. A handle as an argument, or inside lists,
        tuples and dict values of one, is a dependency, and its result is put in its place. In sets, keys and records it
        is refused.

        :param job_id: your own id, 1 to 512 characters. Default: a fresh one.
        :param depends_on: ids, handles, ``jp.optional(…)`` that must end first, besides those in the arguments.
        :param require: run as soon as this many dependencies completed. Default: all that are not optional.
        :param group: a name that jobs which belong together share.
        :param metadata: a dict of JSON values to find it by.
        :param queue: which workers may take it. Default ``"default"``.
        :param priority: higher is taken first (strictly). Default 0.
        :param limit: ``(key, capacity)``: at most so many jobs of this key are in progress, over all processes.
        :param retry: a ``RetryPolicy``. Default: 3 retries after 2, 4 and 8 s.
        :param max_retries: overrides the policy's number.
        :param max_interruptions: times its worker may die under it before it fails. Default 3.
        :param timeout: seconds an attempt may take. An ``async def`` body is cancelled; a plain function is told, and
            killed if it has a process of its own.
        :param delay: seconds (or a timedelta) before it is due.
        :param run_at: an aware datetime when it is due.
        :param if_exists: what if the id is taken: ``"raise"``, or ``"return"`` the job that has it, provided that
            function and arguments are the same.
        :param isolation: ``"process"``: a process of its own, which a timeout or a cancellation kills, and whose crash
            is this job's failure only. Default ``"thread"``: in the worker's process.
        :param local: accept a lambda or closure; it runs in this process only, and fails if this process ends first.
        :raises SubmissionError: refused, nothing was stored; ConfigurationError: an option cannot work.
        :raises BackendConnectionError: not stored; ``.request`` submits it again under the same id.
        """
        request = request_of(func, args, options)
        if "args" not in options and "kwargs" not in options:
            self._submissions.check_options(func)
        ids = await self._store([request])
        return JobHandle(ids[0], self, result_stand_in(func, local=request.local))

    async def submit_jobs(
        self, requests: Sequence[JobRequest], *, if_exists: IfExists | None = None
    ) -> list[JobHandle[Any]]:
        """Store a batch, all or nothing; its members may refer to each other in any order, by ``job_id``.

        :param if_exists: overrides what each request says.
        :raises: as ``submit_job``.
        """
        requests = requests_of(requests)
        if if_exists is not None:
            requests = [replace(request, if_exists=if_exists) for request in requests]
        ids = await self._store(requests)
        return [
            JobHandle(job_id, self, result_stand_in(request.func, local=request.local))
            for job_id, request in zip(ids, requests, strict=True)
        ]

    async def map_jobs(self, func: Callable[..., Any], items: Iterable[Any], **options: Any) -> list[JobHandle[Any]]:
        """``func(item)`` for each item, as one batch. Options as in ``submit_job``; other keywords go to ``func``."""
        requests = [request_of(func, (item,), dict(options)) for item in items_of(items)]
        return await self.submit_jobs(requests) if requests else []

    def batch(self) -> Batch[JobHandle[Any]]:
        """``async with jp.batch() as b: h = b.submit_job(…)``: all of it is stored, or nothing, when it is left."""

        async def store(requests: Sequence[JobRequest], ids: Sequence[str]) -> None:
            await self._store(requests, ids=ids)

        def handle(job_id: str, func: Callable[..., Any], local: bool) -> JobHandle[Any]:
            return JobHandle(job_id, self, result_stand_in(func, local=local))

        return Batch(self._submissions, store, handle)

    def optional(self, job: str) -> Optional:
        """A job that may end otherwise than completed without holding its dependents back.

        In ``depends_on``; or as an argument (also inside lists, tuples and dict values), where its result is put in its
        place, or ``None`` if it did not complete.
        """
        return Optional(name_of("depends_on", job, 512))

    def handle(self, job_id: str, func: Callable[..., T] | None = None) -> JobHandle[T]:
        """A handle for a stored job (or one that a batch will store), made from its id.

        :param func: its function, if the result is to come back as the dataclass that it returns.
        """
        return JobHandle(name_of("job_id", job_id, 512), self, func)

    async def _store(
        self,
        requests: Sequence[JobRequest],
        *,
        ids: Sequence[str] | None = None,
        parent: AttemptRef | None = None,
    ) -> Sequence[str]:
        backend = self._open()
        owner = self._daemon.worker.id if self._daemon is not None else None
        jobs: list[NewJob] = []
        for i, request in enumerate(requests):
            jobs.append(self._submissions.encode(request, owner, None if ids is None else ids[i]))
            if i % _PAGE == _PAGE - 1:
                await anyio.lowlevel.checkpoint()  # the loop has others to serve, too
        in_graph = await self._graph.add(jobs)
        for request, job in zip(requests, jobs, strict=True):
            self._submissions.vouch(request, job)
        local = [job.id for job in jobs if job.owner is not None]
        try:
            stored = await enqueue_patiently(
                backend, jobs, parent, attempts=self._attempts, clock=self._clock, trying=self._nudge
            )
        except BaseException as error:
            self._graph.drop(in_graph)
            if isinstance(error, Exception):
                self._functions.local.refused(local)
            else:  # cancelled, they may be stored nevertheless
                self._functions.local.stored(local)
            if isinstance(error, BackendConnectionError):
                error.request = [replace(request, job_id=job.id) for request, job in zip(requests, jobs, strict=True)]
            raise
        self._functions.local.stored(local)
        self._submitted += len(jobs)
        job_log.submitted(jobs)
        if self._fallback is not None and parent is None:
            await self._fallback.run(stored)
        return stored

    async def _submit_child(
        self, parent: AttemptRef, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> JobHandle[Any]:
        options["if_exists"] = "return"  # what an earlier attempt submitted is there already
        options["job_id"] = await self._stored_child(parent, options["job_id"])
        request = request_of(func, args, options)
        self._submissions.check_options(func)
        ids = await self._store([request], parent=parent)
        return JobHandle(ids[0], self, result_stand_in(func, local=request.local))

    async def _stored_child(self, parent: AttemptRef, job_id: str) -> str:
        """The id of a child, or the longer one that an attempt under an earlier version gave it."""
        before = path_before(parent.job_id, job_id) if parent.attempt > 1 else None
        return job_id if before is None or await self._open().get_job(before) is None else before

    async def submit_encoded(self, parent: AttemptRef, job: NewJob) -> str:
        """For bodies in processes of their own: store a child of their job, which they have encoded there."""
        backend = self._open()
        job = replace(job, id=await self._stored_child(parent, job.id))
        in_graph = await self._graph.add([job])
        try:
            (job_id,) = await backend.enqueue_jobs([job], parent=parent)
        except BaseException:
            self._graph.drop(in_graph)
            raise
        self._nudge()
        self._submitted += 1
        return job_id

    # -- results

    async def get_result(self, job_id: str) -> Any:
        """The result of a job that has completed; does not wait.

        :raises JobNotFoundError: no such job. JobStateError: it has not ended yet. JobNotCompletedError: it ended
            without a result (its subclass says how).
        """
        return self.value_of(await self.get_stored_result(job_id), None)

    async def get_stored_result(self, job_id: str) -> JobResult:
        """``get_result``, still encoded: for tools that pass it on.

        :raises: as ``get_result``.
        """
        job_id = id_of(job_id)
        result = (await self._open().get_results([job_id])).get(job_id)
        if result is None:
            raise await self._not_found(job_id)
        if not result.status.terminal:
            raise JobStateError(job_id, result.status, "it has no result yet", hint="await handle waits for it")
        if result.status is not JobStatus.COMPLETED:
            raise error_of(result)
        return result

    async def wait_for_job(self, job_id: str, timeout: float | None = None) -> Job:
        """Wait until a job has ended, however it ended, and return it as it is then.

        :raises JobNotFoundError: no such job. JobTimeoutError: not within ``timeout`` seconds.
        """
        await self.ended(job_id, timeout)
        return await self.get_job(job_id)

    async def ended(self, job_id: str, timeout: float | None) -> JobResult:
        """For handles: the end of a job."""
        self._open()
        if timeout is not None:
            timeout = duration("timeout", timeout)
        try:
            return await self._waiting.result(id_of(job_id), timeout)
        except JobNotFoundError:
            raise await self._not_found(id_of(job_id)) from None

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch:
        """For ``gather`` and ``as_completed``: the ends of several jobs as they come."""
        self._open()
        return self._waiting.watch(job_ids, None if timeout is None else duration("timeout", timeout))

    def value_of(self, result: JobResult, func: Callable[..., Any] | None) -> Any:
        """For handles: the value of an end, or its error raised."""
        if result.status is not JobStatus.COMPLETED:
            raise error_of(result)
        if result.value is None:
            return None
        if func is None:  # not "or": a callable need not have a truth value
            func = self._functions.get(result.function, result.job_id)
        return decode_result(result.value, func)

    # -- asking

    async def get_job(self, job_id: str) -> Job:
        """A snapshot of a job. JobNotFoundError: no such job."""
        job_id = id_of(job_id)  # a handle is one, too
        job = await self._open().get_job(job_id)
        if job is None:
            raise await self._not_found(job_id)
        return job

    async def _not_found(self, job_id: str) -> JobNotFoundError:
        return JobNotFoundError(job_id, near=await nearest_id(self._backend, job_id))

    async def get_status(self, job_id: str) -> JobStatus:
        """The stored status. JobNotFoundError: no such job."""
        return (await self.get_job(job_id)).status

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Every attempt of a job, the first one first, with its outcome and error."""
        await self.get_job(job_id)
        return await self._backend.get_attempts(id_of(job_id))

    async def find_jobs(self, query: JobQuery | None = None) -> JobPage:
        """A page of jobs: a list, and ``.next``, the cursor of the following page."""
        query = query_of(query)
        if query.ids is not None:
            query = replace(query, ids=[name_text(job_id) for job_id in query.ids])
        return await self._open().find_jobs(query)

    async def get_progress(self, group: str) -> GroupProgress:
        """How far a group is; all zero for a group without jobs."""
        counts = await self._open().count_jobs(name_of("group", group))
        return GroupProgress(group, sum(counts.values()), dict(counts))

    async def why(self, job_id: str) -> Reason:
        """Why a job is not running (or that it is): a code for programs, a sentence for people."""
        return await why(self._backend, self._clock, await self.get_job(job_id))

    async def _why(self, job_id: str) -> Reason:
        return await self.why(job_id)

    async def workers(self) -> Sequence[WorkerInfo]:
        """The workers that the store knows, of all processes."""
        return await self._open().workers()

    @property
    def dag(self) -> JobDAG:
        """The live graph: this process's unfinished jobs that have dependencies. A cache to look at."""
        return self._graph.dag

    # -- deciding

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job, and with ``descendants`` those submitted from inside it, and theirs.

        Returns the truth as stored: ``cancelled``, it will never run (again); ``in_progress``, it is asked to stop,
        and whatever it does, ends as cancelled; anything else, it had ended before. JobNotFoundError: no such job.
        A job whose worker's process is gone has nobody to be asked: it is cancelled.
        """
        job_id = id_of(job_id)
        statuses = await self._cancel([job_id], descendants=descendants)
        self._nudge()
        if job_id not in statuses:
            raise await self._not_found(job_id)
        return statuses[job_id]

    async def _cancel(self, job_ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        backend = self._open()
        statuses = dict(await backend.cancel_jobs(job_ids, descendants=descendants))
        asked = [job_id for job_id, status in statuses.items() if status is JobStatus.IN_PROGRESS]
        # A stored request makes the reaping of a dead attempt its cancellation. Nobody else may come to do it.
        if asked and await backend.reap(expired=False):
            statuses |= {job.id: job.status for job in await backend.get_jobs(asked)}
        return statuses

    async def cancel_jobs(self, query: JobQuery | None = None, *, group: str | None = None) -> dict[str, JobStatus]:
        """Cancel every unfinished job of a group, or that a query finds (its limit and cursor do not matter).

        Returns the status each has then, as ``cancel_job`` does.
        """
        if (query is None) == (group is None):
            raise ConfigurationError("cancel_jobs", None, problem="give cancel_jobs a query or a group, and not both")
        backend = self._open()
        wanted = JobQuery(group=name_of("group", group)) if query is None else query_of(query)
        if wanted.status is None:
            wanted = replace(wanted, status=[JobStatus.PENDING, JobStatus.IN_PROGRESS])
        statuses: dict[str, JobStatus] = {}
        cursor: str | None = None
        while True:
            page = await backend.find_jobs(replace(wanted, limit=_PAGE, cursor=cursor, order="oldest"))
            if page:
                statuses.update(await self._cancel([job.id for job in page]))
            self._nudge()
            cursor = page.next
            if cursor is None:
                return statuses

    async def retry_job(self, job_id: str) -> JobStatus:
        """Run a failed or cancelled job again, with fresh counters, and revive those that were skipped because of it.

        :raises JobNotFoundError: no such job. JobStateError: it is neither failed nor cancelled.
        """
        try:
            status = await self._open().retry_job(id_of(job_id))
        except JobNotFoundError:
            raise await self._not_found(id_of(job_id)) from None
        self._nudge()
        return status

    def _nudge(self) -> None:
        """What is stored now, or was decided by hand, may make jobs ready."""
        if self._daemon is not None:
            self._daemon.scheduler.nudge()

    async def drain(self, group: str | None = None, timeout: float | None = None) -> None:
        """Wait until no job (of the group) is pending or in progress.

        :raises JobTimeoutError: not within ``timeout`` seconds.
        :raises CyclicDependencyError: called inside of one of these jobs, or of one that such a job waits for.
        """
        self._open()
        group = None if group is None else name_of("group", group)
        await self._waiting.drain(group, None if timeout is None else duration("timeout", timeout))

    # -- its parts

    @property
    def streamer(self) -> StatusStreamer:
        """Gives readers of the event log, for programs that need a timeout or the cursor besides the events."""
        self._open()
        return self._streamer

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run this beside the jobs, until it ends or the processor is left."""
        self._open()

        async def run() -> None:
            try:
                await function()
            except Exception as error:  # border: it would cancel the program's own block
                logger.error("%r beside the jobs failed: %s", function, error, exc_info=error)

        self._beside.start_soon(run)

    @property
    def daemon(self) -> JobDaemon | None:
        """What claims and runs jobs here, while the processor is entered; None with ``enable_daemon=False``."""
        return self._daemon

    @property
    def backend(self) -> JobBackend:
        """The store, for tools: its contract is ``JobBackend``."""
        return self._open()

    @property
    def clock(self) -> Clock:
        """The clock that it was given."""
        return self._clock

    @property
    def registered(self) -> Mapping[str, Callable[..., Any]]:
        """What was given as ``functions=``, by the names under which they are stored."""
        return self._functions.registered
