"""``asyncjobs web``: the HTTP interface by itself."""

from __future__ import annotations

import secrets
import signal
from functools import partial

import anyio
import click
from anyio.abc import TaskStatus

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.cli.serving import serve
from asyncjobs.observability.logs import set_up

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=8484, show_default=True)
@click.option("--token", help="Whoever has it may ask. 'new' makes one.")
@command
async def web(context: Context, host: str, port: int, token: str | None) -> None:
    """Serve the HTTP interface of the store; runs no jobs. Ctrl-C ends it."""
    if token is None and host not in _LOOPBACK:
        raise Failure(
            f"on {host} anybody could ask", exit_code=USAGE, hint="--token new makes a token; whoever has it may ask"
        )
    if token == "new":
        token = secrets.token_urlsafe(24)
        context.out.text(f"token: {token}")
    set_up(context.log_config, colour=context.out.colour)
    async with context.store(must_exist=False) as jp, anyio.create_task_group() as tasks:
        url = await tasks.start(partial(serve, jp, host=host, port=port, token=token))
        context.out.good(f"{url}/v1/")
        await tasks.start(_until_told)
        tasks.cancel_scope.cancel()


async def _until_told(*, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            task_status.started()
            return
