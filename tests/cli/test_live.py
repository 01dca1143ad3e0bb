"""Live views in a real terminal: they redraw themselves, and end by themselves."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from tests.cli.support import PATIENCE, Shell

pytestmark = pytest.mark.slow
WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from asyncjobs.cli.main import main; main()"


def in_a_terminal(shell: Shell, *command: str, columns: int = 80) -> tuple[int, str]:
    """Run it with a terminal of its own; returns the exit code and everything that was written there."""
    master, slave = pty.openpty()
    environment = shell.environment | {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24"}
    environment.pop("NO_COLOR")
    child = subprocess.Popen(command, cwd=shell.folder, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    written: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(master, 65_536)
            except OSError:  # Linux says so that nobody writes there any more
                return
            if not data:
                return
            written.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    code = child.wait(PATIENCE)
    reader.join(PATIENCE)
    os.close(master)
    return code, b"".join(written).decode()


def test_the_demo_draws_a_board(shell: Shell) -> None:
    code, screen = in_a_terminal(shell, *shell.arguments("demo", "--jobs", "20"))
    assert code == 0
    assert screen.count("character  ") > 3  # it was drawn again and again
    assert "\x1b[" in screen
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert re.search(r"plot +█{24} +1/1", text)
    assert re.search(r"✔ \d+ completed, 0 failed", text)


def test_without_rich_it_prints_now_and_then(shell: Shell) -> None:
    code, screen = in_a_terminal(shell, sys.executable, "-c", WITHOUT_RICH, "demo", "--jobs", "20")
    assert code == 0
    assert 3 < screen.count("plot  ") < 20
    assert "completed, 0 failed" in screen


def test_a_table_has_colours_on_a_terminal_and_fits_it(finished: Shell) -> None:
    command = finished.arguments("--db", "jobs.db", "jobs", "list", "--group", "noir")
    code, screen = in_a_terminal(finished, *command, columns=70)
    assert code == 0
    assert "\x1b[31m✖ failed\x1b[0m" in screen
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in screen.splitlines()]
    assert max(map(len, plain[:7])) <= 70
