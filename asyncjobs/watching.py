"""What shows how jobs go on, as methods of the processor: reports, events, frames, responses, and the web part."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import listed
from asyncjobs.clock import to_datetime
from asyncjobs.exceptions import BackendClosedError, ConversionError, CorruptValueError, MissingExtraError
from asyncjobs.models import Job, JobError, JobEvent, JobStatus, StatusReport
from asyncjobs.runtime.argument_checks import id_of
from asyncjobs.runtime.events.frames import STOPPING_RETRY, FrameReader, Frames, control, stream_frames
from asyncjobs.runtime.events.log_pages import cursor_or_beyond
from asyncjobs.runtime.events.streamer import StatusStreamer
from asyncjobs.runtime.reasons import held_by_the_dead
from asyncjobs.runtime.reports import report, to_be_timed, unreadable_result
from asyncjobs.runtime.submission import name_of

if TYPE_CHECKING:
    from typing import Unpack

    from starlette.requests import Request
    from starlette.responses import Response

    from asyncjobs.processor import JobProcessor
    from asyncjobs.web.app import WebApp
    from asyncjobs.web.settings import WebSettings
    from asyncjobs.web.sse_response import OwnRoutes
    from asyncjobs.web.streams import OpenStreams

Types = Collection[str] | str | None


class Watching:
    """Part of ``JobProcessor``."""

    def __init__(self) -> None:
        self._streams: list[OpenStreams] = []
        self._own_routes: OwnRoutes | None = None

    @property
    def streamer(self) -> StatusStreamer:
        """Gives readers of the event log, for programs that need a timeout or the cursor besides the events."""
        raise NotImplementedError

    @property
    def _facade(self) -> JobProcessor:
        """The processor that this is a part of: what the web part is given."""
        return cast("JobProcessor", self)

    async def poll_status(self, job_id: str) -> StatusReport:
        """Status, percentage, elapsed seconds, estimate of the rest, and the result once there is one.

        The estimate is of running jobs: from their own progress once it is 5 %, else from the median of what jobs of
        the same function took if 3 have completed lately, else None. While the worker that has the job is dead, the
        message is ``worker gone``, and there is no estimate.
        """
        backend = self._facade.backend
        job = await self._facade.get_job(job_id)
        return (await self._reports(backend, [job]))[job.id]

    async def poll_batch(self, job_ids: Sequence[str]) -> dict[str, StatusReport | None]:
        """``poll_status`` of several jobs at once; None for an unknown id.

        A result that cannot be read (any more) is the ``error`` of its own report.

        :raises ConfigurationError: one id instead of several, or what is no id.
        """
        backend = self._facade.backend
        ids = [name_of("job_ids", one, 512) for one in listed("job_ids", job_ids, "ids or handles, in a list")]
        asked: dict[str, StatusReport | None] = dict.fromkeys(ids)
        return asked | await self._reports(backend, await backend.get_jobs(list(asked)))

    async def _reports(self, backend: JobBackend, jobs: Sequence[Job]) -> dict[str, StatusReport]:
        results = await backend.get_results([job.id for job in jobs if job.status is JobStatus.COMPLETED])
        values: dict[str, Any] = {}
        unreadable: dict[str, JobError] = {}
        for key, end in results.items():
            if end.status is not JobStatus.COMPLETED:
                continue
            try:
                values[key] = self._facade.value_of(end, None)
            except (ConversionError, CorruptValueError) as error:
                unreadable[key] = unreadable_result(error)
        durations = {function: await backend.get_durations(function) for function in to_be_timed(jobs)}
        gone = await held_by_the_dead(backend, jobs)
        now = to_datetime(self._facade.clock.now())
        return {
            job.id: report(
                job,
                now,
                values.get(job.id),
                durations.get(job.function, ()),
                worker_gone=job.id in gone,
                unreadable=unreadable.get(job.id),
            )
            for job in jobs
        }

    def stream_job(self, job_id: str, after: str | None = None, *, types: Types = None) -> AsyncIterator[JobEvent]:
        """Events of a job: its history after the cursor ``after``, then live; ends when the job has ended.

        :param after: the ``cursor`` of the last event that was seen. Default: from the first one.
        :param types: only events of these types, such as ``["progress", "completed"]``. Default: all.
        :raises JobNotFoundError: no such job. ConfigurationError: ``after`` is not a cursor.
        :raises CyclicDependencyError: read inside of a job beyond what is stored, and its job waits for that one.
        """
        return self.streamer.job(id_of(job_id), after, types)

    def stream_group(self, group: str, after: str | None = None, *, types: Types = None) -> AsyncIterator[JobEvent]:
        """Events of a group's jobs; ends when all of them have ended.

        :raises CyclicDependencyError: as for ``stream_job``; the calling job may be of the group.
        """
        return self.streamer.group(group, after, types)

    def stream_all(self, after: str | None = None, *, types: Types = None) -> AsyncIterator[JobEvent]:
        """Every event; does not end."""
        return self.streamer.all(after, types)

    async def subscribe_sse(
        self,
        *,
        job_id: str | None = None,
        group: str | None = None,
        types: Types = None,
        after: str | None = None,
        ping: float = 15.0,
    ) -> AsyncGenerator[bytes]:
        """Ready-made frames of server-sent events (of a job, a group, or all), for a framework's streaming response.

        ``after`` is the request's ``Last-Event-ID``: an empty one is none, one that is no cursor gives ``reset``. An
        unknown job gives one frame, ``end``. After ``ping`` seconds without an event, a comment says that the stream
        lives. ``sse_response`` is a whole response for a route of your own, with status and headers; this is for other
        frameworks, and frames alone.
        """
        try:
            streamer = self.streamer
        except BackendClosedError as error:
            if not error.leaving:
                raise
            yield control("named", "bye", reason="shutdown", retry=STOPPING_RETRY)
            return
        reader = streamer.reader(job_id=job_id, group=group, types=types, after=cursor_or_beyond(after), may_reset=True)
        async with aclosing(stream_frames(FrameReader(Frames(), reader, "named"), reader, ping)) as frames:
            async for frame in frames:
                yield frame

    def sse_response(
        self,
        request: Request,
        *,
        job_id: str | None = None,
        group: str | None = None,
        types: Types = None,
        after: str | None = None,
        plain: bool = False,
    ) -> Response:
        """Stream events (of a job, a group, or all) as the response of a route of your own in Starlette or FastAPI.

        ::

            @app.get("/comics/{job_id}/events")
            async def events(job_id: str, request: Request):
                return jp.sse_response(request, job_id=job_id)

        It is what ``asgi_app`` answers: 404 for an unknown job or group, headers that keep proxies from holding it
        back, 204 once all was delivered. It goes on after ``Last-Event-ID``, and ends when the server stops. Who may
        ask is for the route to say.

        :param after: the cursor of the last event that the page knows already; the header wins.
        :param plain: frames without names: each is a ``message``, with its type in the JSON.
        :raises ConfigurationError: both a job and a group. MissingExtraError: the extra ``web`` is not installed.
        """
        if self._own_routes is None:
            try:
                from asyncjobs.web.sse_response import OwnRoutes
            except ModuleNotFoundError as error:
                if error.name != "starlette":
                    raise
                raise MissingExtraError("web", what="sse_response()") from error
            self._own_routes = OwnRoutes(self._facade)
            self._streams.append(self._own_routes.streams)
        return self._own_routes.response(request, job_id=job_id, group=group, types=types, after=after, plain=plain)

    def asgi_app(self, **settings: Unpack[WebSettings]) -> WebApp:
        """An ASGI app with jobs, groups, the graph, events (SSE) and actions under ``v1/``, to be mounted in yours.

        :param settings: those of ``asyncjobs.web.WebConfig``. By default only this machine may ask.
        :raises MissingExtraError: the extra ``web`` is not installed.
        """
        try:
            from asyncjobs.web.app import WebApp
            from asyncjobs.web.settings import WebConfig
        except ModuleNotFoundError as error:
            if error.name != "starlette":
                raise
            raise MissingExtraError("web", what="asgi_app()") from error
        app = WebApp(self._facade, WebConfig(**settings))
        self._streams.append(app.streams)
        return app

    def close_streams(self, reason: str = "shutdown") -> None:
        """End all event streams that this processor serves, of apps and of own routes. Their clients come back with the
        cursor they have.

        Servers wait for open streams before they stop. uvicorn is watched; for others, call this first.
        """
        for streams in self._streams:
            streams.close(reason)
