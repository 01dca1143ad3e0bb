"""Answers in place of AWS, below botocore: it parses them, retries, and raises what it would raise of AWS itself.

They reach the clients of threads, too, which make calls of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from botocore.awsrequest import AWSResponse
from msgspec import Struct

from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.parts import Parts
from asyncjobs.config import SQSConfig


class Refusal(Struct, frozen=True):
    """An answer that is an error."""

    code: str
    message: str = "a fault of the test"
    status: int = 400
    headers: Mapping[str, str] = {}


Decide = Callable[[str, Any], Refusal | None]
"""Gets the name of the operation and the request; None: the call goes to the emulator."""


class Answering:
    """Answers calls of clients. ``given`` counts the answers by operation.

    :param decide: what the answer is. It may be replaced while the clients are in use.
    """

    def __init__(self, decide: Decide = lambda operation, request: None) -> None:
        self.decide = decide
        self.given: Counter[str] = Counter()

    def attach(self, client: Any, kind: type[_Answer]) -> None:
        """Answer calls of a client."""

        def answer(request: Any, event_name: str, **_: object) -> _Answer | None:
            operation = event_name.rpartition(".")[2]
            refusal = self.decide(operation, request)
            if refusal is None:
                return None
            self.given[operation] += 1
            return kind(refusal.status, dict(refusal.headers), _body(refusal, xml=".s3." in event_name))

        client.meta.events.register_first("before-send", answer)

    def attach_to(self, clients: Clients) -> None:
        """Answer calls of all clients of a store, also of those that are still to be made."""
        for client in (clients.dynamodb, clients.sqs, clients.s3):
            if client is not None:
                self.attach(client, _AsyncAnswer)
        connect = clients.connect

        def connecting(*how: Any) -> Any:
            client = connect(*how)
            self.attach(client, _Answer)
            return client

        clients.connect = connecting


def _body(refusal: Refusal, *, xml: bool) -> bytes:
    if refusal.status < 300:
        return b"{}"
    if xml:
        return f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>".encode()
    return json.dumps({"__type": refusal.code, "message": refusal.message}).encode()


class AnsweredSQSBackend(SQSBackend):
    """A store of which some calls are answered in place of AWS, once it is open."""

    def __init__(self, config: SQSConfig, answering: Answering) -> None:
        super().__init__(config)
        self._answering = answering

    async def _connect(self) -> Parts:
        parts = await super()._connect()
        self._answering.attach_to(parts.clients)
        return parts


class _Answer(AWSResponse):
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__("http://nothing", status, headers, None)
        self._body = body

    @property
    def content(self) -> Any:
        return self._body


class _AsyncAnswer(_Answer):
    @property
    def content(self) -> Any:
        async def read() -> bytes:
            return self._body

        return read()


def key_of(request: Any) -> str:
    """Return the access key with which a request is signed."""
    authorization = request.headers["Authorization"]
    text = authorization.decode() if isinstance(authorization, bytes) else authorization
    return text.split("Credential=")[1].split("/")[0]
