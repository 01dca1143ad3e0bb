"""Handle requests that ask, answer and reject gates."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any

from msgspec import UNSET
from starlette.responses import Response

from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import ConfigurationError, NotSerializableError
from asyncjobs.models import Gate, JobStatus
from asyncjobs.plurals import counted
from asyncjobs.runtime.answer_schemas import AnswerSchema
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.web import requests, views
from asyncjobs.web.call import Call
from asyncjobs.web.problems import WebError, as_web_error, invalid

_LONGEST_NAME = 200
_OPTIONS = ("depends_on", "require", "group", "metadata")
"""Options that a gate has in common with other jobs."""
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\[\.\.\.\]")
_MISSING = ConfigurationError("value", problem="value is missing: this gate needs one of its choices, or a value")


async def answer(call: Call) -> Response:
    """Answer an open gate. The first answer wins; the same answer of the same caller is accepted again."""
    asked = await call.body(requests.Answer)
    job_id = call.param("id")
    await call.check_match(job_id)
    by, value = _giver(call), asked.value
    if value is UNSET:
        value, gate = True, (await call.jp.get_job(job_id)).gate
        if gate is not None and not _is_approval(gate):
            raise _misfit(call, _MISSING)
    return await _end(call, job_id, call.jp.answer_job(job_id, value, by))


async def reject(call: Call) -> Response:
    """Reject an open gate: it has failed, and its dependents are skipped. A retry opens it again."""
    asked = await call.body(requests.Reject)
    job_id = call.param("id")
    await call.check_match(job_id)
    return await _end(call, job_id, call.jp.reject_job(job_id, asked.reason, _giver(call)))


def _is_approval(gate: Gate) -> bool:
    return gate.choices is None and gate.schema is None


def _giver(call: Call) -> str:
    """Return the name of the caller that answers.

    :raises WebError: 403, the name of the caller cannot be recorded.
    """
    name = call.caller.principal.name
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise WebError(
            403,
            "forbidden",
            f"the caller has a name of {counted(len(name), 'character')}; answers are recorded with the caller's name",
            hint=f"auth= must return a Principal with a name of 1 to {_LONGEST_NAME} characters",
        )
    return name


async def _end(call: Call, job_id: str, ending: Awaitable[JobStatus]) -> Response:
    try:
        return call.json(views.StatusView(job_id, await ending))
    except (ConfigurationError, NotSerializableError) as error:
        raise _misfit(call, error) from None


def _misfit(call: Call, error: ConfigurationError | NotSerializableError) -> WebError:
    """Return the problem for an answer that the gate does not accept. Its texts may quote the question."""
    problem = as_web_error(error)
    problem.status = 422
    problem.detail = call.redact_text(problem.detail)
    problem.hint = None if problem.hint is None else call.redact_text(problem.hint)
    if "allowed" in problem.details:
        problem.details["allowed"] = call.redact_text(problem.details["allowed"])
    where = error.field if isinstance(error, ConfigurationError) else error.where.removeprefix("$.")
    problem.errors = [{"pointer": _pointer(where), "detail": problem.detail}]
    return problem


def _pointer(where: str) -> str:
    """Return the JSON pointer of a path such as ``value.pages[2]``, as far as the path can be read."""
    field = re.match(r"\w*", where)
    assert field is not None  # it matches everything
    at, steps = field.end(), [field[0]]
    while (step := _STEP.match(where, at)) is not None:
        at = step.end()
        name = next((part for part in step.groups() if part is not None), None)
        if name is None:  # a value of a dict, and not known which
            break
        steps.append(name.replace("~", "~0").replace("/", "~1"))
    return "/".join(["#", *steps])


async def submit_gate(call: Call, asked: requests.Submit, question: requests.Question, job_id: str | None) -> Any:
    """Submit a gate; return its handle.

    :raises WebError: 400, gates do not have an option, or the schema is not valid.
    """
    _refuse_other_options(asked)
    options: dict[str, Any] = {name: value for name in _OPTIONS if (value := getattr(asked, name)) is not None}
    if question.schema is not None:
        try:
            options["answer_type"] = await in_thread(AnswerSchema, question.schema, abandon_on_cancel=True)
        except ConfigurationError as error:
            raise invalid("#/gate/schema", str(error.args[0])) from None
    if question.default is not UNSET:
        options["default"] = question.default
    handle: JobHandle[Any] = await call.jp.submit_gate(
        question.question,
        choices=question.choices,
        reject_on=question.reject_on,
        timeout=question.timeout,
        job_id=job_id,
        if_exists="return",
        **options,
    )
    return handle


def _refuse_other_options(asked: requests.Submit) -> None:
    unset = requests.Submit()
    for name in asked.__struct_fields__:
        if name not in ("gate", "id", *_OPTIONS) and getattr(asked, name) != getattr(unset, name):
            hint = "#/gate/timeout is the time for an answer" if name == "timeout" else None
            raise invalid(f"#/{name}", "a gate does not have this option: it is answered, and not run", hint=hint)
