"""Give ``JobsClient`` its gates: questions that people or programs answer, as jobs of the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from msgspec import UNSET

from asyncjobs.client import answers
from asyncjobs.client.handle import ClientHandle, RemoteJobs
from asyncjobs.client.paths import job_path
from asyncjobs.client.submission import checked_ids, checked_name, gate_submission, new_id
from asyncjobs.core.plain import json_copy
from asyncjobs.exceptions import ConfigurationError, NotSerializableError
from asyncjobs.models import JobStatus
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.answers import checked_reason
from asyncjobs.runtime.gate_requests import no_option
from asyncjobs.runtime.questions import checked_question
from asyncjobs.runtime.submission import duration

if TYPE_CHECKING:
    from asyncjobs.client.transport import Transport

_LARGEST = 64 << 20
"""Maximum size of an answer in bytes that the client accepts; the server may allow less."""


class ClientGateCalls:
    """The gates of a server."""

    _transport: Transport

    async def submit_gate(
        self,
        question: str,
        *,
        choices: Sequence[str] | None = None,
        answer_type: Any = None,
        reject_on: Sequence[str] = (),
        timeout: float | timedelta | None = None,
        default: Any = UNSET,
        job_id: str | None = None,
        depends_on: str | Collection[str] = (),
        require: int | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> ClientHandle:
        """Store a question as a gate: see ``JobProcessor.submit_gate``. It is durable when this returns.

        The server checks answers by the JSON Schema of ``answer_type``, which it does not have itself; the handle
        returns an instance of it. A repeated request does not ask twice: see ``submit_job``.

        :raises SubmissionError: refused, nothing was stored. ConfigurationError: an option cannot work.
        :raises BackendConnectionError: no response; ``job_id=error.request["id"]`` makes another try safe.
        """
        for name, value in others.items():
            raise _not_over_http(value) if name == "if_exists" else no_option(name, value)
        described = None if answer_type is None else AnswerType(answer_type)
        asked = checked_question(
            question,
            choices=choices,
            answer_type=described,
            reject_on=reject_on,
            default=default,
            timeout=timeout,
            largest=_LARGEST,
        )
        seconds = None if timeout is None else duration("timeout", timeout, above=True)
        chosen = new_id() if job_id is None else checked_name("job_id", job_id)
        options = {
            "id": chosen,
            "depends_on": checked_ids("depends_on", depends_on) or None,
            "require": require,
            "group": group,
            "metadata": metadata,
        }
        body = gate_submission(asked, seconds, options)
        headers = {"idempotency-key": chosen} if job_id is None else None  # not every id fits into a header
        answer = await self._transport.ask("POST", "/v1/jobs", body=body, headers=headers, request=body)
        jobs = cast("RemoteJobs", self)  # a JobsClient is
        return ClientHandle(self._transport.read(answer, answers.SentStatus).id, jobs, described)

    async def answer_job(
        self, job_id: str, value: Any = True, by: str | None = None, *, answer_type: Any = None
    ) -> JobStatus:
        """Answer an open gate: it is ``completed`` with this value. The first answer wins.

        The server records the name of the client's token, so ``by`` is refused. The same answer of the same
        token is accepted again, so that a request whose response was lost is repeated safely.

        :param answer_type: the type by which the answer is checked and sent. Default: plain JSON values.
        :returns: the new status of the gate.
        :raises JobNotFoundError: no such job. ConfigurationError: the value is not a valid answer.
        :raises JobStateError: it is not a gate, not open, its deadline has passed, or another answer came first.
        """
        _refuse_giver(by)
        return await self._end(job_id, "answer", {"value": _plain(value, answer_type)})

    async def reject_job(self, job_id: str, reason: str, by: str | None = None) -> JobStatus:
        """Reject an open gate: it is ``failed``, and its dependents are skipped. ``retry_job`` opens it again.

        :param reason: why: 1 to 2,000 characters.
        :returns: the new status of the gate.
        :raises: as ``answer_job``.
        """
        _refuse_giver(by)
        return await self._end(job_id, "reject", {"reason": checked_reason(reason)})

    async def _end(self, job_id: str, act: str, body: dict[str, Any]) -> JobStatus:
        answer = await self._transport.ask("POST", f"{job_path(job_id)}/{act}", body=body)
        return self._transport.read(answer, answers.SentStatus).status


def _plain(value: Any, answer_type: Any) -> Any:
    if answer_type is not None:
        described = answer_type if isinstance(answer_type, AnswerType) else AnswerType(answer_type)
        return described.fit(value)
    try:
        return json_copy(value, "$.value")
    except NotSerializableError as error:
        error.hint = "pass plain JSON values, or the type: answer_type="
        raise


def _not_over_http(if_exists: object) -> ConfigurationError:
    problem = "if_exists= is not an option over HTTP"
    hint = "remove it: submitting a known job_id with the same question returns that gate"
    return ConfigurationError("if_exists", if_exists, problem=problem, hint=hint)


def _refuse_giver(by: object) -> None:
    if by is not None:
        problem = "over HTTP, the server records the name of the client's token with an answer"
        raise ConfigurationError("by", by, problem=problem, hint="leave it out")
