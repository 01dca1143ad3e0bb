"""A server in a process of its own that may be killed, and started again on the same port and files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATIENCE = 20
"""Seconds in which a process must end."""


class Served:
    """``python -m …``, which takes its port from ``PORT`` and prints its address.

    :param folder: where its files and its log are.
    :param command: the module and its arguments.
    """

    def __init__(self, folder: Path, command: list[str], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.command = command
        self.environment = {**environment}
        self.port = "0"
        self.start()

    def start(self) -> None:
        """Start it, or start it again on the same port and files."""
        environment = {**os.environ, **self.environment, "PORT": self.port}
        command = [sys.executable, "-m", *self.command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        if found is None:
            self.end(signal.SIGKILL)
            raise AssertionError(said + self.log.read_text())
        self.url, self.port = found[0], found[1]

    def end(self, number: int) -> int:
        """Send a signal, and return how the process ended."""
        self.process.send_signal(number)
        code = self.process.wait(_PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
