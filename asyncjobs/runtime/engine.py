"""Run the parts of a processor from the moment it is entered until it has been left."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, nullcontext
from typing import Any

import anyio
from anyio.abc import TaskGroup

from asyncjobs.backends.base import AttemptRef, JobBackend, NewJob
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.core.requests import AskedGate
from asyncjobs.exceptions import BackendClosedError
from asyncjobs.forks import fork_count
from asyncjobs.models import JobEvent, JobResult, JobStatus
from asyncjobs.runtime.answer_types import AnswerType, ReadBy
from asyncjobs.runtime.background import new_background
from asyncjobs.runtime.context import JobContext, find_current_job
from asyncjobs.runtime.events.frames import STOPPING_RETRY, control
from asyncjobs.runtime.events.publisher import EventPublisher
from asyncjobs.runtime.executor import Executor
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.runtime.inside import refuse_to_leave_inside
from asyncjobs.runtime.live_graph import LiveGraph
from asyncjobs.runtime.main_script import refuse_while_loading
from asyncjobs.runtime.no_worker_warning import warn_when_no_worker_lives
from asyncjobs.runtime.parts import EngineSettings, Parts
from asyncjobs.runtime.preload import exclude_from_collections, preload
from asyncjobs.runtime.reaper import Reaper
from asyncjobs.runtime.runner import Runner
from asyncjobs.runtime.shutdown import Leaving, warn_of_unfinished
from asyncjobs.runtime.submission import Submissions
from asyncjobs.runtime.submitter import Submitter
from asyncjobs.runtime.waiting import Watch
from asyncjobs.runtime.wakeups import Home
from asyncjobs.runtime.watcher import watch_others
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")


class Engine:
    """The life of a processor, and the access to its parts.

    Handles and the bodies in child processes hold an engine rather than a processor.
    """

    def __init__(
        self,
        backend: JobBackend,
        functions: Functions,
        settings: EngineSettings,
        publisher: EventPublisher | None = None,
    ) -> None:
        self.backend: JobBackend = backend
        self.functions: Functions = functions
        self.settings: EngineSettings = settings
        self.graph: LiveGraph = LiveGraph()
        self.submissions: Submissions = Submissions(functions, settings.backend_config.max_value_size)
        self._publisher = publisher
        self._starting = self._entered = self._leaving = False
        self._forks = fork_count()
        self._on_leave: list[Callable[[], None]] = []
        self._parts: Parts | None = None
        self._runner: Runner | None = None
        self.last_runner: Runner | None = None
        """The worker that runs jobs here, or ran them when the processor was entered last."""
        self._exit: Leaving | None = None
        self._given_up = False
        self._stop_listening: Callable[[], None] = lambda: None

    def run_with(self, backend: JobBackend, functions: Functions, settings: EngineSettings) -> None:
        """Replace the store and the settings: for ``asyncjobs daemon`` (ADR 25).

        :raises BackendClosedError: it is entered already.
        """
        self._refuse_twice()
        self.backend = backend
        self.functions = functions
        self.settings = settings
        self.submissions = Submissions(functions, settings.backend_config.max_value_size)

    # -- life

    def _refuse_twice(self) -> None:
        if self._entered or self._leaving or self._starting:
            raise BackendClosedError("this JobProcessor is running already", hint="enter it once")

    async def start(self) -> None:
        """Import the modules to preload, open the store and start the background.

        :raises BackendClosedError: it is entered already.
        :raises ConfigurationError: a module of ``DaemonConfig.preload`` cannot be imported.
        """
        self._refuse_twice()
        refuse_while_loading()
        self._starting = True
        try:
            await self._start()
        finally:
            self._starting = False

    async def _start(self) -> None:
        self._forks = fork_count()
        self._given_up = False
        self._home = Home()
        worker = self.settings.worker
        if worker is not None and worker.preload:
            await preload(worker.preload, freeze=self.settings.owns_process)
        await self.backend.open()
        try:
            self._parts = Parts(
                self.backend,
                self.submissions,
                self.functions,
                self.graph,
                self.settings,
                jobs=self,
                runner=lambda: self._runner,
            )
            self._stop_listening = self.backend.add_listener(self._committed)
            self._stopping = anyio.Event()
            self._background = new_background()
            await self._background.start(self._run, self._stopping.set)
        except BaseException as error:
            self._stop_listening()
            with anyio.CancelScope(shield=True):
                await self.backend.close()
            leaving, self._exit = self._exit, None
            if leaving is not None:
                leaving.end(error)
            raise
        if self.settings.owns_process:
            exclude_from_collections()
        self._entered = True

    async def _run(self, started: Callable[[], None]) -> None:
        """Run everything beside the user's code. Shielded: a cancelled user still gets an orderly shutdown.

        The shield is anyio's: ``task.cancel()``, as in a program that cancels all tasks of its loop, bypasses it.
        """
        self._started = self._ended_in_order = False
        with anyio.CancelScope(shield=True):
            try:
                await self._run_parts(started)
            except anyio.get_cancelled_exc_class():
                if not self._started:
                    raise
            if self._started and not self._ended_in_order:
                await self._give_up()
            if self._exit is not None:
                self._exit.end_alone()

    async def _give_up(self) -> None:
        """End the life of a processor whose tasks the program has cancelled: log it, refuse callers, hand jobs back."""
        self._given_up = True
        logger.error("the program has cancelled the tasks of this JobProcessor: jobs go back to the store, calls fail")
        parts = self._life()
        parts.waiting.fail(_background_cancelled)
        if parts.fallback is not None:
            parts.fallback.fail(_background_cancelled)
        for call in self._on_leave:
            call()
        if self._runner is not None:
            await self._runner.give_up()

    async def _run_parts(self, started: Callable[[], None]) -> None:
        parts, settings = self._life(), self.settings
        # Entered and left by one task: on trio it may have a nursery.
        async with self._publisher or nullcontext(), anyio.create_task_group() as tasks:
            self._beside = tasks
            tasks.start_soon(parts.tail.run)
            await self._start_runner(tasks)
            tasks.start_soon(watch_others, self.backend, parts.tail, settings.clock, settings.worker, parts.find_runner)
            tasks.start_soon(parts.waiting.warn_forever)
            tasks.start_soon(parts.deadlines.run)
            tasks.start_soon(self.graph.run, self.backend, settings.clock)
            if self._runner is None:
                tasks.start_soon(Reaper(self.backend, settings.clock).run)
                if parts.fallback is None:
                    tasks.start_soon(self._warn_when_no_worker_lives)
                else:  # which warns itself
                    tasks.start_soon(parts.fallback.serve)
                    tasks.start_soon(parts.fallback.run_left)
            self._started = True
            started()
            await self._stopping.wait()
            if self._exit is not None:
                tasks.start_soon(self._exit.watch)
            if self._runner is not None:
                await self._runner.stop()
            if parts.fallback is not None:
                await parts.fallback.close()
            self._entered = False
            self._ended_in_order = True
            tasks.cancel_scope.cancel()

    async def _start_runner(self, tasks: TaskGroup) -> None:
        """Run jobs here, always or at their submit, and listen for the signals that end this."""
        if self.settings.daemon is not None:
            self._runner = self.last_runner = runner = self._life().new_runner(self.settings.daemon)
            await runner.start(tasks)
        config = self.settings.worker
        if config is None:
            return
        self._exit = Leaving(
            self._life().find_runner,
            config.shutdown_timeout,
            self._background,
            self.begin_to_leave,
            self.settings.clock,
            ctrl_c=self.settings.ctrl_c_elsewhere,
        )
        tasks.start_soon(self._exit.listen)

    async def _warn_when_no_worker_lives(self) -> None:
        parts = self._life()
        await warn_when_no_worker_lives(
            self.backend,
            self.settings.clock,
            awaited=parts.waiting.find_suspicious,
            followed=lambda: parts.tail.listened_to,
        )

    async def stop(self, error: BaseException | None) -> bool | None:
        """Leave: stop claiming, drain, close the store.

        :param error: the error with which the block of the program ends, or None.
        :returns: True if that error was handled, and must not propagate.
        """
        if fork_count() != self._forks:
            return None  # a forked child leaves its parent's processor alone
        parts = self._life()
        refuse_to_leave_inside(parts.find_executor())
        self.begin_to_leave(error)
        try:
            return await self._background.join(error)
        finally:
            with anyio.CancelScope(shield=True):
                self._entered = False
                if parts.submitter.submitted and not isinstance(error, anyio.get_cancelled_exc_class()):
                    await warn_of_unfinished(self.backend)
                parts.tail.close()
                self._stop_listening()
                try:
                    await self.backend.close()
                finally:
                    self._runner = None
                    self._leaving = False
                    leaving, self._exit = self._exit, None
                    if leaving is not None:
                        leaving.end(error)

    def begin_to_leave(self, error: BaseException | None = None) -> None:
        """Stop claiming, end event streams, and begin to drain in the background."""
        self._leaving = True
        if self._exit is not None:
            self._exit.begin(error)
        runner = self._life().find_runner()
        if runner is not None:
            runner.close()
        for call in self._on_leave:
            call()
        self._stopping.set()

    def on_leave(self, call: Callable[[], None]) -> None:
        """Register a function that is called whenever the program begins to leave the processor."""
        self._on_leave.append(call)

    # -- access

    @property
    def runner(self) -> Runner | None:
        """The worker that runs jobs here, while there is one."""
        return self._runner

    def find_executor(self) -> Executor | None:
        """Return the executor that runs bodies here now, also for a submit whose jobs run here."""
        return self._life().find_executor()

    def give_back(self) -> None:
        """Do not wait for running jobs: hand them back to pending, now if it is stopping, otherwise once it stops."""
        runner = self._life().find_runner()
        if runner is not None:
            runner.give_back()

    def _life(self) -> Parts:
        assert self._parts is not None, "the engine has been started"
        return self._parts

    def parts(self) -> Parts:
        """Return the parts, for callers that are allowed to use them.

        :raises BackendClosedError: it is not entered, belongs to another process, loop or thread, or is being left and
            the caller is not a job that still runs.
        """
        self.check_entered()
        if not self._home.is_here():
            raise _called_elsewhere()
        if self._given_up:
            raise _background_cancelled()
        if self._leaving and not self.runs(find_current_job()):
            raise BackendClosedError(
                "this JobProcessor is shutting down: only the jobs that still run may use it",
                hint="do this before the block of 'async with JobProcessor() as jp:' is left",
                leaving=True,
            )
        return self._life()

    def check_entered(self) -> None:
        """Make sure that the processor is entered, in this process. BackendClosedError: it is not."""
        if fork_count() != self._forks:
            raise BackendClosedError(
                "this JobProcessor belongs to the parent process",
                hint="open a new JobProcessor in a forked child",
            )
        if not self._entered:
            raise _not_entered()

    def runs(self, context: JobContext | None) -> bool:
        """Return whether this is the context of a job whose body runs here now, in any thread or process."""
        executor = self._life().find_executor()
        return context is not None and executor is not None and executor.runs(context)

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run a function beside the jobs, until it ends or the processor is left."""
        self.parts()

        async def run() -> None:
            try:
                await function()
            except Exception as error:  # border: it would cancel the program's own block
                logger.error("background function %r failed: %s", function, error, exc_info=error)

        self._beside.start_soon(run)

    def _committed(self, events: CommittedEvents) -> None:
        self._life().committed(events)

    def open_backend(self) -> JobBackend:
        """Return the store, for callers that are allowed to use it: see ``parts``."""
        self.parts()
        return self.backend

    def find_submitter(self) -> Submitter:
        """Return the submitter, for callers that are allowed to use it: see ``parts``."""
        return self.parts().submitter

    # -- for handles, and for bodies in child processes

    async def submit_child(
        self, parent: AttemptRef, func: Callable[..., Any] | None, args: tuple[Any, ...], options: dict[str, Any]
    ) -> JobHandle[Any]:
        """Store a job that a body submits, as a child of its job."""
        return await self.parts().submitter.submit_child(parent, func, args, options)

    async def submit_encoded(self, parent: AttemptRef, job: NewJob) -> str:
        """Store a child that was encoded in a child process."""
        return await self.parts().submitter.submit_encoded(parent, job)

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob, answer_type: AnswerType | None) -> AskedGate:
        """Open the gate of a question that a body asks, or find it."""
        return await self.parts().questions.ask_gate(attempt, gate, answer_type)

    async def wait_for_answer(self, context: JobContext, gate_id: str, *, park: bool) -> JobResult | None:
        """Wait for the end of a gate, or park the job on it: see ``AskAccess``."""
        return await self.parts().questions.wait_for_answer(context, gate_id, park=park)

    async def wait_until_ended(self, job_id: str, timeout: float | None) -> JobResult:
        """Wait for the end of a job."""
        return await self.parts().queries.wait_until_ended(job_id, timeout)

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch:
        """Begin to wait for several jobs, in the order in which they end."""
        return self.parts().queries.watch(job_ids, timeout)

    def value_of(self, result: JobResult, func: ReadBy | None) -> Any:
        """Return the value of a job's result, or raise its error."""
        return self._life().queries.value_of(result, func)

    async def get_status(self, job_id: str) -> JobStatus:
        """Return the stored status."""
        return await self.parts().queries.get_status(job_id)

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job: see ``JobProcessor.cancel_job``."""
        return await self.parts().actions.cancel_job(job_id, descendants=descendants)

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Run a failed or cancelled job again: see ``JobProcessor.retry_job``."""
        return await self.parts().actions.retry_job(job_id, fresh=fresh)

    async def answer_job(self, job_id: str, value: Any, by: object, answer_type: Any) -> JobStatus:
        """Answer a gate: see ``JobProcessor.answer_job``."""
        return await self.parts().gates.answer_job(job_id, value, by, answer_type)

    async def reject_job(self, job_id: str, reason: object, by: object) -> JobStatus:
        """Reject a gate: see ``JobProcessor.reject_job``."""
        return await self.parts().gates.reject_job(job_id, reason, by)

    def stream_job(self, job_id: str, after: str | None = None) -> AsyncIterator[JobEvent]:
        """Return the events of a job."""
        return self.parts().streamer.stream_job(job_id, after)

    async def subscribe_sse(self, **wanted: Any) -> AsyncGenerator[bytes]:
        """Stream frames of server-sent events; while the processor is being left, only the frame ``bye``."""
        try:
            streamer = self.parts().streamer
        except BackendClosedError as error:
            if not error.leaving:
                raise
            yield control("named", "bye", reason="shutdown", retry=STOPPING_RETRY)
            return
        async with aclosing(streamer.subscribe_sse(**wanted)) as frames:
            async for frame in frames:
                yield frame


def _not_entered() -> BackendClosedError:
    if find_current_job() is None:
        return BackendClosedError()
    return BackendClosedError(
        "this JobProcessor is not entered in this process",
        hint="in a job: current_job().submit_job(…), and the handles that it returns",
    )


def _background_cancelled() -> BackendClosedError:
    return BackendClosedError(
        "the program has cancelled the tasks of this JobProcessor",
        hint="cancel only your own tasks; to continue, leave the block and enter it again",
    )


def _called_elsewhere() -> BackendClosedError:
    if find_current_job() is not None:
        hint = "in a plain function that runs as a job: current_job().submit_job_sync(…), handle.result_sync()"
    else:
        hint = (
            "from another thread: asyncio.run_coroutine_threadsafe(jp.submit_job(…), loop).result(), with the loop "
            "that entered it; or SyncJobs, which any thread may call; another loop enters a JobProcessor of its own"
        )
    return BackendClosedError("this JobProcessor was entered in another event loop or thread", hint=hint)
