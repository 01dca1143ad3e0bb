"""Handle requests that read jobs."""

from __future__ import annotations

from typing import Any, cast

import anyio
from msgspec import json
from msgspec.structs import asdict
from starlette.responses import Response

from asyncjobs.core.codec import decode_call, decode_value
from asyncjobs.core.gates import FUNCTION
from asyncjobs.core.json_values import json_value
from asyncjobs.error_texts import shown as shown_text
from asyncjobs.exceptions import (
    AnswerTimeoutError,
    CorruptValueError,
    JobExecutionError,
    JobNotCompletedError,
    JobNotFoundError,
    JobProcessorError,
    JobSkippedError,
    JobStateError,
    RejectedError,
)
from asyncjobs.models import Job, JobStatus, Reason, state_tag
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.large_values import decode_beside_loop
from asyncjobs.runtime.step_summary import summarize_steps
from asyncjobs.web import requests, views
from asyncjobs.web.arguments import redact_arguments
from asyncjobs.web.call import EXACT, Call
from asyncjobs.web.json_models import gate_view
from asyncjobs.web.metadata_filters import checked_metadata
from asyncjobs.web.problems import WebError, as_web_error
from asyncjobs.web.render import render_attempt, render_job, render_jobs


async def list_jobs(call: Call) -> Response:
    """Return a page of jobs."""
    asked = call.query(requests.ListJobs)
    page = await call.jp.find_jobs(
        JobQuery(
            status=asked.status or None,
            group=asked.group,
            queue=asked.queue,
            function=asked.function,
            parent_id=asked.parent,
            waits_for=asked.waits_for or None,
            metadata=checked_metadata(call, asked),
            order=asked.order,
            limit=asked.limit,
            cursor=asked.cursor,
        )
    )
    headers = {} if page.next is None else call.next_page(cursor=page.next)
    return call.json(views.JobsView(await render_jobs(call, page), page.next), headers=headers)


async def get_job(call: Call) -> Response:
    """Return a job; with ``wait``, once it differs from the state that the client knows. The steps that it has kept
    are named."""
    asked = call.query(requests.GetJob)
    job_id = call.param("id")
    cursor = await call.jp.backend.last_cursor() if asked.wait else None
    job = await call.jp.get_job(job_id)
    if asked.wait and call.matches(_etag(job)) and not job.status.terminal:
        job = await _changed(call, job, cursor, asked.wait)
    kept = await summarize_steps(call.jp.backend, job.id)
    shown = views.JobDetailsView(**asdict(await render_job(call, job)), steps=views.StepsView(kept.count, kept.keys))
    return call.json(shown, etag=_etag(job))


async def _changed(call: Call, job: Job, cursor: str | None, seconds: float) -> Job:
    """Return the job after its next event, at the latest after ``seconds``, or when client or server leaves."""

    async def leave() -> None:
        while (await call.request.receive())["type"] != "http.disconnect":
            pass
        waiting.cancel_scope.cancel()

    with call.site.streams.opened() as stream:
        if stream is None:
            return job  # too many are waiting: respond as if nothing had changed; the client repeats the request
        async with (
            call.jp.streamer.reader(job_id=job.id, after=cursor) as reader,
            anyio.create_task_group() as waiting,
        ):
            stream.waiting = waiting.cancel_scope
            waiting.start_soon(leave)
            with anyio.move_on_after(seconds):
                try:
                    while not (batch := await reader.next()).events and not batch.ended:
                        pass
                except JobProcessorError:
                    pass  # get_job below raises the right error
            waiting.cancel_scope.cancel()
        return await call.jp.get_job(job.id)


def _etag(job: Job) -> str:
    return state_tag(job.version, job.created_at)


async def get_result(call: Call) -> Response:
    """Return the result of a job; 202 while the job has not ended, 409 if there will be none. With
    `Accept: application/msgpack`, the stored bytes of the result are sent, unless parts of it are redacted."""
    job_id = call.param("id")
    try:
        stored = (await call.engine.parts().queries.get_stored_result(job_id)).value
    except JobNotCompletedError as error:
        raise _no_result(call, error) from None
    except JobStateError as error:
        waiting = views.StatusView(job_id, cast("Any", error.status))
        return call.json(waiting, 202, headers={"retry-after": "1"})
    plain = None if stored is None else await decode_beside_loop(stored, _plain, stored)
    shown = call.redact("result", plain)
    if call.accepts(EXACT) and json.encode(shown) == json.encode(plain):
        return call.exact(stored)
    return call.json(views.ResultView(job_id, JobStatus.COMPLETED, shown))


def _plain(stored: bytes) -> Any:
    return json_value(decode_value(stored))


def _no_result(call: Call, error: JobNotCompletedError) -> WebError:
    problem = as_web_error(error)
    # A skipped job cannot be retried itself, only its cause.
    cause = error.because if isinstance(error, JobSkippedError) else error.job_id
    problem.hint = None
    if cause is not None:
        urls = [call.url("/v1/jobs/{}", job_id) for job_id in (*error.retry_first, cause)]
        if isinstance(error, (RejectedError, AnswerTimeoutError)):
            problem.hint = f"POST {urls[0]}/retry opens it again, with the header X-Asyncjobs: 1"
        else:
            again = (f"POST {url}/retry runs it again, with the header X-Asyncjobs: 1" for url in urls)
            problem.hint = "; then ".join(again)
    if isinstance(error, JobExecutionError):
        problem.detail = call.redact_text(problem.detail)
        for name in ("message", "traceback_text", "reason"):
            if name in problem.details:
                problem.details[name] = call.redact_text(problem.details[name])
    return problem


async def get_arguments(call: Call) -> Response:
    """Return the arguments of a job. A handle among the arguments is ``{"$job": id}``."""
    job_id = call.param("id")
    stored = await call.jp.backend.get_call(job_id)
    if stored is None:
        await call.jp.get_job(job_id)
        raise JobNotFoundError(job_id)
    if stored.function == FUNCTION:  # its question is stored instead, and shown with the job
        return call.json(views.ArgumentsView(job_id, stored.function, [], {}))
    try:
        args, kwargs = await decode_beside_loop(stored.call, _plain_call, stored.call)
    except CorruptValueError as error:
        return call.json(views.ArgumentsView(job_id, stored.function, [], {}, f"unreadable: call ({error.args[0]})"))
    redact = call.site.config.redact
    shown, of_names = (args, kwargs) if redact is None else redact_arguments(redact, stored.function, args, kwargs)
    listed = cast("list[Any]", shown) if isinstance(shown, list) else [shown]
    named = cast("dict[str, Any]", of_names) if isinstance(of_names, dict) else {"redacted": of_names}
    return call.json(views.ArgumentsView(job_id, stored.function, listed, named))


def _plain_call(stored: bytes) -> tuple[Any, Any]:
    args, kwargs = decode_call(stored, lambda parent: {"$job": parent})
    return json_value(list(args)), json_value(dict(kwargs))


async def get_attempts(call: Call) -> Response:
    """Return every attempt of a job with its outcome."""
    attempts = await call.jp.get_attempts(call.param("id"))
    return call.json(views.AttemptsView([render_attempt(call, attempt) for attempt in attempts]))


async def why(call: Call) -> Response:
    """Explain why a job is not running."""
    job = await call.jp.get_job(call.param("id"))
    reason = await call.jp.why(job.id)
    sentence = call.redact_text(await _without_secrets(call, reason) if reason.code == "answer" else reason.sentence)
    return call.json(views.ReasonView(job.id, job.status, reason.code, sentence, json_value(reason.details)))


async def _without_secrets(call: Call, reason: Reason) -> str:
    """Return the sentence about a question with only what callers may see of it."""
    asked = await call.jp.backend.get_job(reason.details["gate"])
    if asked is None or asked.gate is None:
        return reason.sentence
    question = gate_view(asked.gate, call.site.config.redact).question
    return reason.sentence.replace(shown_text(asked.gate.question), shown_text(question))


async def batch(call: Call) -> Response:
    """Return several jobs in the order of the ids; unknown ids are marked."""
    asked = await call.body(requests.Ids)
    ids = list(dict.fromkeys(asked.ids))
    found = {view.id: view for view in await render_jobs(call, await call.jp.backend.get_jobs(ids))}
    return call.json(views.BatchView([views.BatchItem(i, found.get(i), i in found) for i in ids]))
