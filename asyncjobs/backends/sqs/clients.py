"""Open and close the connections to AWS: one session, and a client for each service."""

from __future__ import annotations

import asyncio
import functools
import io
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

from asyncjobs.backends.sqs.bucket import Bucket
from asyncjobs.backends.sqs.credentials import Found, Renewal
from asyncjobs.backends.sqs.denials import Denials
from asyncjobs.backends.sqs.errors import REGION, translated
from asyncjobs.backends.sqs.outages import Outages
from asyncjobs.backends.sqs.server_clock import ServerTime
from asyncjobs.backends.sqs.service_models import sharing
from asyncjobs.backends.sqs.throttling import Throttling
from asyncjobs.backends.sqs.under_way import UnderWay, http_session
from asyncjobs.config import SQSConfig
from asyncjobs.exceptions import ConfigurationError, MissingExtraError
from asyncjobs.versions import own_version

CONNECT, READ = 3, 10
"""Seconds that a try takes at most, until there is a connection, and until there is an answer."""
TRIES = 2
"""An answer that was lost is asked for once more. Who submits tries longer, and must know in 45 seconds."""
UPLOAD = 40
"""Seconds until there is an answer of S3, which comes when the whole value has arrived. It is asked once."""
_CONNECTIONS = 50
_LARGE = 1 << 20
"""Bytes from which on aiohttp sends a body in parts only if it is given as a file."""


class _Shared:
    """What the clients of a store have in common: which calls are under way, and who learns from their answers."""

    def __init__(self) -> None:
        self.under_way = UnderWay()
        self.server_time = ServerTime()
        self.denials = Denials()
        self.outages = Outages()
        self.throttling = Throttling()
        self.found = Found()

    def attach(self, client: Any) -> None:
        """Let all of them observe the answers to a client of botocore."""
        for observer in (self.server_time, self.denials, self.outages, self.throttling):
            observer.attach(client)
        client.meta.events.register("after-call", functools.partial(_name_region, client.meta.region_name))


def _name_region(region: str, parsed: dict[str, Any], **_: object) -> None:
    """Note in an answer that is an error which region was asked: what is missing there may be in another one."""
    if parsed.get("Error"):
        parsed.setdefault("ResponseMetadata", {})[REGION] = region


class Clients:
    """The clients of one open store, and what their answers tell beside. ``s3`` is None unless a bucket is named."""

    def __init__(self, config: SQSConfig, stack: AsyncExitStack, shared: _Shared, clients: Mapping[str, Any]) -> None:
        self._config = config
        self._stack = stack
        self._lock = threading.Lock()
        self._thread_session: Any = None
        self._shared = shared
        self.server_time = shared.server_time
        self.denials = shared.denials
        self.outages = shared.outages
        self.throttling = shared.throttling
        self.dynamodb = clients["dynamodb"]
        self.sqs = clients["sqs"]
        self.s3: Any = clients.get("s3")

    @classmethod
    async def open(cls, config: SQSConfig) -> Self:
        """Make the clients; nothing is asked yet.

        :raises MissingExtraError: aiobotocore is not installed.
        :raises ConfigurationError: this does not run on asyncio, or there is no region.
        """
        _check_loop()
        try:
            from aiobotocore.config import AioConfig
            from aiobotocore.session import AioSession
        except ImportError as error:
            raise MissingExtraError("sqs", what="the SQS store") from error
        make_config: Any = AioConfig
        session: Any = sharing(AioSession())
        shared, stack = _Shared(), AsyncExitStack()
        sending = {"max_pool_connections": _CONNECTIONS, "http_session_cls": http_session(shared.under_way)}
        renewal = Renewal(session, shared.found)
        clients: dict[str, Any] = {}
        try:
            for service in ("dynamodb", "sqs", *(("s3",) if config.bucket is not None else ())):
                patience = _settings(1, UPLOAD) if service == "s3" else _settings(TRIES, READ)
                how = make_config(**sending, **patience)
                with translated(f"a client for {service}"):
                    made = session.create_client(service, config=how, **_where(config))
                    clients[service] = client = await stack.enter_async_context(made)
                client.meta.events.register("before-send", _send_in_parts)
                client.meta.events.register("before-call", renewal.on_call)
                client.meta.events.register("after-call", renewal.on_answer)
                shared.attach(client)
        except BaseException:
            await stack.aclose()
            raise
        return cls(config, stack, shared, clients)

    def bucket(self, config: SQSConfig) -> Bucket:
        """Return where a store with these settings keeps large values."""
        return Bucket(self.s3, config.bucket, config.table, self._shared.under_way.cut_off_at_close)

    def connect(self, service: str, read_timeout: int = READ) -> Any:
        """Make a client of botocore for a thread, which tries each call once. It needs no event loop."""
        import botocore.session
        from botocore.config import Config

        with self._lock:  # a session is not made for several threads, its clients are
            if self._thread_session is None:
                self._thread_session = sharing(botocore.session.get_session())
            session: Any = self._thread_session
            client = session.create_client(service, config=Config(**_settings(1, read_timeout)), **_where(self._config))
        renewal = Renewal(session, self._shared.found)
        client.meta.events.register("before-call", renewal.on_call_in_thread)
        client.meta.events.register("after-call", renewal.on_answer_in_thread)
        self._shared.attach(client)
        return client

    async def close(self) -> None:
        """Close the connections. What is under way is cut off."""
        self.outages.close()
        self._shared.under_way.close()
        await self._stack.aclose()


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "backend", "sqs", problem="the SQS store runs on asyncio only", hint="anyio.run(main), without trio"
        ) from None


def _settings(tries: int, read_timeout: int) -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT,
        "read_timeout": read_timeout,
        "tcp_keepalive": True,
        "parameter_validation": False,  # AWS does it, too; here it takes a fifth of the processor time of a call
        "retries": {"mode": "standard", "total_max_attempts": tries},
        "user_agent": _user_agent(),
    }


@functools.cache
def _user_agent() -> str:
    """Return the name by which CloudTrail tells requests of ours from others.

    botocore puts its own together anew for each call, which takes an eighth of the processor time of a call.
    """
    import botocore

    return f"asyncjobs/{own_version()} Botocore/{botocore.__version__}"


def _where(config: SQSConfig) -> dict[str, Any]:
    return {"region_name": config.region, "endpoint_url": config.endpoint_url}


def _send_in_parts(request: Any, **_: object) -> None:
    """Have a large body sent in parts: the event loop would stand still for as long as it is copied."""
    if isinstance(request.body, bytes) and len(request.body) >= _LARGE:
        request.body = io.BytesIO(request.body)
