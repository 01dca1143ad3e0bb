"""The guides run as they are printed: programs print what follows them, tests pass, settings and commands are valid."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from asyncjobs.cli.context import Context
from asyncjobs.cli.main import root
from tests.cli.inside import Inside

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("retries", "cancelling", "graphs", "testing", "isolation", "logging", "retention")
NOT_RUN: list[tuple[str, str]] = []
"""The page and the reason of each block that is marked with ``<!-- not run: REASON -->``."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- not run: (.+) -->\s*\Z")
ANYTHING = "…"
"""What stands for a part of a line that differs from run to run."""


class Block(NamedTuple):
    """A block of a page, with the output that is printed behind it and the reason why it is not run, if there are."""

    page: str
    line: int
    kind: str
    text: str
    printed: str | None
    not_run: str | None


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page. Output belongs to the program right before it."""
    whole = (ROOT / "docs" / "guides" / f"{page}.md").read_text("utf-8")
    found = list(FENCE.finditer(whole))
    for index, fence in enumerate(found):
        following = found[index + 1] if index + 1 < len(found) else None
        answered = (
            following is not None and following[1] == "text" and not whole[fence.end() : following.start()].strip()
        )
        mark = MARK.search(whole[: fence.start()])
        yield Block(
            page,
            whole.count("\n", 0, fence.start()) + 1,
            fence[1],
            fence[2],
            following[2] if following is not None and answered else None,
            None if mark is None else mark[1],
        )


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def runnable(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind and block.not_run is None]


TESTS = [block for block in runnable("python") if "def test_" in block.text]
PROGRAMS = [block for block in runnable("python") if block not in TESTS]
LINES = [(block.page, line) for block in runnable("sh") for line in block.text.splitlines()]


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


def place(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_every_kind_of_block_is_covered_and_those_that_are_not_run_are_listed() -> None:
    assert {block.kind for block in BLOCKS} == {"python", "text", "sh", "toml"}
    assert [(block.page, block.not_run) for block in BLOCKS if block.not_run is not None] == NOT_RUN
    printed = sum(block.printed is not None for block in PROGRAMS)
    assert printed == sum(block.kind == "text" for block in BLOCKS), "output without a program right before it"
    assert all("anyio.run(" in block.text for block in PROGRAMS)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=place)
def test_a_program_prints_what_the_page_says(program: Block, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program.text, "utf-8")
    printed = ran(tmp_path, "program.py")
    if program.printed is not None and not fits(program.printed, printed):
        assert printed == program.printed  # shows the difference


def fits(expected: str, printed: str) -> bool:
    """Return whether a program has printed what its page says."""
    return re.fullmatch(".*".join(map(re.escape, expected.split(ANYTHING))), printed) is not None


def test_what_a_page_leaves_open_is_within_a_line() -> None:
    assert fits("a … c\n", "a b c\n")
    assert not fits("a … c\n", "a\nb c\n")
    assert not fits("a\n", "a\nb\n")


@pytest.mark.slow
def test_the_tests_of_the_guides_pass(tmp_path: Path) -> None:
    for block in TESTS:
        (tmp_path / f"test_{block.page}_{block.line}.py").write_text(block.text, "utf-8")
    printed = ran(tmp_path, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:schemathesis")
    assert re.search(r"^\d+ passed in", printed, re.MULTILINE)
    for block in TESTS:
        assert f"test_{block.page}_{block.line}.py" in os.listdir(tmp_path)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(tmp_path, monkeypatch)


@pytest.mark.parametrize("block", runnable("toml"), ids=place)
def test_settings_are_valid(block: Block, inside: Inside) -> None:
    given = sum(len(section) for section in tomllib.loads(block.text).values())
    (inside.folder / "asyncjobs.toml").write_text(block.text, "utf-8")
    valid = inside.good("--config", "asyncjobs.toml", "config", "validate")
    assert f"{given} setting" in valid.out + valid.err


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_is_one_that_the_program_takes(page: str, line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "asyncjobs"
    start = next(index for index, word in enumerate(words) if word in root.list_commands(click.Context(root)))
    context = root.make_context("asyncjobs", words[: start + 1], resilient_parsing=True)
    context.obj = Context(config=None, flags={}, form="auto", colour=None, quiet=False, verbose=0)
    command: click.Command = root
    rest = words[start:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, line
        command, rest = found, rest[1:]
    command.make_context(str(command.name), rest, parent=context)  # else it raises


@pytest.mark.slow
def test_the_commands_of_the_guide_of_retention_do_what_it_says(inside: Inside) -> None:
    [program] = [block for block in PROGRAMS if block.page == "retention"]
    (inside.folder / "program.py").write_text(program.text, "utf-8")
    ran(inside.folder, "program.py")
    for page, line in LINES:
        if page == "retention":
            inside.good(*shlex.split(line)[1:])
    assert (inside.folder / "copy.db").stat().st_mode & 0o777 == 0o600
