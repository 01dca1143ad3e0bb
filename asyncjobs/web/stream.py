"""Serve a stream of events as an ASGI response: server-sent events or JSON lines.

The status must be 200 even for temporary faults: any other status ends a browser's ``EventSource`` for good. So a
temporary fault is a stream that ends at once and names the reconnection delay.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping

import anyio
from starlette.types import Receive, Scope, Send

from asyncjobs.exceptions import BackendClosedError, BackendError, JobNotFoundError
from asyncjobs.runtime.events.frames import STOPPING_RETRY, STORE_RETRY, Form, FrameReader, Frames, control, hello, ping
from asyncjobs.runtime.events.reader import EventReader
from asyncjobs.web.settings import WebConfig
from asyncjobs.web.streams import LAST_WORDS, OpenStream, OpenStreams, let_go

_BUSY_RETRY = 15_000


def stream_headers(form: Form) -> dict[str, str]:
    """Return the headers of every stream."""
    kind = "application/x-ndjson" if form == "lines" else "text/event-stream"
    return {
        "content-type": f"{kind}; charset=utf-8",
        "cache-control": "no-store, no-transform",
        "x-accel-buffering": "no",
        "x-content-type-options": "nosniff",
    }


def goodbye(form: Form, reason: str = "shutdown") -> bytes:
    """Return the last frame before the server stops; the client reconnects with its cursor."""
    return control(form, "bye", reason=reason, retry=STOPPING_RETRY)


class EventStream:
    """Serves one reader to one client.

    :param check: raises if the request is invalid.
    :param headers: further headers of the response.
    """

    def __init__(
        self,
        reader: EventReader,
        frames: Frames,
        form: Form,
        *,
        check: Callable[[], Awaitable[object]] | None,
        config: WebConfig,
        streams: OpenStreams,
        snapshot: str,
        headers: Mapping[str, str],
    ) -> None:
        self._reader = reader
        self._frames = FrameReader(frames, reader, form, snapshot=snapshot)
        self._form: Form = form
        self._check = check
        self._config = config
        self._streams = streams
        self._headers = {**stream_headers(form), **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream.

        :raises JobProcessorError: before anything was sent: no such job, an invalid cursor, not running.
        """
        with self._streams.opened() as stream:
            try:
                await self._serve(scope, receive, send, stream)
            finally:
                self._reader.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, stream: OpenStream | None) -> None:
        came_back = self._reader.cursor is not None
        if stream is None:
            await self._whole(scope, send, control(self._form, "reset", reason="busy", retry=_BUSY_RETRY))
            return
        try:
            first = await self._first()
        except BackendClosedError as error:
            if not error.leaving:
                raise
            await self._whole(scope, send, goodbye(self._form))
            return
        except BackendError:
            await self._whole(scope, send, self._store_is_away())
            return
        if self._frames.ended and came_back and not self._frames.delivered:
            await self._start(send, 204)  # a finished job, fully delivered: the browser does not reconnect
            await send({"type": "http.response.body", "body": b""})
        elif scope["method"] == "HEAD":
            await self._whole(scope, send, b"")
        else:
            await self._start(send, 200)
            await self._follow(receive, send, stream, hello(self._form) + first)

    async def _first(self) -> bytes:
        """Return the first chunk; raise errors of the request, before a status is sent."""
        if self._check is not None:
            await self._check()
        return await self._frames.next(0)

    async def _follow(self, receive: Receive, send: Send, stream: OpenStream, chunk: bytes) -> None:
        """Send a chunk and all that follow, until the stream ends or the client disconnects."""

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                await self._pump(send, stream, chunk)
                await let_go(receive)
                tasks.cancel_scope.cancel()
        except* OSError:
            pass  # some servers report a disconnected client this way

    async def _pump(self, send: Send, stream: OpenStream, chunk: bytes) -> None:
        """Send until the stream ends or the client stops reading; a live client reconnects with its cursor."""
        until = anyio.current_time() + self._config.max_stream_age * random.uniform(0.9, 1.1)
        while True:
            done = self._frames.ended or anyio.current_time() >= until
            if stream.closing is not None:
                chunk += goodbye(self._form, stream.closing)
                done = True
            if chunk and not await self._send(send, stream, chunk):
                return
            if done:
                break
            try:
                chunk = await self._next(stream, until)
            except JobNotFoundError:
                break  # the job was removed meanwhile
            except BackendError:
                chunk, until = self._store_is_away(), 0.0
        with anyio.move_on_after(LAST_WORDS, shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, stream: OpenStream, chunk: bytes) -> bool:
        """Send a chunk. Return False if the client did not read it in time."""
        limit = LAST_WORDS if stream.closing is not None else self._config.send_timeout
        with anyio.move_on_after(limit) as sending:
            stream.sending = sending
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        stream.sending = None
        return not sending.cancelled_caught

    async def _next(self, stream: OpenStream, until: float) -> bytes:
        """Return the next chunk, or b"" if the stream is to end."""
        chunk = b""
        with anyio.CancelScope() as waiting:
            stream.waiting = waiting
            if stream.closing is None:
                await anyio.sleep(0.0 if self._frames.ready else self._streams.pause)
                left = until - anyio.current_time()
                if left > 0:
                    chunk = await self._frames.next(min(self._config.ping, left)) or ping(self._form)
        stream.waiting = None
        return chunk

    def _store_is_away(self) -> bytes:
        return control(self._form, "reset", reason="store", retry=STORE_RETRY)

    async def _start(self, send: Send, status: int) -> None:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def _whole(self, scope: Scope, send: Send, body: bytes) -> None:
        await self._start(send, 200)
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
