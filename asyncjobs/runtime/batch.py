"""Note jobs down, and store them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, overload

from asyncjobs.core.codec import result_stand_in
from asyncjobs.exceptions import SubmissionError
from asyncjobs.models import JobRequest
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.runtime.job_access import HandleAccess
from asyncjobs.runtime.requests import build_request
from asyncjobs.runtime.submission import Submissions

T = TypeVar("T")


class Batch:
    """Jobs that are stored together when the ``async with`` is left; not at all when it is left by an error.

    :param store: stores requests, under these ids where they name none.
    :param jobs: what handles are given.
    """

    def __init__(
        self,
        submissions: Submissions,
        store: Callable[[Sequence[JobRequest], Sequence[str]], Awaitable[object]],
        jobs: HandleAccess,
    ) -> None:
        self._submissions = submissions
        self._store = store
        self._jobs = jobs
        self._requests: list[JobRequest] = []
        self._ids: list[str] = []
        self._entered = False

    async def __aenter__(self) -> Batch:
        self._entered = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._entered = False
        requests, self._requests = self._requests, []  # they hold callables and arguments
        if kind is None and requests:
            await self._store(requests, self._ids)

    @overload
    def submit_job(self, func: Callable[..., Awaitable[T]], /, *args: Any, **options: Any) -> JobHandle[T]: ...
    @overload
    def submit_job(self, func: Callable[..., T], /, *args: Any, **options: Any) -> JobHandle[T]: ...
    def submit_job(self, func: Callable[..., Any], /, *args: Any, **options: Any) -> JobHandle[Any]:
        """Note a job down, as ``JobProcessor.submit_job`` takes it. The handle may be passed on at once, awaited later.

        :raises SubmissionError: the batch is not open; as for ``JobProcessor.submit_job``.
        """
        if not self._entered:  # nothing would ever be stored
            raise SubmissionError(
                "this batch is not open: its jobs are stored when its block is left",
                hint="async with jp.batch() as batch: batch.submit_job(…)",
            )
        request = build_request(func, args, options)
        if "args" not in options and "kwargs" not in options:
            self._submissions.check_options(func)
        self._ids.append(self._submissions.new_id())
        self._requests.append(request)
        return JobHandle(request.job_id or self._ids[-1], self._jobs, result_stand_in(func, local=request.local))
