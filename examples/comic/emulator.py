"""An emulator of SQS and DynamoDB for as long as it is needed: a child process on a free port of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_READY_WITHIN = 30.0


@contextmanager
def emulator(program: Path, log: Path) -> Generator[str]:
    """Run ministack, and give its address. What it keeps is in memory, and gone with it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program],
            env=os.environ | {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(address, server, log)
        yield address
    finally:
        end(server)


def _wait_until_ready(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/_ministack/health", timeout=2):
                return
        except OSError:
            time.sleep(0.05)  # a process of another program, which announces nothing
    sys.exit(f"the emulator does not answer; its output is in {log}")


def end(process: subprocess.Popen[bytes], patience: float = 10.0) -> int:
    """Ask a process to end, and kill it if it does not; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
