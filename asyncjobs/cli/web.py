"""``asyncjobs web``: serve the HTTP interface without running jobs."""

from __future__ import annotations

import secrets
import signal
from functools import partial

import anyio
import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.cli.serving import check_token, is_own_host, serve
from asyncjobs.cli.signals import Kept
from asyncjobs.observability.logs import set_up
from asyncjobs.settings import WEB_TOKEN


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8484, show_default=True, help="Port to listen on.")
@click.option(
    "--token",
    envvar=WEB_TOKEN,
    show_envvar=True,
    help="Token that every request must present; 'new' generates one. Other users see it in the list of processes; "
    "they do not see the variable.",
)
@command
async def web(context: Context, host: str, port: int, token: str | None) -> None:
    """Serve the HTTP interface of the store, without running jobs. Ctrl-C stops it."""
    if token is None and not is_own_host(host):
        raise Failure(
            f"without a token, everyone who reaches {host} would have access",
            exit_code=USAGE,
            hint=f"--token new generates a token; {WEB_TOKEN} in the environment gives your own",
        )
    if token == "new":
        token = secrets.token_urlsafe(24)
        context.out.text(f"token: {token}")
    elif token is not None:
        check_token(token, "the token")
    redact = context.redact
    set_up(context.log_config, colour=context.out.colour)
    async with context.store(must_exist=False) as jp, anyio.create_task_group() as tasks:
        url = await tasks.start(partial(serve, jp, host=host, port=port, redact=redact, token=token))
        stopping = anyio.Event()

        def stop(_: int) -> None:
            stopping.set()

        Kept({signal.SIGINT: stop, signal.SIGTERM: stop}, after_loop=lambda _: None)
        context.out.good(f"{url}/v1/")
        await stopping.wait()
        tasks.cancel_scope.cancel()
