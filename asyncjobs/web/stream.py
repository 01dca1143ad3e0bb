"""A stream of events as an ASGI response: server-sent events, or JSON lines.

Once it has begun, nothing but a 200 may come: any other status ends a browser's ``EventSource`` for good. So a passing
fault is a stream that ends at once and says when to come back.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import anyio
from starlette.types import Receive, Scope, Send

from asyncjobs.exceptions import BackendClosedError, BackendError
from asyncjobs.runtime.frames import PING, Form, FrameReader, Frames, control, hello, retry
from asyncjobs.runtime.reader import EventReader
from asyncjobs.web.settings import WebConfig
from asyncjobs.web.streams import OpenStream, OpenStreams

_BUSY_RETRY = 15_000
_STORE_RETRY = 5_000
_STOPPING_RETRY = 1_000
_LAST_WORDS = 1.0
"""Seconds that the last chunk may take."""


class EventStream:
    """Serves one reader to one client.

    :param headers: further headers of the response.
    """

    def __init__(
        self,
        reader: EventReader,
        frames: Frames,
        form: Form,
        *,
        config: WebConfig,
        streams: OpenStreams,
        snapshot: str,
        headers: Mapping[str, str],
    ) -> None:
        self._reader = reader
        self._frames = FrameReader(frames, reader, form, snapshot=snapshot)
        self._form = form
        self._config = config
        self._streams = streams
        kind = "application/x-ndjson" if form == "lines" else "text/event-stream"
        self._headers = {
            "content-type": f"{kind}; charset=utf-8",
            "cache-control": "no-store, no-transform",
            "x-accel-buffering": "no",
            "x-content-type-options": "nosniff",
            **headers,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it.

        :raises JobProcessorError: before anything was sent: no such job, no cursor, not running.
        """
        with self._streams.opened() as stream:
            try:
                await self._serve(scope, receive, send, stream)
            finally:
                self._reader.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, stream: OpenStream | None) -> None:
        reader = self._reader
        came_back = reader.cursor is not None
        if stream is None:
            await self._only(send, self._control("reset", {"reason": "busy"}) + self._retry(_BUSY_RETRY))
            return
        try:
            first = await self._frames.next(0)  # what is wrong with the request shows here, before a status is sent
        except BackendClosedError:
            raise
        except BackendError:
            await self._only(send, self._control("reset", {"reason": "store"}) + self._retry(_STORE_RETRY))
            return
        if self._frames.ended and came_back and not self._frames.sent:
            await self._start(send, 204)  # a finished job, fully delivered: the browser comes back no more
            await send({"type": "http.response.body", "body": b""})
            return
        await self._start(send, 200)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                await self._pump(send, stream, first)
                tasks.cancel_scope.cancel()
        except* OSError:
            pass  # some servers say so that the client is gone

    async def _pump(self, send: Send, stream: OpenStream, first: bytes) -> None:
        config = self._config
        until = anyio.current_time() + config.max_stream_age * random.uniform(0.9, 1.1)
        chunk = (b"" if self._form == "lines" else hello()) + first
        while True:
            done = self._frames.ended
            if stream.closing is not None:
                chunk += self._control("bye", {"reason": stream.closing}) + self._retry(_STOPPING_RETRY)
                done = True
            if chunk:
                with anyio.move_on_after(config.send_timeout) as slow:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if slow.cancelled_caught:
                    return  # it reads nothing; if it lives, it comes back with its cursor
            if done:
                break
            chunk = b""
            left = until - anyio.current_time()
            if left <= 0:
                break
            with anyio.CancelScope() as waiting:
                stream.waiting = waiting
                try:
                    if stream.closing is None:
                        await anyio.sleep(self._streams.pause)
                        chunk = await self._frames.next(min(config.ping, left)) or self._ping()
                except BackendError:
                    chunk = self._control("reset", {"reason": "store"}) + self._retry(_STORE_RETRY)
                    until = 0.0
            stream.waiting = None
        with anyio.move_on_after(_LAST_WORDS, shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    # -- frames that only server-sent events have

    def _control(self, name: str, data: dict[str, str]) -> bytes:
        return b"" if self._form == "lines" else control(name, data)

    def _retry(self, milliseconds: int) -> bytes:
        return b"" if self._form == "lines" else retry(milliseconds)

    def _ping(self) -> bytes:
        return b"\n" if self._form == "lines" else PING

    async def _start(self, send: Send, status: int) -> None:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def _only(self, send: Send, body: bytes) -> None:
        await self._start(send, 200)
        await send({"type": "http.response.body", "body": body})
