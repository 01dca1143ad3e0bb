"""The blocks of the pages of docs: find them, with what a page says of them, and run them as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from asyncjobs.cli.context import Context
from asyncjobs.cli.main import root

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (not run|printed by): (.+) -->\s*\Z")
NAMED = re.compile(r"`([\w.-]+\.\w+)`:\s*\Z")
ANYTHING = "…"
"""What stands for a part of a line that differs from run to run."""
WITH_VALUE = {name for option in root.params if not getattr(option, "is_flag", False) for name in option.opts}


class Block(NamedTuple):
    """A block of a page."""

    page: str
    """The path of the page below docs, without its suffix: ``guides/web``."""
    line: int
    kind: str
    text: str
    printed: str | None
    """The output that is printed right behind it."""
    not_run: str | None
    """The reason in a comment before it: ``<!-- not run: REASON -->``."""
    printed_by: str | None
    """The command in a comment before it, for an excerpt of output: ``<!-- printed by: COMMAND -->``."""
    name: str | None
    """The file that the text before it names last, before a colon: ```app.py`:``."""


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, in their order. Directives are none."""
    whole = (DOCS / f"{page}.md").read_text("utf-8")
    found = [fence for fence in FENCE.finditer(whole) if not fence[1].startswith("{")]
    blocks: list[Block] = []
    for index, fence in enumerate(found):
        following = found[index + 1] if index + 1 < len(found) else None
        answered = (
            following is not None and following[1] == "text" and not whole[fence.end() : following.start()].strip()
        )
        before = whole[: fence.start()]
        mark, why = (marked[1], marked[2]) if (marked := MARK.search(before)) else (None, None)
        named = NAMED.search(before)
        blocks.append(
            Block(
                page,
                whole.count("\n", 0, fence.start()) + 1,
                fence[1],
                fence[2],
                printed=following[2] if following is not None and answered else None,
                not_run=why if mark == "not run" else None,
                printed_by=why if mark == "printed by" else None,
                name=named[1] if named else None,
            )
        )
    return blocks


def pages_in(folder: str) -> list[str]:
    """Return the pages of a folder of docs."""
    return sorted(f"{folder}/{page.stem}" for page in (DOCS / folder).glob("*.md"))


def runnable(blocks: Iterable[Block], kind: str) -> list[Block]:
    """Return the blocks of a kind, without those that are not run."""
    return [block for block in blocks if block.kind == kind and block.not_run is None]


def lines_of(block: Block) -> list[str]:
    """Return the lines of a block as they are typed: one that ends with a backslash goes on in the next."""
    return re.sub(r"\\\n\s*", "", block.text).splitlines()


def left_out(blocks: Iterable[Block]) -> list[tuple[str, str]]:
    """Return the page and the reason of each block that is not run."""
    return [(block.page, block.not_run) for block in blocks if block.not_run is not None]


def place(block: Block) -> str:
    """Return where a block stands: the id of a test."""
    return f"{block.page}:{block.line}"


def fits(expected: str, printed: str) -> bool:
    """Return whether a program has printed what its page says."""
    return re.fullmatch(".*".join(map(re.escape, expected.split(ANYTHING))), printed) is not None


def ran(folder: Path, *arguments: str) -> str:
    """Run Python in a folder; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def words_of(line: str) -> list[str]:
    """Return the arguments of a command of ours that is to be typed, without a comment or where its output goes."""
    program, *words = shlex.split(line, comments=True)
    assert program == "asyncjobs", line
    return words[: words.index(">")] if ">" in words else words


def command_of(line: str) -> tuple[click.Context, click.Command, list[str]]:
    """Return the context of the program, the command that a line names, and the words for that command."""
    words = words_of(line)
    start = 0
    while words[start].startswith("-"):
        start += 2 if words[start] in WITH_VALUE else 1
    context = root.make_context("asyncjobs", words[: start + 1], resilient_parsing=True)
    context.obj = Context(config=None, flags={}, form="auto", colour=None, quiet=False, verbose=0)
    command: click.Command = root
    while isinstance(command, click.Group) and start < len(words):
        found = command.get_command(context, words[start])
        assert found is not None, f"{line}: {words[start]}"
        command, start = found, start + 1
    return context, command, words[start:]


def assert_taken(line: str) -> None:
    """Fail if the program does not take a line that is to be typed. In a folder and a home of the test."""
    context, command, rest = command_of(line)
    assert not isinstance(command, click.Group), line
    command.make_context(str(command.name), rest, parent=context)  # else it raises
