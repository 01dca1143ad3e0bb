"""The commands of the README and the guides: each runs as it is printed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from tests.architecture.test_guide_programs import PAGES as WITH_PROGRAMS
from tests.architecture.test_typed_pages import PAGES as TYPED
from tests.cli.inside import Inside
from tests.compat.old_files import old_job, write_old

ROOT = Path(__file__).parents[2]
OTHERS = {*WITH_PROGRAMS, *(page.rpartition("/")[2] for page in TYPED)}
"""Pages with programs of their own have commands that are about these: tests/architecture runs them."""
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs" / "guides").glob("*.md") if page.stem not in OTHERS),
]
ON_AWS = ROOT / "docs" / "guides" / "sqs.md"
"""Its commands want a store on AWS, on which tests/cli/test_sqs_commands.py runs every command."""
PROGRAM = """
from asyncjobs import JobProcessor, SQLiteConfig, current_job
from shop.tasks import render

jp = JobProcessor(SQLiteConfig(db_path="asyncjobs.db"), functions=[render])
"""
TASKS = """
def render(name="", size=1):
    if not size:
        raise ValueError("no size")
    return name * size
"""
MORE = {
    "daemon start": ["-d"],  # in the foreground it does not end
    "jobs cancel": ["--yes"],  # nobody is there to be asked
    "jobs retry": ["--yes"],
    "jobs rm": ["--yes"],
    "events tail": ["--no-follow"],
    "bench": ["--jobs", "100"],  # of the 5,000 that are not needed to see that it runs
}
"""What a test adds to a command, and why."""
ENDS = {"jobs cancel": {0, 3}, "groups watch": {0, 1}}
"""Exit codes besides 0: nothing of the group is left to be cancelled; a job of the group failed."""


def commands(page: Path) -> list[list[str]]:
    """The commands in its shell blocks, in their order."""
    blocks = re.findall(r"```(?:sh|bash|shell)\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    return [shlex.split(part) for line in lines for part in line.split(" ; ") if part.strip()]


def inline(page: Path) -> list[list[str]]:
    """The commands that stand in its sentences."""
    return [shlex.split(text) for text in re.findall(r"`(asyncjobs (?:--|\w+ )[^`]*)`", page.read_text())]


def name_of(arguments: list[str]) -> str:
    """Group and command, without options before them."""
    words = list(arguments)
    while words[0].startswith("-"):
        del words[:2]
    return words[0] if words[0] in MORE else " ".join(words[:2])


def test_the_commands_of_the_readme_that_are_not_ours_are_targets_of_make() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    others = [words for page in PAGES for words in commands(page) if words[0] != "asyncjobs"]
    assert others
    assert [words for words in others if words[0] != "make" or not targets.issuperset(words[1:])] == []


def test_the_commands_of_the_guides_run_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "jobs.py").write_text(PROGRAM)
    (tmp_path / "shop" / "tasks.py").write_text(TASKS)
    write_old(tmp_path / "cinema_jobs.db", [old_job("plot")])
    shell = Inside(tmp_path, monkeypatch, "unused")
    for module in ("shop", "shop.jobs", "shop.tasks"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
    listed = [words[1:] for page in PAGES if page != ON_AWS for words in commands(page) if words[0] == "asyncjobs"]
    assert len(listed) > 5
    running = filled = False
    try:
        for arguments in listed:
            name = name_of(arguments)
            if not running and not name.startswith("daemon"):
                # Commands that look and act: at jobs of the names that they speak of.
                shell.good("--app", "shop.jobs:jp", "daemon", "start", "-d")
                running = True
                for job, size in (("panel_70", "1"), ("panel_8", "0")) if not filled else ():
                    given = ["--id", job, "--group", "noir", "--max-retries", "0", "--arg", f"size={size}"]
                    shell.good("jobs", "submit", "shop.tasks:render", *given)
                if not filled:
                    anyio.run(ask, tmp_path / "asyncjobs.db")
                filled = True
            ran = shell.run(*arguments, *MORE.get(name, ()))
            assert ran.code in ENDS.get(name, {0}), f"{shlex.join(arguments)}\n{ran.out}\n{ran.err}"
            running = running and name != "daemon stop"
    finally:
        shell.run("--app", "shop.jobs:jp", "daemon", "stop", "--now")


async def ask(path: Path) -> None:
    """Ask the questions that the guides answer."""
    asked: dict[str, dict[str, Any]] = {
        "book-1/style": {"choices": ["noir", "manga"]},
        "book-1/publish": {},
        "page-1": {},
        "page-2": {},
        "pages": {"answer_type": list[int]},
    }
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        for job_id, options in asked.items():
            await jp.submit_gate("What now?", job_id=job_id, **options)


def test_commands_in_sentences_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--help`` behind them: what they do is shown by the tests of each."""
    shell = Inside(tmp_path, monkeypatch, "unused")
    listed = [words for page in PAGES for words in inline(page)]
    assert len(listed) > 5
    for words in listed:
        arguments = words[1 : words.index(">")] if ">" in words else words[1:]
        assert "Usage: " in shell.good(*(word for word in arguments if word != "|"), "--help").out
