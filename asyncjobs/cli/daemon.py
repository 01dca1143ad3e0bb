"""``asyncjobs daemon``: run jobs in a separate process."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins

from asyncjobs.cli.context import Context, pass_context
from asyncjobs.cli.daemon_http import check_token_kept, find_closed
from asyncjobs.cli.daemon_name import NAME, named, state_file
from asyncjobs.cli.daemon_status import find_others, report_others, status
from asyncjobs.cli.detached import let_go, output_in_log
from asyncjobs.cli.failures import FAILED, NOT_FOUND, REFUSED, TIMED_OUT, Failure
from asyncjobs.cli.job_selection import parse_seconds
from asyncjobs.cli.main import Named
from asyncjobs.cli.output import seconds
from asyncjobs.cli.service_files import UNITS, Unit
from asyncjobs.cli.start_options import StartOptions, start_options
from asyncjobs.cli.state_files import DaemonState, StateFile, is_alive
from asyncjobs.cli.stores import shown
from asyncjobs.observability.last_lines import read_last_lines
from asyncjobs.safe_logging import SafeLogger
from asyncjobs.settings import DETACHED, WEB_TOKEN
from asyncjobs.versions import own_version

logger = SafeLogger("asyncjobs.daemon")

_READY_WITHIN = 30.0
_LOOK_EVERY = 0.02
_TO_GIVE_UP = 10.0
"""Seconds that a daemon may take to end after it was interrupted during its start."""
_LAST_LINES = 20
_TO_LEAVE = 15.0
"""Seconds that a daemon may take to stop beyond what its jobs get."""


@click.group(cls=Named)
def daemon() -> None:
    """Run jobs in a separate process."""


# -- start


@daemon.command()
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return once it is ready.")
@start_options
@pass_context
def start(context: Context, options: StartOptions, detach: bool) -> None:
    """Claim and run jobs until SIGTERM or Ctrl-C; then drain.

    The daemon runs functions of the modules given with --allow (or daemon.allowed_modules); with --app, the functions
    registered with that processor and those of modules that its program has imported.
    """
    context.add_flags(options.flags)
    name = options.name
    file = state_file(context, name)
    found = file.look()
    if found is not None and found.running:
        _already(context, name, found.state)
        return
    if detach:
        closed = find_closed(options.http)
        if closed is not None:
            context.out.warn(*closed)
        _detach(context, file, name, [argument for argument in sys.argv[1:] if argument not in ("-d", "--detach")])
    else:
        _foreground(context, file, name, options.http)


def _already(context: Context, name: str, state: DaemonState | None) -> None:
    since = "" if state is None else f" (pid {state.process.pid}, {seconds(time.time() - state.started_at)})"
    context.out.note(f"daemon {name!r} is already running{since}. Nothing to do.")
    second = next(other for other in _OTHERNAMES if other != name and not _runs(context, other))
    start = context.start_hint(name=second)
    if start.startswith("asyncjobs "):
        context.out.note(f"To start another one:  {start}")


_OTHERNAMES = ("second", "third", *(f"daemon-{number}" for number in range(4, 10_000)))


def _runs(context: Context, name: str) -> bool:
    found = state_file(context, name).look()
    return found is not None and found.running


def _serving(context: Context, http: str | None) -> Callable[..., Coroutine[Any, Any, None]] | None:
    """Return what serves the HTTP interface beside the daemon; None without an address.

    :raises Failure: the address or the token cannot be used.
    """
    from asyncjobs.cli.serving import given_token, parse_address, serve

    if http is None:
        return None
    host, port = parse_address(http)
    return partial(serve, host=host, port=port, redact=context.redact, token=given_token())


def _log_closed(http: str | None) -> None:
    closed = find_closed(http)
    if closed is not None:
        logger.warning("%s; %s", *closed)


def _foreground(context: Context, file: StateFile, name: str, http: str | None) -> None:
    from asyncjobs.cli.daemon_process import DaemonProcess, initial_state
    from asyncjobs.observability.logs import set_up

    logging = context.log_config
    detached = os.environ.pop(DETACHED, None) is not None
    _set_environment()
    jp = context.processor()
    serve = _serving(context, http)
    state = initial_state(
        name,
        context.chosen_store.where,
        log=None if logging.file is None else str(Path(logging.file).expanduser().absolute()),
        version=own_version(),
        http_token=serve is not None and bool(os.environ.get(WEB_TOKEN)),
    )
    try:
        held = file.acquire(state)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Failure(
                f"the state file {file.path} is a symbolic link, which is not followed",
                exit_code=REFUSED,
                hint=f"check who created it, then remove it: rm {shlex.quote(str(file.path))}",
            ) from None
        raise _unwritable_state(file.path, error) from None
    if held is not None:
        _already(context, name, held.state)
        return
    try:
        colour = context.out.colour and sys.stderr.isatty()
        handlers = set_up(logging, console=not detached, colour=colour, keep=file.last_lines)
        _log_closed(http)
        process = DaemonProcess(
            jp,
            file,
            state,
            serve=serve,
            on_ready=partial(let_go, handlers) if detached else None,
        )
        with output_in_log(handlers, stderr=False) if detached else nullcontext():
            context.run(process.run)
    except OSError as error:
        if error.filename is None:
            raise
        raise _unwritable(error.filename, error) from None
    finally:
        file.release()


def _unwritable(path: object, error: OSError) -> Failure:
    return Failure(
        f"{path} cannot be written: {error.strerror}",
        hint="check the permissions of the folder and the space on the disk",
    )


def _unwritable_state(path: Path, error: OSError) -> Failure:
    """Return the failure of a daemon whose user cannot write where its state belongs: a system user has no home."""
    return Failure(
        f"the state file {path} cannot be written: {error.strerror}",
        hint="set XDG_STATE_HOME to a folder that this user may write to, for all commands about this daemon; or check "
        "the permissions of the folder and the space on the disk",
    )


def _set_environment() -> None:
    """Set what CrewAI reads when it is imported, which the modules of the program may do at once."""
    if find_spec("crewai") is not None:
        from asyncjobs.integrations.crewai.environment import apply_env

        apply_env()


def _detach(context: Context, file: StateFile, name: str, arguments: list[str], *, token: bool = True) -> None:
    """Start a daemon in the background, and wait until it is ready. ``token``: it gets the one of this environment."""
    configured = context.settings.logging.file
    log = file.default_log if configured is None else Path(configured).expanduser().absolute()
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable_state(log, error) if configured is None else _unwritable(log, error) from None
    environment = os.environ | {DETACHED: "1"}
    if not token:
        environment.pop(WEB_TOKEN, None)
    if configured is None:
        environment["ASYNCJOBS_LOGGING_FILE"] = str(log)
    with open(os.devnull, "r+b") as nothing:
        child = subprocess.Popen(
            [sys.executable, "-m", "asyncjobs", *arguments],
            stdin=nothing,
            stdout=nothing,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
    try:
        _wait_until_ready(context, file, name, child, log)
    except KeyboardInterrupt:
        context.when_interrupted = _give_up(name, child)
        raise


def _give_up(name: str, child: subprocess.Popen[bytes]) -> str:
    """End a daemon that is not ready yet. Return a message about the result."""
    child.terminate()
    try:
        child.communicate(timeout=_TO_GIVE_UP)
    except subprocess.TimeoutExpired:
        return f"daemon {name!r} was asked to stop and is still stopping (pid {child.pid})"
    return f"daemon {name!r} was not started"


def _wait_until_ready(context: Context, file: StateFile, name: str, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        found = file.look()
        if found is not None and found.running and found.state is not None and found.state.ready:
            if child.stderr is not None:
                child.stderr.close()
            _started(context, name, found.state, log)
            child.returncode = 0  # it outlives this command, which subprocess would warn of
            return
        try:
            child.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        output = child.communicate()[1].decode(errors="replace").strip()
        raise Failure(
            f"daemon {name!r} did not start (exit code {child.returncode})",
            exit_code=child.returncode if 0 < child.returncode < 128 else FAILED,
            hint="\n    ".join(output.splitlines()[-_LAST_LINES:]) or None,
        )
    raise Failure(
        f"daemon {name!r} is not ready after {_READY_WITHIN:g} s; it is still starting",
        exit_code=TIMED_OUT,
        hint=f"see its log: {shown(log)}",
    )


def _started(context: Context, name: str, state: DaemonState, log: Path) -> None:
    out = context.out
    if out.json:
        out.data(to_builtins(state))
        return
    out.good(f"daemon {name!r} ready  pid {state.process.pid}")
    settings = context.settings
    out.echo(f"  store  {context.chosen_store.shown}")
    out.echo(f"  slots  {settings.daemon.num_workers}    log {shown(log)}")
    if state.http:
        out.echo(f"  http   {state.http}")


# -- stop


@daemon.command()
@click.option("--timeout", default="60s", show_default=True, help="Maximum time to wait.")
@click.option("--now", is_flag=True, help="Hand running jobs back to the store immediately.")
@NAME
@pass_context
def stop(context: Context, timeout: str, now: bool, name: str) -> None:
    """Stop the daemon: let it drain, and wait until it has ended."""
    _stop(context, name, parse_seconds(timeout), now=now)


def _stop(context: Context, name: str, timeout: float, *, now: bool = False) -> None:
    file = state_file(context, name)
    found = file.look()
    if found is None or not found.running or found.state is None:
        raise _not_running(context, file, name)
    state = found.state
    if not is_alive(state):
        raise Failure(
            f"the lock of daemon {name!r} is held by another process than pid {state.process.pid}",
            hint="the daemon may run in another container: stop it there",
        )
    began = time.monotonic()
    if now:
        _hand_back(file, state, timeout)
    else:
        if not state.draining:  # a second signal would hand its jobs back
            os.kill(state.process.pid, signal.SIGTERM)
        context.out.note(f"draining daemon {name!r} (pid {state.process.pid}), waiting up to {seconds(timeout)} …")

    if not file.wait_released(timeout):
        raise Failure(
            f"daemon {name!r} is still draining after {seconds(timeout)}",
            exit_code=TIMED_OUT,
            hint=f"asyncjobs daemon stop --now{named(name)} hands its jobs back immediately",
        )
    context.out.good(f"stopped in {seconds(time.monotonic() - began)}")


def _not_running(context: Context, file: StateFile, name: str) -> Failure:
    others = [] if file.path.exists() else context.run(partial(find_others, context, file))
    hint = "; ".join(report_others(file, others)) if others else None
    return Failure(f"daemon {name!r} is not running", exit_code=NOT_FOUND, hint=hint, code="not-running")


def _hand_back(file: StateFile, state: DaemonState, timeout: float) -> None:
    """Send as many of the two signals that hand jobs back as the daemon has not had. A third would interrupt its jobs.

    The second is sent after the daemon has reacted to the first, because two at once may be delivered as one.
    """
    if not state.draining:
        os.kill(state.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = file.look()
        if found is None or not found.running or found.state is None or not is_alive(found.state):
            return
        if found.state.draining:
            if not found.state.handing_back:
                os.kill(found.state.process.pid, signal.SIGTERM)
            return
        time.sleep(_LOOK_EVERY)


@daemon.command()
@click.option("--timeout", default="60s", show_default=True, help="Maximum time to wait for the old daemon to stop.")
@click.option("--drop-token", is_flag=True, help="Serve HTTP without the token that the daemon has.")
@NAME
@pass_context
def restart(context: Context, timeout: str, drop_token: bool, name: str) -> None:
    """Restart the daemon in the background with its original arguments and the current configuration.

    Where it serves HTTP with a token, ASYNCJOBS_WEB_TOKEN must be in the environment again: no file has the token.
    """
    file = state_file(context, name)
    found = file.look()
    arguments = [*context.root_arguments, "daemon", "start", "--name", name]
    if found is not None and found.running:
        if found.state is not None:
            arguments = found.state.arguments
            if not drop_token:
                check_token_kept(found.state)
        _stop(context, name, parse_seconds(timeout))
    _detach(context, file, name, arguments, token=not drop_token)


# -- look

daemon.add_command(status)


@daemon.command()
@click.option("-f", "--follow", is_flag=True, help="Follow the log.")
@click.option("-n", "--lines", default=50, show_default=True, help="Number of lines from the end.")
@NAME
@pass_context
def logs(context: Context, follow: bool, lines: int, name: str) -> None:
    """Print the log of the daemon: its log file (-d, or logging.file), otherwise the last lines, always kept."""
    file = state_file(context, name)
    path = _log_file(context, file)
    if path is None:
        kept = read_last_lines(file.last_lines, lines)
        if not kept or follow:
            raise Failure(f"daemon {name!r} has no log file", exit_code=NOT_FOUND)
        for line in kept:
            click.echo(line)
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, lines):
            click.echo(line.rstrip("\n"))
        while follow:
            line = file.readline()
            if line:
                click.echo(line.rstrip("\n"))
                continue
            if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                return  # rotated
            time.sleep(0.2)


def _log_file(context: Context, file: StateFile) -> Path | None:
    """Return the log file of a daemon that runs or was killed; for a stopped one, the file that it would use now."""
    found = file.look()
    if found is not None and found.state is not None:
        paths = [] if found.state.log is None else [Path(found.state.log)]
    else:
        configured = context.settings.logging.file
        paths = [file.default_log if configured is None else Path(configured).expanduser()]
    return next((path for path in paths if path.is_file()), None)


@daemon.command()
@click.argument("kind", type=click.Choice(sorted(UNITS)))
@start_options
@pass_context
def unit(context: Context, options: StartOptions, kind: str) -> None:
    """Print a service file with which systemd, docker (compose) or k8s runs this daemon.

    In an image, the application is expected in the working directory, and a store in a file on the volume.
    """
    context.add_flags(options.flags)
    state_file(context, options.name)
    from asyncjobs.cli.serving import parse_address

    context.check_runnable()
    http = None if options.http is None else parse_address(options.http)
    settings, in_image = context.settings, kind != "systemd"
    click.echo(
        UNITS[kind](
            Unit(
                python=sys.executable,
                folder=os.getcwd(),
                store=None if (store := context.chosen_store.file) is None else str(store),
                root=context.unit_arguments(in_image=in_image),
                start=options.arguments,
                name=options.name,
                environment=context.unit_environment(in_image=in_image),
                timeout=round(settings.daemon.shutdown_timeout + settings.daemon.cancel_grace + _TO_LEAVE),
                http=http,
            )
        )
    )
