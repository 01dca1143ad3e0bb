"""Doing what a message says, as it is printed."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import Inside
from tests.cli.support import Ran

_COMMAND = re.compile(
    r"asyncjobs ((?:--|daemon |jobs |groups |config )[^\n]*?)(?: hands its| shows the|, or end it with |\n|$)"
)
_FLAGS = r"asyncjobs (?:--\w+ (?:'[^'\n]*'|\S+) )*"


class Words(str):
    """Why there is nothing to run in a message."""


class Hints:
    """What a scenario was printed and followed; a folder to work in, and a command line in it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.followed: list[str] = []

    @cached_property
    def shell(self) -> Inside:
        return Inside(self.folder, self.patch, "hinted")

    def follow(self, printed: object) -> str:
        """The scenario does what this says."""
        self.followed.append(str(printed))
        return self.followed[-1]

    def has_followed(self, message: str) -> bool:
        """Whether something was printed that is this message; ``{}``, ``{!r}`` and ``%s`` in it stand for anything."""
        pattern = re.sub(r"\\\{(?:!r)?\\\}|%[sdr]|%\\\.0f", ".*?", re.escape(message))
        pattern = pattern.replace(r"asyncjobs\ ", _FLAGS)
        return any(re.search(pattern, printed, re.DOTALL) for printed in self.followed)

    def commands(self, ran: Ran) -> list[list[str]]:
        """The commands that an answer names, split as a shell does, without the program's own name."""
        self.follow(ran.err + ran.out)
        return [shlex.split(text) for text in _COMMAND.findall(ran.err + ran.out)]

    def run_them(self, ran: Ran, *, count: int = 1) -> list[Ran]:
        """Run the commands that an answer names; there are ``count`` of them, and each succeeds."""
        named = self.commands(ran)
        assert len(named) == count, ran
        return [self.shell.good(*command) for command in named]

    def system(self, printed: object, command: str, **environment: str) -> str:
        """Run a command of the system that is printed there."""
        assert command in self.follow(printed)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, cwd=self.folder)
        return done.stdout

    def code(self, printed: object, code: str, fill: str = "", **names: Any) -> Any:
        """Run a call that is printed there; ``fill`` stands for what it leaves open. What it gives may be awaited."""
        text = self.follow(printed)
        assert code in text, f"{code!r} is not in {text!r}"
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled = compile(code.replace("…", fill), "hint", "eval", flags)
        return eval(compiled, names)

    async def awaited(self, printed: object, code: str, fill: str = "", **names: Any) -> Any:
        """The same for a call that is awaited as it is printed, or a statement of ``async with``."""
        text = self.follow(printed)
        assert code in text, f"{code!r} is not in {text!r}"
        whole = code.replace("…", fill)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        mode = "exec" if whole.startswith("async with ") else "eval"
        given = eval(compile(whole, "hint", mode, flags), names)
        return await given if inspect.isawaitable(given) else given


def refused(call: Callable[[], Any]) -> Any:
    """The error that a call raises."""
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


async def refusal(awaitable: Any) -> Any:
    """The error that awaiting raises."""
    with pytest.raises(Exception) as caught:
        await awaitable
    return caught.value
