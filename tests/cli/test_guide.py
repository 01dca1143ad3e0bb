"""The commands of the README and the guides: each runs as it is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from tests.architecture.test_guide_programs import PAGES as WITH_PROGRAMS
from tests.architecture.test_typed_pages import ON_AWS
from tests.architecture.test_typed_pages import PAGES as TYPED
from tests.cli.inside import Inside
from tests.compat.old_files import old_job, write_old

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
OTHERS = {*WITH_PROGRAMS, *(page.rpartition("/")[2] for page in (*TYPED, ON_AWS))}
"""Guides whose commands tests/architecture runs, beside their programs."""
PAGES = [ROOT / "README.md", *(page for page in GUIDES if page.stem not in OTHERS)]


def commands(page: Path) -> list[list[str]]:
    """The commands in its shell blocks, in their order."""
    blocks = re.findall(r"```(?:sh|bash|shell)\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    return [shlex.split(part) for line in lines for part in line.split(" ; ") if part.strip()]


def inline(page: Path) -> list[list[str]]:
    """The commands that stand in its sentences."""
    return [shlex.split(text) for text in re.findall(r"`(asyncjobs (?:--|\w+ )[^`]*)`", page.read_text())]


def test_the_commands_of_the_readme_that_are_not_ours_are_targets_of_make() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    others = [words for page in PAGES for words in commands(page) if words[0] != "asyncjobs"]
    assert others
    assert [words for words in others if words[0] != "make" or not targets.issuperset(words[1:])] == []


def test_the_commands_of_the_guides_run_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_old(tmp_path / "cinema_jobs.db", [old_job("plot")])
    shell = Inside(tmp_path, monkeypatch, "unused")
    anyio.run(ask, tmp_path / "asyncjobs.db")
    listed = [words[1:] for page in PAGES for words in commands(page) if words[0] == "asyncjobs"]
    assert len(listed) > 5
    for arguments in listed:
        shell.good(*arguments)


async def ask(path: Path) -> None:
    """Ask the questions that the guides answer."""
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.submit_gate("In which style?", job_id="book-1/style", choices=["noir", "manga"])
        await jp.submit_gate("Print it?", job_id="book-1/publish")


def test_commands_in_sentences_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--help`` behind them: what they do is shown by the tests of each."""
    shell = Inside(tmp_path, monkeypatch, "unused")
    listed = [words for page in (ROOT / "README.md", *GUIDES) for words in inline(page)]
    assert len(listed) > 5
    for words in listed:
        arguments = words[1 : words.index(">")] if ">" in words else words[1:]
        assert "Usage: " in shell.good(*(word for word in arguments if word != "|"), "--help").out
