"""Pictures of the command line: what the commands show of the jobs of ``story.py``, and an example."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
ASYNCJOBS = [sys.executable, "-m", "asyncjobs"]
DAEMON = "asyncjobs --app story:jp daemon"


def open_terminal(folder: Path) -> Terminal:
    """Return a terminal in a folder, which is the home of its user, too."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    own = {
        "ASYNCJOBS_LOGGING_LEVEL": "error",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "TZ": "UTC",
    }
    hidden = {re.escape(str(folder)): "/srv/noir", rf"\b{re.escape(socket.gethostname())}-(?=\d)": "host-"}
    return Terminal(folder, kept | own, hidden)


def type_in(terminal: Terminal, typed: str, *until: str) -> None:
    """Run a command of asyncjobs."""
    terminal.run(typed, [*ASYNCJOBS, *typed.split()[1:]], until=until)


@contextmanager
def running_story(terminal: Terminal) -> Iterator[None]:
    """Run the jobs as far as they get, by a daemon."""
    shutil.copy(Path(__file__).with_name("story.py"), terminal.folder)
    type_in(terminal, f"{DAEMON} start -d")
    try:
        terminal.run("python story.py", [sys.executable, "-m", "story"])
        terminal.take("")
        yield
    finally:
        stop = [*ASYNCJOBS, *DAEMON.split()[1:], "stop", "--now"]
        subprocess.run(stop, cwd=terminal.folder, env=terminal.environment, capture_output=True, check=True)


def take_commands(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take the pictures of the commands.

    :param folder: an empty one.
    """
    terminal = open_terminal(folder)
    with running_story(terminal):
        for name, title, commands in SCREENS:
            for typed, *until in commands:
                type_in(terminal, typed, *until)
            yield name, terminal.take(title).encode()


SCREENS: tuple[tuple[str, str, tuple[tuple[str, ...], ...]], ...] = (
    ("daemon-status.svg", "asyncjobs daemon status", ((f"{DAEMON} status",),)),
    ("jobs-list.svg", "asyncjobs jobs list", (("asyncjobs jobs list",),)),
    ("jobs-show.svg", "asyncjobs jobs show", (("asyncjobs jobs show page-2",), ("asyncjobs jobs show book",))),
    (
        "groups-watch.svg",
        "asyncjobs groups watch",
        (("asyncjobs groups watch noir", "62 % the inks", "25 % the pencils"),),
    ),
    (
        "open-gates.svg",
        "Questions that are open, and an answer",
        (("asyncjobs jobs list --open-gates",), ("asyncjobs jobs answer title Fog",)),
    ),
)
"""Each picture: its name, its title, its commands, and for a command that does not end what it shows in the end."""


def take_example(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take the picture of the example of a graph."""
    terminal = open_terminal(folder)
    terminal.run("python examples/dependencies.py", [sys.executable, str(ROOT / "examples" / "dependencies.py")])
    yield "dependencies.svg", terminal.take("The graph of examples/dependencies.py").encode()
