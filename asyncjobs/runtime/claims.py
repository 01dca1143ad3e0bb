"""Claim as many jobs as there are free slots, and start them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from asyncjobs.backends.base import ClaimedJob, ClaimRequest, ClaimResult
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.registration import Registration
from asyncjobs.runtime.slots import Slots
from asyncjobs.runtime.wakeups import Wakeup


class Claims:
    """The claims of one worker: those of its scheduler, and those that are sent together with outcomes.

    :param queues: the queues that the worker serves; None serves all.
    :param start: called with each job that a claim brings.
    :param settled: notified when a claim is settled after ``close``.
    """

    def __init__(
        self,
        registration: Registration,
        slots: Slots,
        functions: Functions,
        queues: tuple[str, ...] | None,
        start: Callable[[ClaimedJob], None],
        settled: Wakeup,
    ) -> None:
        self.slots = slots
        self.closed: bool = False
        """Whether no more jobs are requested; a pending claim may still bring some."""
        self._registration = registration
        self._functions = functions
        self._queues = queues
        self._start = start
        self._settled = settled

    def request(self) -> ClaimRequest:
        """Request a job for every free slot; the slots stay reserved until ``settle``."""
        return ClaimRequest(
            worker=self._registration.worker_id,
            limit=0 if self.closed else self.slots.reserve(),
            functions=self._functions.names,
            refused=frozenset(self._functions.refused),
            queues=self._queues,
        )

    def renew(self, request: ClaimRequest) -> ClaimRequest:
        """Return a request of this worker with the functions that it may run by now."""
        names = self._functions.names
        if request.functions is names or request.worker != self._registration.worker_id:
            return request
        return replace(request, functions=names, refused=frozenset(self._functions.refused))

    def settle(self, request: ClaimRequest, result: ClaimResult | None) -> None:
        """Start the jobs that a claim brought, and free the slots that it did not use.

        :param result: None if the claim failed.
        """
        for job in result.jobs if result is not None else ():
            self._start(job)
        self.slots.settle(request.limit)
        if self.closed:
            self._settled.notify()

    def close(self) -> None:
        """Stop claiming jobs."""
        self.closed = True
