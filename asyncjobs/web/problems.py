"""Turn errors into RFC 9457 documents: ``application/problem+json`` with a stable ``code`` and a ``hint``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, cast

from msgspec import UNSET, Struct, UnsetType, json
from starlette.responses import Response

from asyncjobs.exceptions import (
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    DuplicateJobError,
    JobConflictError,
    JobNotCompletedError,
    JobNotFoundError,
    JobProcessorError,
    JobStateError,
    SubmissionError,
)


class Problem(Struct, frozen=True, omit_defaults=True):
    """The body of every error response."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | UnsetType = UNSET
    instance: str | UnsetType = UNSET
    errors: list[dict[str, str]] | UnsetType = UNSET
    details: dict[str, Any] | UnsetType = UNSET


class WebError(Exception):
    """Ends a request with a problem document.

    :param code: a stable slug. ``errors``: what is wrong where, each with ``pointer`` and ``detail``. ``details``: the
        attributes of an error of this package, from which ``asyncjobs.client`` makes the same error.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.headers: dict[str, str] = dict(headers or {})
        self.errors = errors
        self.details: dict[str, Any] = details or {}

    def response(self, instance: str) -> Response:
        """Return the response."""
        problem = Problem(
            type=f"urn:asyncjobs:problem:{self.code}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
            hint=self.hint or UNSET,
            instance=instance,
            errors=self.errors or UNSET,
            details=self.details or UNSET,
        )
        headers = {"cache-control": "no-store", **self.headers}
        return Response(json.encode(problem), self.status, headers, "application/problem+json")


_STATUS: dict[type[JobProcessorError], int] = {
    JobNotFoundError: 404,
    ConfigurationError: 400,
    DuplicateJobError: 409,
    JobConflictError: 409,
    JobStateError: 409,
    JobNotCompletedError: 409,
    SubmissionError: 422,
    BackendClosedError: 503,
    BackendError: 503,
}


_NOT_RUN = "run it with the host: FastAPI(lifespan=jp.lifespan); a mounted app's own lifespan is not run by its host"
_SHUTTING_DOWN = "retry after the server has restarted"


def status_of(kind: type[JobProcessorError]) -> int:
    """Return the status of the answer to a request that ends with an error of this class."""
    return next((_STATUS[base] for base in kind.__mro__ if base in _STATUS), 500)


def as_web_error(error: JobProcessorError) -> WebError:
    """Return the problem for an error of this package."""
    status = status_of(type(error))
    headers = {"retry-after": "1"} if status == 503 else {}
    if isinstance(error, BackendConnectionError):
        error.request = None  # it is not sent, so the hint must not name it
    hint = error.hint
    if isinstance(error, BackendClosedError):
        hint = _SHUTTING_DOWN if error.leaving else _NOT_RUN
    detail = str(error.args[0]) if error.args else error.code
    return WebError(status, error.code, detail, hint=hint, headers=headers, details=_details(error))


def _details(error: JobProcessorError) -> dict[str, Any]:
    """Return the attributes of an error: strings, integers, moments, lists of strings."""
    details: dict[str, Any] = {}
    for name, value in vars(error).items():
        if name in ("hint", "value", "leaving") or name.startswith("_"):
            continue
        if isinstance(value, str):
            details[name] = str(value)  # str: a handle is a subclass, which the JSON encoder refuses
        elif isinstance(value, int):
            details[name] = value
        elif isinstance(value, datetime):
            details[name] = value.isoformat()
        elif isinstance(value, tuple):
            details[name] = [str(entry) for entry in cast("tuple[object, ...]", value)]
    return details


def invalid(where: str, detail: str, *, hint: str | None = None, **pointer: Any) -> WebError:
    """Return the problem for an invalid request (400) with the place of the fault."""
    return WebError(
        400, "invalid-request", f"{where}: {detail}", hint=hint, errors=[{"pointer": where, "detail": detail}]
    )
