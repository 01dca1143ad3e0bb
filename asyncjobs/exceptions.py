"""Define every error that asyncjobs raises, in one tree.

::

    JobProcessorError                    .hint is the fix, .code is a stable slug
    ├─ ConfigurationError (ValueError)   .field, .value, .allowed
    ├─ SubmissionError                   nothing was stored
    │  ├─ CyclicDependencyError          .path
    │  ├─ UnknownDependencyError         .job_id, .missing
    │  ├─ DuplicateJobError              .job_id
    │  ├─ JobConflictError               .job_id
    │  └─ NotSerializableError           .where
    ├─ ConversionError (TypeError)       .where, .expected; a stored value does not fit an annotation
    ├─ CorruptValueError (ValueError)    stored bytes that no version of this package wrote
    ├─ JobNotFoundError (LookupError)    .job_id
    ├─ JobStateError                     .job_id, .status, .wanted
    ├─ JobNotCompletedError              .job_id, .retry_first; reading a result that will not come
    │  ├─ JobExecutionError              .attempt, .error_type, .message, .traceback_text
    │  │  ├─ WorkerLostError             interruptions used up
    │  │  ├─ RejectedError               .by, .reason; a gate was rejected
    │  │  └─ AnswerTimeoutError          a gate was not answered in time
    │  ├─ JobCancelledError
    │  └─ JobSkippedError                .because
    ├─ JobTimeoutError (TimeoutError)    waiting took too long; the job continues
    ├─ BackendError
    │  ├─ BackendConnectionError         .request to submit again, .tries
    │  ├─ BackendClosedError
    │  └─ SchemaVersionError             .found, .supported
    └─ MissingExtraError (ImportError)   .extra

Constructors take data and build the message. Internal signals (a stale attempt, a lost lease) are values.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncjobs.error_texts import render_retry, shown, shown_path, some, split_cause
from asyncjobs.plurals import counted
from asyncjobs.spellings import FormerAttributes
from asyncjobs.versions import install_command


class JobProcessorError(FormerAttributes, Exception):
    """The root of every error of this package.

    ``str(error)`` is the message and, on a separate line, the hint.
    """

    code: str = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint: str | None = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  hint: {self.hint}" if self.hint else message

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors take data, not the message, so the default way to unpickle cannot call them.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[JobProcessorError], args: tuple[Any, ...], state: dict[str, Any]) -> JobProcessorError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(JobProcessorError, ValueError):
    """A setting or an argument of the API has a value that cannot work."""

    code = "configuration"

    def __init__(
        self,
        field: str,
        value: object = None,
        *,
        allowed: str | None = None,
        hint: str | None = None,
        problem: str | None = None,
    ) -> None:
        if problem is None:
            problem = f"{field} cannot be {shown(value)}" + (f"; allowed: {allowed}" if allowed else "")
        super().__init__(problem, hint=hint)
        self.field = field
        self.value = value
        self.allowed = allowed


class SubmissionError(JobProcessorError):
    """A submission was refused; nothing of it was stored."""

    code = "submission"


class CyclicDependencyError(SubmissionError):
    """Jobs would wait for each other forever. ``path`` starts and ends with the same job id.

    Waits inside bodies are tracked within one process only: a cycle across processes is not detected; use ``timeout=``.
    """

    code = "cycle"

    def __init__(self, path: Sequence[str], *, hint: str | None = None) -> None:
        self.path: tuple[str, ...] = tuple(path)
        if len(self.path) <= 2:
            message = f"job {path[0]!r} would wait for itself"
        else:
            message = f"these {len(self.path) - 1} jobs would wait for each other: {shown_path(self.path)}"
        super().__init__(message, hint=hint or "drop one of these dependencies; nothing was stored")


class UnknownDependencyError(SubmissionError):
    """A job depends on an id that is neither stored nor part of the same batch."""

    code = "unknown-dependency"

    def __init__(self, job_id: str, missing: Sequence[str]) -> None:
        self.job_id = job_id
        self.missing: tuple[str, ...] = tuple(missing)
        super().__init__(
            f"job {job_id!r} depends on {some(missing)}, which {'is' if len(missing) == 1 else 'are'} not known",
            hint="submit a dependency before its dependents, or both in one batch; ids are case-sensitive",
        )


class DuplicateJobError(SubmissionError):
    """The id is in use already, in the store or twice in one batch."""

    code = "duplicate-job"

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(
            f"a job with the id {job_id!r} exists already",
            hint='choose another job_id, or pass if_exists="return" to get the existing job',
        )


class JobConflictError(SubmissionError):
    """The id is in use by a job with another function or other arguments."""

    code = "job-conflict"

    def __init__(self, job_id: str, *, differs: str = "another function or other arguments") -> None:
        self.job_id = job_id
        self.differs = differs
        super().__init__(
            f"the id {job_id!r} belongs to a job with {differs}", hint="use another job_id for different work"
        )


class NotSerializableError(SubmissionError):
    """A callable, an argument or a result cannot be stored. ``where`` is a path such as ``$.kwargs.image``."""

    code = "not-serializable"

    def __init__(self, where: str, what: str, *, hint: str | None = None) -> None:
        self.where = where
        self.what = what
        super().__init__(f"{where} is {what}", hint=hint)


class ConversionError(JobProcessorError, TypeError):
    """A stored value does not fit the annotation by which it is restored.

    ``where`` is the path to the value (``$.points[2]``, after the parameter, or ``$`` for the result), ``expected`` the
    annotated type, ``owner`` the argument or result that contains the value, ``problem`` what was found instead.
    """

    code = "conversion"

    def __init__(self, where: str, problem: str, expected: str, owner: str) -> None:
        self.where = where
        self.problem = problem
        self.expected = expected
        self.owner = owner
        super().__init__(f"{owner}: {where} {problem}; expected {expected}")


class CorruptValueError(JobProcessorError, ValueError):
    """Stored bytes that are not what this package wrote: truncated, damaged, or made by another program."""

    code = "corrupt-value"


class JobNotFoundError(JobProcessorError, LookupError):
    """No job has this id."""

    code = "job-not-found"

    def __init__(self, job_id: str, *, near: str | None = None, hint: str | None = None) -> None:
        self.job_id = job_id
        self.near = near
        if hint is None:
            hint = f"did you mean {near!r}? Ids are case-sensitive." if near else "ids are case-sensitive"
        super().__init__(f"there is no job {job_id!r}", hint=hint)


class JobStateError(JobProcessorError):
    """The job's status does not allow the operation.

    ``answered_at`` and ``answered_by`` are set if the job is a gate that was answered or rejected already.
    """

    code = "job-state"

    def __init__(
        self,
        job_id: str,
        status: str,
        wanted: str,
        *,
        hint: str | None = None,
        answered_by: str | None = None,
        answered_at: datetime | None = None,
    ) -> None:
        self.job_id = job_id
        self.status = status
        self.wanted = wanted
        self.answered_by = answered_by
        self.answered_at = answered_at
        super().__init__(f"job {job_id!r} is {status}; {wanted}", hint=hint)


class JobNotCompletedError(JobProcessorError):
    """The job ended without a result."""

    code = "job-not-completed"
    retry_first: tuple[str, ...] = ()
    """Ids of the jobs to retry before this one, because its body waited for them: the innermost first."""
    final: bool = False
    """Whether an attempt that ends with this error is not retried."""

    def __init__(self, job_id: str, message: str, *, hint: str | None = None) -> None:
        self.job_id = job_id
        super().__init__(message, hint=hint)

    def raised_in_body(self) -> None:
        """Name this job in the hint: a retry of the job whose body got this error would wait for the same job again."""
        self.hint: str | None = f"{render_retry(*self.retry_first, self.job_id)}, then retry this job"


class JobExecutionError(JobNotCompletedError):
    """The job failed for good: its body raised, timed out, or could never run.

    The original exception is not rebuilt (that would need pickle or imports); its type name, message and
    traceback are attributes, and the traceback is a note of this exception.
    """

    code = "job-failed"

    def __init__(
        self,
        job_id: str,
        *,
        attempt: int,
        error_type: str,
        message: str,
        traceback_text: str | None = None,
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.error_type = error_type
        self.message = message
        self.traceback_text = traceback_text
        cause, retry_first = split_cause(message)
        again = "await handle.retry()"
        super().__init__(
            job_id,
            self._describe(job_id, cause),
            hint=f"{render_retry(*retry_first)}, then {again}" if retry_first else f"{again} runs it again",
        )
        if retry_first:
            self.retry_first = retry_first
        if traceback_text:
            self.add_note(f"the job's own traceback:\n{traceback_text.rstrip()}")

    def _describe(self, job_id: str, cause: str) -> str:
        after = f" after {counted(self.attempt, 'attempt')}" if self.attempt else ""
        return f"job {job_id!r} failed{after}: {self.error_type}: {cause}"


class WorkerLostError(JobExecutionError):
    """The process that ran the job died, or lost its lease, as often as ``max_interruptions`` allows."""

    code = "worker-lost"


class RejectedError(JobExecutionError):
    """A gate was rejected. ``by`` is the name that was given with the rejection, or None; ``reason`` is the reason."""

    code = "rejected"
    final = True

    def __init__(self, job_id: str, *, reason: str, by: str | None) -> None:
        self.reason = reason
        self.by = by
        super().__init__(job_id, attempt=0, error_type="RejectedError", message=reason)
        self.hint: str | None = "await handle.retry() opens it again"

    def _describe(self, job_id: str, cause: str) -> str:
        by = "" if self.by is None else f" by {self.by!r}"
        return f"gate {job_id!r} was rejected{by}: {cause}"


class AnswerTimeoutError(JobExecutionError):
    """A gate was not answered before its deadline."""

    code = "answer-timeout"
    final = True

    def __init__(self, job_id: str, *, message: str) -> None:
        super().__init__(job_id, attempt=0, error_type="AnswerTimeoutError", message=message)
        self.hint: str | None = "await handle.retry() opens it again"

    def _describe(self, job_id: str, cause: str) -> str:
        return f"gate {job_id!r} failed: {cause}"


class JobCancelledError(JobNotCompletedError):
    """The job was cancelled."""

    code = "job-cancelled"

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, f"job {job_id!r} was cancelled", hint="await handle.retry() runs it again")


class JobSkippedError(JobNotCompletedError):
    """A dependency did not complete. ``because`` is the id of the job that is the root cause."""

    code = "job-skipped"

    def __init__(self, job_id: str, because: str | None) -> None:
        self.because = because
        super().__init__(
            job_id,
            f"job {job_id!r} was skipped because {because!r} did not complete",
            hint=f"fix and retry {because!r}; this job then waits for it again",
        )

    def raised_in_body(self) -> None:
        """Name the root cause in the hint: its retry makes this job wait again."""
        if self.because is not None:
            self.hint: str | None = f"{render_retry(self.because)}, then retry this job"


class JobTimeoutError(JobProcessorError, TimeoutError):
    """A wait took too long. The job itself continues."""

    code = "timeout"

    def __init__(self, what: str, seconds: float, *, job_id: str | None = None) -> None:
        self.job_id = job_id
        self.seconds = seconds
        super().__init__(
            f"{what} took longer than {seconds:g} s",
            hint="the job continues; wait again, or cancel it with await handle.cancel()",
        )


class BackendError(JobProcessorError):
    """The store could not do what was asked (disk full, read-only, corrupt). Acknowledged data is intact.

    ``transient``: a retry may succeed soon. ``logged``: the store has logged the error, so callers need not.
    """

    code = "backend"
    transient: bool = False
    logged: bool = False


_TRY_AGAIN = "try again when the store is reachable"
_SUBMIT_AGAIN = 'nothing was lost; submit .request again with if_exists="return"'


class BackendConnectionError(BackendError):
    """The store could not be reached, or stayed locked, in ``tries`` tries.

    ``request`` is the submission that failed, with its ids fixed, so that it can be submitted again safely
    (``await jp.submit_jobs(error.request, if_exists="return")``); None for reads.
    ``transient`` is False if the call was retried for as long as is useful.
    """

    code = "backend-unavailable"

    def __init__(
        self, message: str, *, request: Any = None, tries: int = 1, transient: bool = True, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.tries = tries
        self.transient = transient
        self._own_hint = hint is not None
        self.request = request

    @property
    def request(self) -> Any:
        """The submission that failed, or None. The hint mentions ``.request`` only if there is one."""
        return self._request

    @request.setter
    def request(self, request: Any) -> None:
        self._request = request
        if not self._own_hint:
            self.hint: str | None = _TRY_AGAIN if request is None else _SUBMIT_AGAIN


class BackendClosedError(BackendError):
    """An object was used before it was opened, after it was closed, from another event loop or thread, or in a forked
    child. ``leaving``: it was used while it was being closed."""

    code = "closed"

    def __init__(
        self, what: str = "this JobProcessor is not running", *, hint: str | None = None, leaving: bool = False
    ) -> None:
        self.leaving = leaving
        super().__init__(what, hint=hint or "use it inside 'async with JobProcessor() as jp:'")


class SchemaVersionError(BackendError):
    """The file was written by a newer version of this package."""

    code = "schema-version"

    def __init__(self, where: str, found: int, supported: int) -> None:
        self.found = found
        self.supported = supported
        super().__init__(
            f"{where} has schema version {found}; this version of asyncjobs reads up to {supported}",
            hint="upgrade asyncjobs to the version that wrote it, or use another file",
        )


class MissingExtraError(JobProcessorError, ImportError):
    """An optional part is not installed."""

    code = "missing-extra"

    def __init__(self, extra: str, *, what: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs the extra {extra!r}", hint=install_command(extra))
