"""Write outcomes to the store, together with the next claim, until they are written.

Where the store asks its workers when it puts a group together (``group_member``), outcomes are taken from here for it.
What is written here then is what failed there: patiently, one by one if need be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimRequest, ClaimResult, Finished, JobBackend, Stale
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import Clock
from asyncjobs.exceptions import BackendError
from asyncjobs.models import EventType, JobStatus, OutcomeKind
from asyncjobs.plurals import counted
from asyncjobs.runtime import job_log
from asyncjobs.runtime.attempt import failure
from asyncjobs.runtime.claims import Claims
from asyncjobs.runtime.outages import Outage, retry_delays
from asyncjobs.runtime.result_cache import Completed, ResultCache
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")


_UNKNOWN: tuple[str, str | None] = ("", None)
_NONE = (-1, Completed("", b""))
"""No attempt has this number; a gate completes as attempt 0."""


class OutcomeWriter:
    """Writes the outcomes of all ended attempts in one transaction, with a claim for the freed slots.

    :param results: keeps results that this process may soon read.
    :param claimed: called with the result of a claim that was sent with outcomes, once its jobs have started.
    :param stale: called with the id of a job that was reassigned, so that its state is looked up.
    :param written: notified when nothing is left to write.
    """

    def __init__(
        self,
        backend: JobBackend,
        clock: Clock,
        claims: Claims,
        results: ResultCache,
        outage: Outage,
        *,
        claimed: Callable[[ClaimResult], None],
        stale: Callable[[str], None],
        written: Wakeup,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._claims = claims
        self._results = results
        self._outage = outage
        self._claimed = claimed
        self._stale = stale
        self._written = written
        self._queue: list[AttemptEnd] = []
        self._queued = Wakeup()
        self._writing: Sequence[AttemptEnd] = ()
        self._taken: Sequence[AttemptEnd] = ()
        self._ask_soon: Callable[[], None] | None = None
        self._patient = False
        """Whether outcomes are, or are about to be, written here."""
        self._again = False
        """Whether some of those in the queue were sent before."""
        self._unwritten: dict[str, int] = {}
        """How many outcomes of each job are not written."""
        self._in_flight: dict[str, tuple[int, Completed]] = {}
        self._functions: dict[AttemptRef, tuple[str, str | None]] = {}
        """The stored function name of each attempt and the group of its job, until its outcome is written."""

    def put(self, end: AttemptEnd, function: str = "", group: str | None = None) -> None:
        """Queue an outcome for writing.

        :param function: the stored name of the function that returned a result.
        :param group: the group of its job, for the log.
        """
        self._queue.append(end)
        self._functions[end.attempt] = function, group
        job_id = end.attempt.job_id
        self._unwritten[job_id] = self._unwritten.get(job_id, 0) + 1
        if self._ask_soon is None or self._patient:
            self._queued.notify()
        else:
            self._ask_soon()

    @property
    def unwritten(self) -> Sequence[AttemptEnd]:
        """The outcomes that are not known to be written."""
        return (*self._queue, *self._writing, *self._taken)

    def has(self, job_id: str) -> bool:
        """Return whether an attempt of this job has ended and its outcome is not known to be written."""
        return job_id in self._unwritten

    async def run(self) -> None:
        """Write outcomes forever. Once this is cancelled, none is taken either: the program ends the worker's tasks."""
        try:
            while True:
                await self._queued.wait()
                self._patient = True
                while self._queue:
                    await self._write_queued()
                self._patient = False
                self._written.notify()
        finally:
            self._ask_soon, self._patient = None, True

    async def _write_queued(self) -> None:
        ends, self._queue = self._queue, []
        again, self._again = self._again, False
        self._writing = ends
        try:
            await self._write(ends, again=again)
        except Exception as error:  # border: a defect of asyncjobs must not stop the recording of outcomes
            logger.error("recording %s failed: %s", counted(len(ends), "outcome"), error, exc_info=error)
        self._writing = ()
        self._forget(ends)

    def _forget(self, ends: Sequence[AttemptEnd]) -> None:
        for end in ends:
            job_id = end.attempt.job_id
            self._functions.pop(end.attempt, None)
            self._in_flight.pop(job_id, None)
            left = self._unwritten.pop(job_id, 0) - 1
            if left > 0:
                self._unwritten[job_id] = left

    # -- for a store that asks

    def join(self, ask_soon: Callable[[], None]) -> None:
        """Have outcomes taken by ``take``. ``ask_soon`` is called when there are some."""
        self._ask_soon = ask_soon

    def part(self) -> None:
        """Write outcomes here again."""
        self._ask_soon = None
        if self._queue:
            self._queued.notify()

    @property
    def queued(self) -> bool:
        """Whether outcomes wait to be written."""
        return bool(self._queue)

    @property
    def may_be_taken(self) -> bool:
        """Whether the queued outcomes may be taken: not while some are written here."""
        return not self._patient

    def take(self) -> Sequence[AttemptEnd]:
        """Take the queued outcomes, to be written; then call one of the two methods below."""
        ends, self._queue = self._queue, []
        self._taken = ends
        self._note_results(ends)
        return ends

    def on_written(self, ends: Sequence[AttemptEnd], recorded: Finished) -> None:
        """Note that these are written."""
        self._outage.recovered()
        self._taken = ()
        try:
            for end, result in zip(ends, recorded.results, strict=True):
                self._log(end, result, False)
        finally:
            self._forget(ends)

    def take_back(self, ends: Sequence[AttemptEnd]) -> None:
        """Write these here: nothing of them is stored, or that is not known."""
        self._taken = ()
        self._queue = [*ends, *self._queue]
        self._patient = self._again = True
        self._queued.notify()

    def committed(self, events: CommittedEvents) -> None:
        """Note what a commit of this process made final, before its waiters are woken, and keep results."""
        if not self._unwritten:
            return
        completed: dict[str, Completed] = {}
        for job_id, event in events.ended:
            self._unwritten.pop(job_id, None)
            if event.type == EventType.COMPLETED:
                attempt, result = self._in_flight.get(job_id, _NONE)
                if attempt == event.attempt:
                    completed[job_id] = result
        if completed:
            self._results.put_all(completed)

    async def _write(self, ends: Sequence[AttemptEnd], *, again: bool = False) -> None:
        """Write outcomes until they are stored. A stale one is not an error: the job was reassigned.

        :param again: whether they were sent before, and may have been stored then.
        """
        slots = self._claims.slots
        short = slots.reserved > 0  # a pending claim holds slots, and may not see what these outcomes release
        self._note_results(ends)
        delays, replaced = retry_delays(), False
        while True:
            try:
                claim, recorded = await self._write_once(ends)
                break
            except Exception as error:  # border: an outcome that cannot be stored is its job's failure
                if len(ends) > 1:
                    await self._write_apart(ends)
                    return
                again = True
                ends, replaced = await self._before_another_try(ends, error, delays, replaced=replaced)
        self._outage.recovered()
        try:
            for end, result in zip(ends, recorded.results, strict=True):
                self._log(end, result, again)
        finally:
            self._claims.settle(claim, recorded.claims)
        self._claimed(recorded.claims)
        if short:
            slots.freed()

    def _note_results(self, ends: Sequence[AttemptEnd]) -> None:
        """Note the results that may become final with the next commit."""
        for end in ends:
            outcome, attempt = end.outcome, end.attempt
            if outcome.kind is OutcomeKind.SUCCEEDED and outcome.value is not None:
                result = Completed(self._functions.get(attempt, _UNKNOWN)[0], outcome.value)
                self._in_flight[attempt.job_id] = (attempt.attempt, result)

    async def _before_another_try(
        self, ends: Sequence[AttemptEnd], error: Exception, delays: Iterator[float], *, replaced: bool
    ) -> tuple[Sequence[AttemptEnd], bool]:
        """Wait, then return what to write for one outcome that could not be written.

        The cases: if the store is unavailable, the same outcome, later; if it refuses this outcome, a failure in its
        place, at once; if it refuses that, too, the failure again, later.

        :returns: the outcome, and whether it is such a failure.
        """
        refused = not _is_outage(error)
        if not _is_too_big(error):
            self._outage.failed(error)
        if replaced or not refused:
            await self._clock.sleep(next(delays))
        return ([_unstorable(ends[0], error)], True) if refused else (ends, replaced)

    async def _write_once(self, ends: Sequence[AttemptEnd]) -> tuple[ClaimRequest, Finished]:
        claim = self._claims.request()
        try:
            return claim, await self._backend.update_job_status(ends, claim)
        except BaseException:
            self._claims.settle(claim, None)  # it no longer holds slots
            raise

    async def _write_apart(self, ends: Sequence[AttemptEnd]) -> None:
        """Write each outcome separately: one that cannot be written must not delay the others."""
        for end in ends:
            await self._write([end], again=True)

    def _log(self, end: AttemptEnd, result: JobStatus | Stale, again: bool) -> None:
        job_log.log_outcome(end, result, self._functions.get(end.attempt, _UNKNOWN)[1], again=again)
        if isinstance(result, Stale):
            self._stale(end.attempt.job_id)


def _is_too_big(error: Exception) -> bool:
    return isinstance(error, BackendError) and error.code == "too-big"


def _is_outage(error: Exception) -> bool:
    """Return whether the store could not be reached, rather than refusing the outcome."""
    return isinstance(error, BackendError) and not _is_too_big(error)


def _unstorable(end: AttemptEnd, error: Exception) -> AttemptEnd:
    return AttemptEnd(end.attempt, failure(error, retryable=False), (), end.jitter)
