"""Define the ASGI app: it routes requests, authenticates callers and turns errors into problem documents."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asyncjobs.exceptions import BackendClosedError, JobProcessorError
from asyncjobs.models import JobEvent
from asyncjobs.runtime.events.frames import Frames
from asyncjobs.safe_logging import SafeLogger
from asyncjobs.web.access import Caller, Guard, headers_size, target_size
from asyncjobs.web.call import Call, Site
from asyncjobs.web.paths import Place, parse_place
from asyncjobs.web.problems import WebError, as_web_error
from asyncjobs.web.render import event_kind
from asyncjobs.web.requests import NoQuery
from asyncjobs.web.routes import TABLE, Entry
from asyncjobs.web.settings import Redact, WebConfig
from asyncjobs.web.streams import OpenStreams

if TYPE_CHECKING:
    from asyncjobs.processor import JobProcessor
    from asyncjobs.runtime.engine import Engine

logger = SafeLogger("asyncjobs.web")

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class WebApp:
    """The app that ``jp.asgi_app(…)`` returns, to be mounted under any path or served alone.

    Mounted, the host runs the processor (``FastAPI(lifespan=jp.lifespan)``); alone, the app does in its own lifespan.
    """

    def __init__(self, jp: JobProcessor, engine: Engine, config: WebConfig) -> None:
        self.jp = jp
        self.config = config
        self.streams: OpenStreams = OpenStreams(
            config.max_streams, engine.start_soon if config.watch_shutdown else None
        )
        frames = Frames(redactor(config.redact))
        self._site = Site(jp, engine, config, Guard(config), self.streams, frames, _document)
        self._routes = [(_route(entry), entry) for entry in TABLE]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003, "reason": "websockets are not supported"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        phase = "startup"
        try:
            await receive()
            async with nullcontext() if _is_running(self.jp) else self.jp:
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except Exception as error:
            logger.exception("the processor could not be %s", "started" if phase == "startup" else "stopped")
            await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = parse_place(scope)
        # Starlette matches ``path``. Ids may contain slashes, so it gets the encoded path.
        scope = dict(scope, path=place.path, root_path="", app_root_path="")
        request = Request(scope, receive)
        answer = _Answer(send, self._headers(request))
        try:
            response = await self._response(request, place)
            await response(scope, receive, answer)
        except WebError as error:
            await self._problem(error, place, scope, receive, answer)
        except JobProcessorError as error:
            await self._problem(as_web_error(error), place, scope, receive, answer)
        except Exception:
            if answer.started:
                raise
            logger.exception("%s %s failed", request.method, place.path)
            error = WebError(500, "internal", "internal error; see the log of the server")
            await self._problem(error, place, scope, receive, answer)

    async def _problem(self, error: WebError, place: Place, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if answer.started:
            raise error
        await error.response(place.root + place.path)(scope, receive, answer)

    def _headers(self, request: Request) -> dict[str, str]:
        given = request.headers.get("x-request-id", "")
        known = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        return {
            "x-request-id": known,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            **self._site.guard.cors(request),
        }

    async def _response(self, request: Request, place: Place) -> ASGIApp:
        guard = self._site.guard
        self._check_size(request)
        guard.check_host(request)
        if request.method == "OPTIONS" and (headers := guard.preflight(request)) is not None:
            return Response(status_code=204, headers=headers)
        if place.bare and request.method in ("GET", "HEAD"):
            return _redirect_into(request, place)
        entry, params = self._find(request, place)
        if entry is None:
            return Response(status_code=204, headers=params)
        request.scope["path_params"] = params
        call = Call(self._site, request, place, await self._admit(request, place, entry))
        if entry.query is NoQuery:
            call.query(NoQuery)  # the other types are read by their handlers
        return await entry.handler(call)

    def _check_size(self, request: Request) -> None:
        most = self.config.max_headers
        if headers_size(request.scope) > most:
            raise WebError(431, "headers-too-large", f"more than {most:,} bytes of headers")
        if target_size(request.scope) > most:
            raise WebError(414, "uri-too-long", f"more than {most:,} bytes of path and query")

    async def _admit(self, request: Request, place: Place, entry: Entry) -> Caller:
        """Return the caller of a request.

        :raises WebError: the caller is unknown, or is not allowed to do this.
        """
        guard = self._site.guard
        if entry.right is None:
            caller = guard.nobody
        else:
            caller = await guard.caller(request, ticket_for=place.path if entry.streams else None)
        guard.check_change(request, caller)
        if entry.right is not None:
            caller.require(entry.right)
        return caller

    def _find(self, request: Request, place: Place) -> tuple[Entry, dict[str, Any]] | tuple[None, dict[str, str]]:
        """Return the entry and the parameters in the path, or for OPTIONS, None and the headers of the response."""
        allowed: set[str] = set()
        for route, entry in self._routes:
            match, child = route.matches(request.scope)
            if match is Match.FULL:
                return entry, child["path_params"]
            if match is Match.PARTIAL:
                allowed |= route.methods or set()
        if not allowed:
            raise WebError(404, "not-found", f"nothing at {place.path}", hint=f"{place.root}/v1/ lists the resources")
        methods = ", ".join(sorted(allowed | {"OPTIONS"}))
        if request.method == "OPTIONS":
            return None, {"allow": methods}
        raise WebError(
            405, "method-not-allowed", f"{request.method} is not allowed for {place.path}", headers={"allow": methods}
        )


class _Answer:
    """Wraps ``send``: adds the headers of every response, and records whether one was started."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send = send
        self._headers = headers
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            given = {name for name, _ in message["headers"]}
            more = [(name.encode(), value.encode("latin-1")) for name, value in self._headers.items()]
            headers = [*message["headers"], *((name, value) for name, value in more if name not in given)]
            message = {**message, "headers": headers}
        await self._send(message)


def _redirect_into(request: Request, place: Place) -> Response:
    """Redirect from the mount to its root by a relative URL, which is right behind any proxy."""
    query = request.scope["query_string"].decode("latin-1")
    location = f"{place.root.rpartition('/')[2]}/{'?' if query else ''}{query}"
    return Response(status_code=307, headers={"location": location})


def _is_running(jp: JobProcessor) -> bool:
    try:
        return bool(jp.backend)
    except BackendClosedError:
        return False


def _route(entry: Entry) -> Route:
    async def endpoint(request: Request) -> Response:  # never called: the entry's handler is
        raise NotImplementedError

    return Route(entry.path, endpoint, methods=[entry.method])


def _document(mount: str) -> dict[str, Any]:
    from asyncjobs.web.openapi import document  # loaded at the first request for the document

    return document(mount)


def redactor(redact: Redact | None) -> Callable[[JobEvent], JobEvent] | None:
    """Return a function that redacts events with ``redact``, or None without it."""
    if redact is None:
        return None

    def hide(event: JobEvent) -> JobEvent:
        if not event.data:
            return event
        shown = redact(event_kind(event), event.data)
        return replace(event, data=shown if isinstance(shown, dict) else {"redacted": shown})

    return hide
