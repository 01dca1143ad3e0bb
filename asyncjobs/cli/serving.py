"""Serve the HTTP interface with uvicorn, beside a daemon or alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import anyio
from anyio.abc import TaskStatus

from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.exceptions import ConfigurationError, MissingExtraError
from asyncjobs.processor import JobProcessor
from asyncjobs.settings import WEB_TOKEN


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port``, ``:port`` or ``port``; the default host is this machine.

    :raises Failure: the text is not an address.
    """
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise Failure(f"{text!r} is not an address", exit_code=USAGE, hint="use 127.0.0.1:8484 or :8484")
    return host.strip("[]") or "127.0.0.1", int(port)


def given_token() -> str | None:
    """Return the token of ``ASYNCJOBS_WEB_TOKEN``; None where that is missing or empty.

    :raises Failure: no interface would accept it.
    """
    token = os.environ.get(WEB_TOKEN) or None
    if token is not None:
        check_token(token, WEB_TOKEN)
    return token


def check_token(token: str, source: str) -> None:
    """Check a token before the interface is served with it.

    :raises Failure: it is too short, or has other characters than a token may have. The token is not part of it.
    """
    from asyncjobs.web.settings import WebConfig

    try:
        WebConfig(auth=token)
    except ConfigurationError as error:
        problem = str(error.args[0]).removeprefix("WebConfig.auth: ")
        raise Failure(f"{source}: {problem}", exit_code=USAGE, hint=error.hint, code=error.code) from None


def is_own_host(host: str) -> bool:
    """Return whether only this machine reaches what listens on an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def closed_to_others(host: str) -> tuple[str, str]:
    """Return what to report where an interface without a token listens for other machines, and what to do."""
    return (
        f"the HTTP interface listens on {host} and has no token: it answers this machine only",
        f"set {WEB_TOKEN} for callers from elsewhere, or listen on 127.0.0.1",
    )


async def serve(
    jp: JobProcessor,
    *,
    host: str,
    port: int,
    redact: Callable[[str, Any], Any] | None,
    token: str | None = None,
    task_status: TaskStatus[str],
) -> None:
    """Serve until cancelled; report the URL once the server listens. Without a token, only this machine has access.

    :raises MissingExtraError: the extra ``web`` is not installed. Failure: the server cannot listen on the address.
    """
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingExtraError("web", what="serving over HTTP") from error

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield  # they are the process's

        async def startup(self, sockets: list[Any] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                task_status.started(_url(self))

    app = jp.asgi_app(auth=token, redact=redact, watch_shutdown=False)
    config = uvicorn.Config(app, host=host, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=2)
    server = Server(config)

    async def stop_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            app.streams.close_for_good()
            server.should_exit = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_when_cancelled)
        try:
            with anyio.CancelScope(shield=True):  # it ends within a bounded time after should_exit is set
                await server.serve()
        except SystemExit:
            raise Failure(
                f"cannot listen on {host}:{port}", hint="choose another port; the reason is in the log"
            ) from None
        tasks.cancel_scope.cancel()


def _url(server: Any) -> str:
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
