"""Define what callers hand in: jobs and gates to submit, and queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, field
from msgspec.structs import force_setattr

from asyncjobs.checks import CheckedStruct, checked_texts, is_a, name_text, refuse_other_fields
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.metadata_filters import MetadataFilter, checked_filter
from asyncjobs.models import NO_NAME, Handle, Isolation, JobStatus, Limit

_new_dict: type[dict[str, Any]] = dict  # not dict[str, Any]: calling an alias takes several times as long


class JobRequest(CheckedStruct, frozen=True, kw_only=True):
    """A job to be submitted: a callable, its arguments, and the options of ``JobProcessor.submit_job``.

    ``args`` and ``kwargs`` may contain handles (``jp.handle("id")`` for a member of the same batch
    that comes later); ``depends_on`` takes ids, handles and ``JobProcessor.optional(…)``.
    """

    func: Callable[..., Any]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=_new_dict)
    job_id: str | None = None
    depends_on: Any = ()
    require: int | None = None
    group: str | None = None
    metadata: Mapping[str, Any] | None = None
    queue: str | None = None
    priority: int | None = None
    limit: tuple[str, int] | Limit | None = None
    retry: Any = None
    max_retries: int | None = None
    max_interruptions: int | None = None
    timeout: float | None = None
    delay: float | None = None
    run_at: datetime | None = None
    if_exists: Literal["raise", "return"] = "raise"
    isolation: Isolation | None = None
    local: bool = False


class GateRequest(CheckedStruct, frozen=True, kw_only=True):
    """A gate to be submitted: a question, and the options of ``JobProcessor.submit_gate``.

    ::

        async with JobProcessor(backend) as jp:
            gate, page = await jp.submit_jobs(
                [
                    GateRequest(question="Print this page?", job_id="print", timeout=3600),
                    JobRequest(func=render, args=("page",), depends_on=["print"]),
                ]
            )
            await gate.answer(by="ada")
            print(await page)

    ``default`` is the answer at the deadline: ``UNSET`` means no default, while None is a valid one.
    """

    question: str
    choices: Sequence[str] | None = None
    answer_type: Any = None
    reject_on: Sequence[str] = ()
    timeout: float | None = None
    default: Any = UNSET
    job_id: str | None = None
    depends_on: Any = ()
    require: int | None = None
    group: str | None = None
    metadata: Mapping[str, Any] | None = None
    if_exists: Literal["raise", "return"] = "raise"


class JobQuery(CheckedStruct, frozen=True, kw_only=True):
    """Selects jobs. Every given field must match; a sequence means "one of".

    ``metadata`` compares top-level fields with strings, numbers, booleans and None, as JSON has them: 1 equals 1.0, but
    neither ``"1"`` nor True. Metadata have no index: a page examines a bounded number of jobs, so it may be short and
    still have a ``next``. Add ``group``, ``status`` or ``parent_id`` where many jobs are stored.

    ``worker_id`` is compared with ``Job.worker_id``; with ``status="in_progress"``, only running jobs are examined.
    ``waits_for="answer"`` finds open gates, and jobs that are parked on one. ``limit`` is 1 to 1,000 jobs a page; pass
    the page's ``next`` as ``cursor`` for the following one. ``order`` is by submission.
    """

    ids: Sequence[str] | None = None
    status: JobStatus | Sequence[JobStatus] | None = None
    group: str | None = None
    queue: str | None = None
    function: str | None = None
    parent_id: str | None = None
    worker_id: str | None = None
    waits_for: Literal["answer"] | None = None
    metadata: MetadataFilter | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    order: Literal["oldest", "newest"] = "oldest"
    limit: int = 100
    cursor: str | None = None

    def __post_init__(self) -> None:
        refuse_other_fields(self, JobQuery, "metadata={…} finds jobs by the metadata that they were submitted with")
        force_setattr(self, "ids", checked_texts("JobQuery.ids", self.ids, "ids, handles, or None"))
        if not is_a(self.status, str):
            allowed = f"{', '.join(JobStatus)}; one, or a list of several"
            force_setattr(self, "status", checked_texts("JobQuery.status", self.status, allowed))
        for name in ("group", "queue", "function", "parent_id", "worker_id", "cursor"):
            self._text(name)
        waits_for: object = self.waits_for
        if waits_for is not None and (not is_a(waits_for, str) or str.__str__(waits_for) != "answer"):
            raise ConfigurationError("JobQuery.waits_for", waits_for, allowed="'answer', or None")
        if self.metadata is not None:
            force_setattr(self, "metadata", checked_filter("JobQuery.metadata", self.metadata))
        limit: object = self.limit
        if not is_a(limit, int) or is_a(limit, bool) or not 1 <= int.__int__(limit) <= 1000:
            raise ConfigurationError("JobQuery.limit", limit, allowed="a whole number from 1 to 1000")
        for name in ("created_after", "created_before"):
            moment: object = getattr(self, name)
            if moment is not None and not is_a(moment, datetime):
                raise ConfigurationError(f"JobQuery.{name}", moment, allowed="a datetime with a time zone")

    def _text(self, name: str) -> None:
        """Check a field that is one text, and make it a plain string."""
        value = getattr(self, name)
        if value is None:
            return
        if not is_a(value, str):
            raise ConfigurationError(f"JobQuery.{name}", value, allowed="a string, or None")
        if is_a(value, Handle) and name != "parent_id":
            raise ConfigurationError(f"JobQuery.{name}", value, allowed="a name", hint=NO_NAME)
        if type(value) is not str:
            force_setattr(self, name, name_text(value))
