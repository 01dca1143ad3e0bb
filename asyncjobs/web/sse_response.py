"""Stream events as the response of a program's own route: ``jp.sse_response(…)``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asyncjobs.exceptions import BackendClosedError, ConfigurationError, JobProcessorError
from asyncjobs.runtime.engine import Engine
from asyncjobs.runtime.events.frames import Form, Frames
from asyncjobs.runtime.events.log_pages import cursor_or_beyond
from asyncjobs.runtime.submission import LONGEST_ID, checked_name
from asyncjobs.web.app import redactor
from asyncjobs.web.graphs import known_group
from asyncjobs.web.problems import WebError, as_web_error
from asyncjobs.web.settings import WebConfig
from asyncjobs.web.stream import EventStream, goodbye, stream_headers
from asyncjobs.web.streams import OpenStreams

if TYPE_CHECKING:
    from asyncjobs.processor import JobProcessor


class OwnRoutes:
    """State shared by the streams of all routes of a program: their number, and their end with the server.

    Settings are the defaults of ``WebConfig``; the route decides which callers have access.
    """

    def __init__(self, jp: JobProcessor, engine: Engine) -> None:
        self.jp = jp
        self.config: WebConfig = WebConfig()
        self.streams: OpenStreams = OpenStreams(self.config.max_streams, engine.start_soon)
        self.frames: Frames = Frames(redactor(self.config.redact))

    def response(
        self,
        request: Request,
        *,
        job_id: str | None,
        group: str | None,
        types: Collection[str] | str | None,
        after: str | None,
        plain: bool,
    ) -> SseResponse:
        """Return the response: see ``JobProcessor.sse_response``."""
        if job_id is not None and group is not None:
            raise ConfigurationError("sse_response", group, problem="give sse_response a job_id or a group, not both")
        return SseResponse(self, request, job_id=job_id, group=group, types=types, after=after, plain=plain)


class SseResponse(Response):
    """A response that streams events, or a problem document for an unknown job or group, or an unavailable store."""

    def __init__(
        self,
        routes: OwnRoutes,
        request: Request,
        *,
        job_id: str | None,
        group: str | None,
        types: Collection[str] | str | None,
        after: str | None,
        plain: bool,
    ) -> None:
        super().__init__()
        # Besides the headers of the stream, send only those that the host adds (cookies, headers of dependencies).
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self._routes = routes
        self._path = request.url.path
        self._job_id = job_id
        self._group = group
        self._types = types
        # After a reconnection, the browser's header is newer than the cursor of the page.
        self._after = request.headers.get("last-event-id") or after
        self._plain = plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream, or a problem document."""
        added = self.raw_headers

        async def send_with_added(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            try:
                await self._stream()(scope, receive, send_with_added)
            except JobProcessorError as error:
                raise as_web_error(error) from error
        except WebError as error:
            await error.response(self._path)(scope, receive, send_with_added)
        if self.background is not None:
            await self.background()

    def _stream(self) -> ASGIApp:
        routes, job_id, group = self._routes, self._job_id, self._group
        for name, value, longest in (("job_id", job_id, LONGEST_ID), ("group", group, 200)):
            if value is not None:
                _checked(name, value, longest)

        async def check() -> Any:
            if job_id is not None:
                return await routes.jp.get_job(job_id)
            return None if group is None else await known_group(routes.jp, group)

        form: Form = "plain" if self._plain else "named"
        try:
            streamer = routes.jp.streamer
        except BackendClosedError as error:
            if not error.leaving:
                raise
            return Response(goodbye(form), headers=stream_headers(form))
        reader = streamer.reader(
            job_id=job_id, group=group, types=self._types, after=cursor_or_beyond(self._after), may_reset=True
        )
        return EventStream(
            reader,
            routes.frames,
            form,
            check=check,
            config=routes.config,
            streams=routes.streams,
            snapshot="",
            headers={},
        )


def _checked(name: str, value: str, longest: int) -> None:
    """Check that a value can be the name of a job or group.

    :raises WebError: 404, it cannot.
    """
    try:
        checked_name(name, value, longest)
    except ConfigurationError as error:
        raise WebError(404, "not-found", f"not a valid {name}", hint=error.allowed) from None
