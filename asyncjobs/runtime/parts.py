"""Assemble the parts of a processor that is entered."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import Clock
from asyncjobs.config import BackendConfig, DaemonConfig
from asyncjobs.runtime.actions import Actions
from asyncjobs.runtime.deadlines import Deadlines
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.events.streamer import StatusStreamer
from asyncjobs.runtime.executor import Executor
from asyncjobs.runtime.fallback import SyncFallback
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.gate_answers import GateAnswers
from asyncjobs.runtime.gate_requests import GateSubmissions
from asyncjobs.runtime.job_access import BodyAccess
from asyncjobs.runtime.live_graph import LiveGraph
from asyncjobs.runtime.queries import Queries
from asyncjobs.runtime.question_access import QuestionAccess
from asyncjobs.runtime.result_cache import ResultCache
from asyncjobs.runtime.runner import Runner
from asyncjobs.runtime.submission import Submissions
from asyncjobs.runtime.submitter import Submitter
from asyncjobs.runtime.waiting import Waiting


class EngineSettings(Struct, frozen=True, kw_only=True):
    """Settings that do not change during the life of an engine.

    :param daemon: settings of the worker that runs jobs here; None runs none.
    :param fallback: settings of the worker that runs jobs at their submit while no other one lives; None waits for one.
    :param backend_config: settings of the store: how large a value may be, how often a submission is tried.
    :param ctrl_c_elsewhere: whether the main thread, which is not this one, makes Ctrl-C hand running jobs back.
    :param owns_process: whether the process serves only this engine, like that of ``asyncjobs daemon``.
    """

    clock: Clock
    backend_config: BackendConfig
    daemon: DaemonConfig | None = None
    fallback: DaemonConfig | None = None
    ctrl_c_elsewhere: bool = False
    owns_process: bool = False

    @property
    def worker(self) -> DaemonConfig | None:
        """Settings of the worker that runs jobs here, always or at their submit; None without one."""
        return self.daemon or self.fallback


class Parts:
    """The parts of an engine for one life: made when it is entered, discarded once it has been left.

    :param jobs: the access that handles and the bodies in child processes get.
    :param runner: returns the worker that runs jobs here, while there is one.
    """

    def __init__(
        self,
        backend: JobBackend,
        submissions: Submissions,
        functions: Functions,
        graph: LiveGraph,
        settings: EngineSettings,
        *,
        jobs: BodyAccess,
        runner: Callable[[], Runner | None],
    ) -> None:
        self._backend = backend
        self._functions = functions
        self._graph = graph
        self._settings = settings
        self._jobs = jobs
        self._runner = runner
        clock = settings.clock
        self.results: ResultCache = ResultCache(backend.removals)
        self.tail: LogTail = LogTail(backend, clock)
        self.waiting: Waiting = Waiting(backend, self.tail, self.results, clock, self.find_executor)
        self.streamer: StatusStreamer = StatusStreamer.of_tail(
            backend, self.tail, clock, functions=functions, inside=self.waiting.streaming
        )
        self.queries: Queries = Queries(backend, functions, self.waiting, clock)
        self.actions: Actions = Actions(backend, functions, graph, nudge=self._nudge)
        self.fallback: SyncFallback | None = None
        if settings.fallback is not None:
            worker = settings.fallback
            self.fallback = SyncFallback(backend, self.streamer, lambda: self.new_runner(worker), settings.clock)
        self.questions: QuestionAccess = QuestionAccess(
            backend,
            self.queries,
            functions.answers,
            find_executor=self.find_executor,
            must_park=self._runs_for_submits,
        )
        config = settings.backend_config
        self.gates: GateAnswers = GateAnswers(
            backend,
            functions.answers,
            clock,
            largest=config.max_value_size,
            tries=config.tries,
            nudge=self._nudge,
        )
        self.deadlines: Deadlines = Deadlines(backend, clock, nudge=self._nudge)
        self.submitter: Submitter = Submitter(
            backend,
            submissions,
            GateSubmissions(submissions, functions.answers, config.max_value_size),
            functions,
            graph,
            clock,
            jobs,
            tries=config.tries,
            owner=self._owner,
            nudge=self._nudge_for_submission,
            run_here=None if self.fallback is None else self.fallback.run,
        )

    def new_runner(self, config: DaemonConfig) -> Runner:
        """Return a worker of this process that has not been started."""
        return Runner(
            self._backend,
            config,
            self._settings.clock,
            functions=self._functions,
            tail=self.tail,
            results=self.results,
            jobs=self._jobs,
            max_value_size=self._settings.backend_config.max_value_size,
            owns_process=self._settings.owns_process,
        )

    def find_runner(self) -> Runner | None:
        """Return the worker that runs jobs here now, also that of submits whose jobs run here."""
        runner = self._runner()
        return self.fallback.runner if runner is None and self.fallback is not None else runner

    def find_executor(self) -> Executor | None:
        """Return the executor that runs bodies here now, if any."""
        runner = self.find_runner()
        return None if runner is None else runner.executor

    def committed(self, events: CommittedEvents) -> None:
        """Handle the events of a commit of this process: the worker first, then the caches, then readers."""
        runner = self.find_runner()
        if runner is not None:
            runner.committed(events)
        self._functions.local.committed(events)
        self._graph.remove_terminal(events)
        self.tail.committed(events)

    def _runs_for_submits(self) -> bool:
        """Return whether submits run their jobs here while the caller waits."""
        return self._runner() is None and self.fallback is not None

    def _owner(self) -> str | None:
        runner = self._runner()
        return None if runner is None else runner.worker_id

    def _nudge_for_submission(self) -> None:
        """Trigger a claim, unless the store asks the worker for one when it puts the group of a submission together."""
        runner = self.find_runner()
        if runner is None or not runner.joins_submissions:
            self._nudge()

    def _nudge(self) -> None:
        """Trigger a claim: stored jobs or decisions of callers may have made some jobs ready."""
        runner = self.find_runner()
        if runner is not None:
            runner.scheduler.nudge()
        elif self.fallback is not None:
            self.fallback.nudge()
