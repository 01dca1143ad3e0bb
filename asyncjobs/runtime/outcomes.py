"""Write outcomes to the store, together with the next claim, until they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimRequest, ClaimResult, Finished, JobBackend, Stale
from asyncjobs.clock import Clock
from asyncjobs.exceptions import BackendError
from asyncjobs.models import EventType, JobEvent, JobStatus, OutcomeKind
from asyncjobs.plurals import counted
from asyncjobs.runtime import job_log
from asyncjobs.runtime.attempt import failure
from asyncjobs.runtime.claims import Claims
from asyncjobs.runtime.outages import Outage, retry_delays
from asyncjobs.runtime.result_cache import Completed, ResultCache
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")


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
        self._in_flight: dict[str, tuple[int, Completed]] = {}
        self._functions: dict[AttemptRef, str] = {}
        """The stored function name of each attempt, until its outcome is written."""

    def put(self, end: AttemptEnd, function: str = "") -> None:
        """Queue an outcome for writing.

        :param function: the stored name of the function that returned a result.
        """
        self._queue.append(end)
        self._functions[end.attempt] = function
        self._queued.notify()

    @property
    def unwritten(self) -> Sequence[AttemptEnd]:
        """The outcomes that are not known to be written."""
        return (*self._queue, *self._writing)

    async def run(self) -> None:
        """Write outcomes forever."""
        while True:
            await self._queued.wait()
            while self._queue:
                ends, self._queue = self._queue, []
                self._writing = ends
                try:
                    await self._write(ends)
                except Exception as error:  # border: a defect of asyncjobs must not stop the recording of outcomes
                    logger.error("recording %s failed: %s", counted(len(ends), "outcome"), error, exc_info=error)
                self._writing = ()
                for end in ends:
                    self._functions.pop(end.attempt, None)
            self._written.notify()

    def committed(self, events: Sequence[JobEvent]) -> None:
        """Keep the results that a commit of this process made final, before their waiters are woken."""
        if not self._in_flight:
            return
        completed: dict[str, Completed] = {}
        for event in events:
            if event.type == EventType.COMPLETED:
                attempt, result = self._in_flight.get(event.job_id, _NONE)
                if attempt == event.attempt:
                    completed[event.job_id] = result
        if completed:
            self._results.put_all(completed)

    async def _write(self, ends: Sequence[AttemptEnd], *, again: bool = False) -> None:
        """Write outcomes until they are stored. A stale one is not an error: the job was reassigned.

        :param again: whether they were sent before, and may have been stored then.
        """
        slots = self._claims.slots
        short = slots.reserved > 0  # a pending claim holds slots, and may not see what these outcomes release
        self._in_flight = {
            end.attempt.job_id: (
                end.attempt.attempt,
                Completed(self._functions.get(end.attempt, ""), end.outcome.value),
            )
            for end in ends
            if end.outcome.kind is OutcomeKind.SUCCEEDED and end.outcome.value is not None
        }
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
        job_log.log_outcome(end, result, again=again)
        if isinstance(result, Stale):
            self._stale(end.attempt.job_id)


def _is_too_big(error: Exception) -> bool:
    return isinstance(error, BackendError) and error.code == "too-big"


def _is_outage(error: Exception) -> bool:
    """Return whether the store could not be reached, rather than refusing the outcome."""
    return isinstance(error, BackendError) and not _is_too_big(error)


def _unstorable(end: AttemptEnd, error: Exception) -> AttemptEnd:
    return AttemptEnd(end.attempt, failure(error, retryable=False), (), end.jitter)
