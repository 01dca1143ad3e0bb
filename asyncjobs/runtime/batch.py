"""Collect jobs, and store them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from asyncjobs.backends.base import NewJob
from asyncjobs.core.codec import result_stand_in
from asyncjobs.exceptions import SubmissionError
from asyncjobs.requests import GateRequest, JobRequest
from asyncjobs.runtime.batch_gates import BatchGateCalls
from asyncjobs.runtime.crewai_calls import BatchCrewAICalls
from asyncjobs.runtime.handle import JobHandle, Noted
from asyncjobs.runtime.job_access import HandleAccess
from asyncjobs.runtime.requests import build_request
from asyncjobs.runtime.submission import Submissions
from asyncjobs.runtime.submitter import Submitter

T = TypeVar("T")


class Batch(BatchGateCalls, BatchCrewAICalls):
    """Jobs that are stored together when the ``async with`` is left; not at all when it is left by an error.

    :param find_submitter: returns the submitter, while the processor is entered.
    :param jobs: the access that handles get.
    """

    def __init__(self, submissions: Submissions, find_submitter: Callable[[], Submitter], jobs: HandleAccess) -> None:
        self._submissions = submissions
        self._find_submitter = find_submitter
        self._jobs = jobs
        self._requests: list[JobRequest | GateRequest] = []
        self._encoded: list[NewJob] = []
        self._submitter: Submitter | None = None
        self._noted = Noted(jobs)

    async def __aenter__(self) -> Batch:
        self._submitter = self._find_submitter()
        self._noted = Noted(self._jobs)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._submitter = None
        requests, self._requests = self._requests, []  # they hold callables and arguments
        encoded, self._encoded = self._encoded, []
        if kind is not None:
            self._noted.give_up()
            return
        self._noted.store()  # before they are stored: one that begins to run at once may wait for another
        if requests:
            await self._find_submitter().store_noted(requests, encoded)

    @overload
    def submit_job(self, func: Callable[..., Awaitable[T]], /, *args: Any, **options: Any) -> JobHandle[T]: ...
    @overload
    def submit_job(self, func: Callable[..., T], /, *args: Any, **options: Any) -> JobHandle[T]: ...
    def submit_job(self, func: Callable[..., Any], /, *args: Any, **options: Any) -> JobHandle[Any]:
        """Add a job to the batch: as ``JobProcessor.submit_job``. Its handle may be passed on now, and awaited later.

        Arguments are encoded here: later changes to them are not part of the job. A job that is refused
        here is not part of the batch.

        :raises SubmissionError: the batch is not open; as for ``JobProcessor.submit_job``.
        """
        submitter = self._open()
        request = build_request(func, args, options)
        if "args" not in options and "kwargs" not in options:
            self._submissions.check_options(func)
        job = submitter.encode(request)
        self._requests.append(request)
        self._encoded.append(job)
        return JobHandle(job.id, self._noted, result_stand_in(func, local=request.local))

    def _open(self) -> Submitter:
        if self._submitter is None:  # nothing would ever be stored
            raise SubmissionError(
                "this batch is not open: its jobs are stored when its block is left",
                hint="async with jp.batch() as batch: batch.submit_job(…)",
            )
        return self._submitter

    def _note_gate(self, request: GateRequest) -> JobHandle[Any]:
        submitter = self._open()
        job = submitter.encode(request)
        self._requests.append(request)
        self._encoded.append(job)
        return JobHandle(job.id, self._noted, submitter.gates.find_type(request))
