"""Cut off the calls that are under way when a store is closed.

aiohttp does not: who reads an answer whose first part had arrived when the connection was closed waits for ever.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio

from asyncjobs.exceptions import BackendClosedError


class UnderWay:
    """The calls of an open store that wait for an answer."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False

    @contextmanager
    def cut_off_at_close(self) -> Generator[None]:
        """Wait for an answer in here.

        :raises BackendClosedError: the store was closed before, or is closed meanwhile.
        """
        if self._closed:
            raise BackendClosedError
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise BackendClosedError

    def close(self) -> None:
        """Cut off what is under way, and let nothing begin any more."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()


def http_session(under_way: UnderWay) -> type[Any]:
    """Return what aiobotocore sends the calls of a store with."""
    from aiobotocore.httpsession import AIOHTTPSession

    class HTTPSession(AIOHTTPSession):
        async def send(self, request: Any) -> Any:
            with under_way.cut_off_at_close():
                return await super().send(request)  # pyright: ignore[reportUnknownVariableType] - no types

    return HTTPSession
