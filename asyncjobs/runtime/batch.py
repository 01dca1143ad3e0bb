"""``jp.batch()``: jobs that are noted down, and stored together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from asyncjobs.exceptions import SubmissionError
from asyncjobs.models import JobRequest
from asyncjobs.runtime.submission import Submissions, request_of

H = TypeVar("H")


class Batch(Generic[H]):
    """Jobs that are stored together when the ``async with`` is left; not at all when it is left by an error."""

    def __init__(
        self,
        submissions: Submissions,
        store: Callable[[Sequence[JobRequest], Sequence[str]], Awaitable[Any]],
        handle: Callable[[str, Callable[..., Any], bool], H],
    ) -> None:
        self._submissions = submissions
        self._store = store
        self._handle = handle
        self._requests: list[JobRequest] = []
        self._ids: list[str] = []
        self._entered = False

    async def __aenter__(self) -> Batch[H]:
        self._entered = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._entered = False
        requests, self._requests = self._requests, []  # they hold callables and arguments
        if kind is None and requests:
            await self._store(requests, self._ids)

    def submit_job(self, func: Callable[..., Any], /, *args: Any, **options: Any) -> H:
        """As ``JobProcessor.submit_job``, but only noted down. The handle may be passed on at once, awaited later."""
        if not self._entered:  # nothing would ever be stored
            raise SubmissionError(
                "this batch is not open: its jobs are stored when its block is left",
                hint="async with jp.batch() as batch: batch.submit_job(…)",
            )
        request = request_of(func, args, options)
        if "args" not in options and "kwargs" not in options:
            self._submissions.check_options(func)
        self._ids.append(self._submissions.new_id())
        self._requests.append(request)
        return self._handle(request.job_id or self._ids[-1], func, request.local)
