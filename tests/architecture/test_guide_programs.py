"""The guides run as they are printed: programs print what follows them, tests pass, settings and commands are valid."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tests.architecture.pages import Block, assert_taken, blocks_of, fits, left_out, place, ran, runnable
from tests.cli.inside import Inside

PAGES = ("retries", "cancelling", "graphs", "testing", "isolation", "logging", "retention")
NOT_RUN: list[tuple[str, str]] = []
"""The page and the reason of each block that is marked with ``<!-- not run: REASON -->``."""
BLOCKS = [block for page in PAGES for block in blocks_of(f"guides/{page}")]
TESTS = [block for block in runnable(BLOCKS, "python") if "def test_" in block.text]
PROGRAMS = [block for block in runnable(BLOCKS, "python") if block not in TESTS]
LINES = [(block.page, line) for block in runnable(BLOCKS, "sh") for line in block.text.splitlines()]


def test_every_kind_of_block_is_covered_and_those_that_are_not_run_are_listed() -> None:
    assert {block.kind for block in BLOCKS} == {"python", "text", "sh", "toml"}
    assert left_out(BLOCKS) == NOT_RUN
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


def test_what_a_page_leaves_open_is_within_a_line() -> None:
    assert fits("a … c\n", "a b c\n")
    assert not fits("a … c\n", "a\nb c\n")
    assert not fits("a\n", "a\nb\n")


@pytest.mark.slow
def test_the_tests_of_the_guides_pass(tmp_path: Path) -> None:
    names = [f"test_{block.page.replace('/', '_')}_{block.line}.py" for block in TESTS]
    for name, block in zip(names, TESTS, strict=True):
        (tmp_path / name).write_text(block.text, "utf-8")
    printed = ran(tmp_path, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:schemathesis")
    assert re.search(r"^\d+ passed in", printed, re.MULTILINE)
    assert set(names) <= set(os.listdir(tmp_path))


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(tmp_path, monkeypatch)


@pytest.mark.parametrize("block", runnable(BLOCKS, "toml"), ids=place)
def test_settings_are_valid(block: Block, inside: Inside) -> None:
    given = sum(len(section) for section in tomllib.loads(block.text).values())
    (inside.folder / "asyncjobs.toml").write_text(block.text, "utf-8")
    valid = inside.good("--config", "asyncjobs.toml", "config", "validate")
    assert f"{given} setting" in valid.out + valid.err


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_is_one_that_the_program_takes(page: str, line: str, inside: Inside) -> None:
    assert_taken(line)


@pytest.mark.slow
def test_the_commands_of_the_guide_of_retention_do_what_it_says(inside: Inside) -> None:
    [program] = [block for block in PROGRAMS if block.page == "guides/retention"]
    (inside.folder / "program.py").write_text(program.text, "utf-8")
    ran(inside.folder, "program.py")
    for page, line in LINES:
        if page == "guides/retention":
            inside.good(*shlex.split(line)[1:])
    assert (inside.folder / "copy.db").stat().st_mode & 0o777 == 0o600
