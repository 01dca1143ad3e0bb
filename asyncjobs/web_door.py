"""Import the web package for the facade, on first use; no other module below the web package does so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncjobs.exceptions import MissingExtraError
from asyncjobs.runtime.engine import Engine

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asyncjobs.processor import JobProcessor
    from asyncjobs.web.app import WebApp
    from asyncjobs.web.sse_response import OwnRoutes
    from asyncjobs.web.streams import OpenStreams


class WebDoor:
    """The factory of a processor's ASGI apps and stream responses; ends their streams when the processor is left."""

    def __init__(self, jp: JobProcessor, engine: Engine) -> None:
        self._jp = jp
        self._engine = engine
        self._streams: list[OpenStreams] = []
        self._own_routes: OwnRoutes | None = None
        engine.on_leave(self.close_streams)

    def app(self, settings: dict[str, Any]) -> WebApp:
        """Return an ASGI app.

        :param settings: the fields of a ``WebConfig``.
        """
        try:
            from asyncjobs.web.app import WebApp
            from asyncjobs.web.settings import WebConfig
        except ModuleNotFoundError as error:
            if error.name != "starlette":
                raise
            raise MissingExtraError("web", what="asgi_app()") from error
        app = WebApp(self._jp, self._engine, WebConfig(**settings))
        self._streams.append(app.streams)
        return app

    def response(self, request: Request, **wanted: Any) -> Response:
        """Return a stream of events as the response of a route.

        :param wanted: the arguments of ``OwnRoutes.response``.
        """
        if self._own_routes is None:
            try:
                from asyncjobs.web.sse_response import OwnRoutes
            except ModuleNotFoundError as error:
                if error.name != "starlette":
                    raise
                raise MissingExtraError("web", what="sse_response()") from error
            self._own_routes = OwnRoutes(self._jp, self._engine)
            self._streams.append(self._own_routes.streams)
        return self._own_routes.response(request, **wanted)

    def close_streams(self, reason: str = "shutdown") -> None:
        """End every open stream; its client reconnects with its cursor."""
        for streams in self._streams:
            streams.close(reason)
