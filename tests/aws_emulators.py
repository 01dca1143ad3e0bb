"""Emulators of AWS as child processes on free ports of this machine, which end with the process that started them.

``ministack`` has SQS, DynamoDB and S3. ``dynoxide`` has DynamoDB alone: it is stricter, and tells what AWS would bill.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

_ROOT = Path(__file__).parent.parent
_MINISTACK = (os.environ.get("ASYNCJOBS_TEST_AWS_EMULATOR", ""), ".venv-aws/bin/ministack")
_DYNOXIDE = ".venv-dynoxide/node_modules/@dynoxide/*/dynoxide*"
_PATIENCE = 30
"""Seconds until an emulator must answer."""


def ministack() -> Path | None:
    """Return the program of the emulator, None if it is not installed."""
    places = (_ROOT / place for place in _MINISTACK if place)
    return next((place for place in places if place.is_file()), None)


def dynoxide() -> Path | None:
    """Return the program of the second emulator of DynamoDB, None if it is not installed."""
    return next(_ROOT.glob(_DYNOXIDE), None)


class Emulator(Struct, frozen=True):
    """One that answers: its address, its process, and what it logs."""

    address: str
    pid: int
    log: Path


def start_ministack(program: Path, **settings: str) -> Emulator:
    """Start it.

    :param settings: variables of its environment. ``LOG_LEVEL="DEBUG"`` logs each request.
    """
    here = {"BIND_HOST": "127.0.0.1", **settings}
    return _start(lambda port: ([program], {"GATEWAY_PORT": str(port), **here}), "/_ministack/health")


def start_dynoxide(program: Path) -> Emulator:
    """Start it."""
    return _start(lambda port: ([program, "serve", "--host", "127.0.0.1", "--port", str(port)], {}), "/")


def _start(command: Callable[[int], tuple[Sequence[str | Path], dict[str, str]]], health: str) -> Emulator:
    port = _free_port()
    arguments, settings = command(port)
    with tempfile.NamedTemporaryFile(prefix="asyncjobs-emulator-", suffix=".log", delete=False) as log:
        server = subprocess.Popen(
            arguments,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            start_new_session=True,
        )
    atexit.register(_stop, server, Path(log.name))
    address = f"http://127.0.0.1:{port}"
    _wait_until_it_answers(address + health, server, Path(log.name))
    return Emulator(address, server.pid, Path(log.name))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def _end_with_parent() -> None:
    """Have the kernel end the emulator when the tests are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _stop(server: subprocess.Popen[bytes], log: Path) -> None:
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    log.unlink(missing_ok=True)


def _wait_until_it_answers(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the emulator ended with {server.returncode}: {log.read_text('utf-8')[-2000:]}"
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.05)  # another process, which reports nothing
    raise AssertionError(f"the emulator does not answer: {log.read_text('utf-8')[-2000:]}")
