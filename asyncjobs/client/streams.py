"""Stream events over HTTP, and continue where a connection was lost.

The client requests server-sent events, not JSON lines: proxies and middleware know them and do not buffer or compress
them, and they carry the reconnection delay (``retry:``). With ``plain=1``, messages of the stream itself (``end``,
``reset``, ``bye``) differ from events by their form, whatever events are called.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
from msgspec import DecodeError, Struct, ValidationError, json

from asyncjobs.client.backoff import pause_before
from asyncjobs.client.sse import Block, BlockParser
from asyncjobs.exceptions import BackendConnectionError, BackendError, ConfigurationError
from asyncjobs.models import JobEvent
from asyncjobs.safe_logging import SafeLogger

if TYPE_CHECKING:
    import httpx

    from asyncjobs.client.transport import Transport

logger = SafeLogger("asyncjobs.client")

Types = Collection[str] | str | None

_PASSING = frozenset({"busy", "store"})
"""Reasons of a ``reset`` without a loss: the server is temporarily unavailable."""
_RETRY = 1.0
_SHORTEST, _LONGEST = 0.1, 60.0
"""Bounds of the delay that a server may request by ``retry:``."""


class Reset(Struct, frozen=True):
    """Events are missing: those after the stream's cursor were removed (``reason`` is ``"retention"``), or the cursor
    is of another store (``"cursor"``). The stream continues after ``cursor``; ``snapshot`` is the path of the current
    state."""

    reason: str
    cursor: str | None = None
    snapshot: str | None = None


class _StreamMessage(Struct, frozen=True):
    """A message of the stream itself, which has no ``job_id``."""

    type: str
    data: dict[str, Any]
    job_id: str | None = None


OnReset = Callable[[Reset], "Awaitable[object] | object"]


class EventStream:
    """An async iterator of events. ``cursor`` is the position after the last returned event; another stream, also in
    another process, continues there with ``after=``.

    The iterator ends when the server reports that no event will follow. It reconnects without limit after a lost
    connection, but raises an error if the server was never reached. To leave no connection open, iterate to the end, or
    use it as ``async with``.

    :param lasting: whether to reconnect after a lost connection; otherwise end once the pause before that is over.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        *,
        after: str | None = None,
        types: Types = None,
        on_reset: OnReset | None = None,
        lasting: bool = True,
    ) -> None:
        # The generator must not refer to this object, so that it is closed as soon as the object is dropped.
        self._source = _Source(transport, path, after, types, on_reset, lasting)
        self._events = self._source.events()

    @property
    def cursor(self) -> str | None:
        """Return the position after the last event."""
        return self._source.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobEvent:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _Source:
    def __init__(
        self,
        transport: Transport,
        path: str,
        after: str | None,
        types: Types,
        on_reset: OnReset | None,
        lasting: bool,
    ) -> None:
        if after is not None and (not isinstance(after, str) or not after.isascii() or not after.isprintable()):
            raise ConfigurationError("after", after, allowed="the cursor of an event")
        self.cursor = after
        self._transport = transport
        self._path = path
        self._params = {"plain": "1"}
        if types is not None:
            self._params["types"] = ",".join(_names(types))
        self._on_reset = on_reset
        self._lasting = lasting
        self._retry = _RETRY
        self._ended = False
        self._failures = 0  # in a row
        self._reached = self._announced = False

    async def events(self) -> AsyncGenerator[JobEvent]:
        """Yield events, reconnecting as often as the connection is lost."""
        while True:
            try:
                response = await self._transport.open(self._path, self._params, self._headers())
                if response is None:
                    return
                self._reached = True
                async with aclosing(self._blocks(response)) as blocks:
                    async for event in blocks:
                        if event is not None:
                            yield event
                if self._ended:
                    return
                lost = "the server closed the stream"
            except BackendConnectionError as error:
                self._note_loss(error)
                lost = str(error.args[0])
            self._failures += 1
            pause = self._pause(self._failures)
            logger.debug("event stream %s: %s; reconnecting in %.1f s at %s", self._path, lost, pause, self.cursor)
            await anyio.sleep(pause)
            if not self._lasting:
                return

    async def _blocks(self, response: httpx.Response) -> AsyncGenerator[JobEvent | None]:
        """Yield the event of each block, or None for one without, until the stream ends; close the response."""
        parser = BlockParser()
        try:
            async with aclosing(self._transport.chunks(response)) as chunks:
                async for chunk in chunks:
                    for block in parser.feed(chunk):
                        self._failures, self._announced = 0, False
                        yield await self._take(block)
                    if self._ended:
                        return
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    def _note_loss(self, error: BackendConnectionError) -> None:
        """Log that the connection was lost, once until the next block.

        :raises BackendConnectionError: the server was never reached, and the tries are used up.
        """
        if self._lasting and not self._reached and self._failures + 1 >= self._transport.tries:
            error.tries = self._failures + 1
            raise error
        if self._reached and not self._announced:
            self._announced = True
            logger.warning("event stream lost, reconnecting: %s", error.args[0])

    def _headers(self) -> dict[str, str]:
        return {} if self.cursor is None else {"last-event-id": self.cursor}

    def _pause(self, failures: int) -> float:
        backoff = pause_before(failures) if failures > 1 else 0.0
        return max(backoff, self._retry * random.uniform(1.0, 1.25))

    async def _take(self, block: Block) -> JobEvent | None:
        if block.retry is not None:
            self._retry = min(max(block.retry, _SHORTEST), _LONGEST)
        event = None if block.data is None else await self._read(block.data)
        if block.id is not None:
            self.cursor = block.id
        return event

    async def _read(self, data: str) -> JobEvent | None:
        try:
            return json.decode(data, type=JobEvent)
        except (DecodeError, ValidationError) as error:
            message = _stream_message(data)
            if message is None:
                raise BackendError(
                    f"an event cannot be decoded: {error}", hint="is this client older than the server?"
                ) from None
        if message.type == "end":
            self._ended = True
        elif message.type == "reset":
            reason, cursor, snapshot = (message.data.get(name) for name in Reset.__struct_fields__)
            await self._reset(Reset(str(reason), cursor, snapshot))
        return None  # messages that a newer server adds are ignored

    async def _reset(self, reset: Reset) -> None:
        if reset.reason in _PASSING:
            logger.debug("event stream %s: temporarily unavailable (%s)", self._path, reset.reason)
            return
        logger.warning(
            "event stream %s: events after %s were removed (%s); continuing after them",
            self._path,
            self.cursor,
            reset.reason,
        )
        if self._on_reset is not None:
            waits = self._on_reset(reset)
            if inspect.isawaitable(waits):
                await waits


def _stream_message(data: str) -> _StreamMessage | None:
    try:
        message = json.decode(data, type=_StreamMessage)
    except (DecodeError, ValidationError):
        return None
    return message if message.job_id is None else None


def _names(types: Collection[str] | str) -> list[str]:
    names: Collection[object] = (types,) if isinstance(types, str) else types
    if not names or not all(isinstance(name, str) and name and "," not in name for name in names):
        raise ConfigurationError(
            "types", types, allowed="names of event types without commas, such as 'completed', or None for all"
        )
    return [str(name) for name in names]
