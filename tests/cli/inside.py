"""The command line in the process of the test: nothing to start, so that dozens of commands cost little."""

from __future__ import annotations

import inspect
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from asyncjobs.cli.main import root
from tests.cli.support import APP, Ran

# Up to click 8.1, the two streams are one unless it is asked otherwise.
_APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command that runs something."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, (*above, name))
        else:
            yield (*above, name)


class Inside:
    """A folder to work in, with an application module, and a home of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, app: str = "app") -> None:
        self.folder = folder
        self.app = app
        self._patch = patch
        (folder / f"{app}.py").write_text(APP)
        for name in [name for name in os.environ if name.startswith("ASYNCJOBS_")]:
            patch.delenv(name)
        for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(folder / name.lower()))
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))  # put back by the test, with what commands put before it

    def run(self, *arguments: str) -> Ran:
        """Run ``asyncjobs …`` to its end."""
        if "start" in arguments and "-d" in arguments:  # it leaves a process behind, which is to be no child of ours
            started = subprocess.run(
                [sys.executable, "-m", "asyncjobs", *arguments], capture_output=True, text=True, check=False
            )
            return Ran(started.returncode, started.stdout, started.stderr)
        self._patch.setattr(sys, "argv", ["asyncjobs", *arguments])
        done = CliRunner(**_APART).invoke(root, arguments, prog_name="asyncjobs")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ran(done.exit_code, done.stdout, done.stderr)

    def good(self, *arguments: str) -> Ran:
        """Run it; it must succeed."""
        ran = self.run(*arguments)
        assert ran.code == 0, f"{shlex.join(arguments)}: exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran
