"""Pages that lead through something: what they print is typed in one terminal, from their tops to their ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.architecture.pages import assert_taken, blocks_of, left_out, lines_of, place
from tests.architecture.terminal import Terminal
from tests.cli.inside import Inside

PAGES = ("guides/web", "guides/access", "guides/daemon")
ON_AWS = "guides/sqs"
"""Where the store on AWS is tested, tests/cli/test_sqs_guide.py types it; here its blocks are only checked."""
BLOCKS = [block for page in (*PAGES, ON_AWS) for block in blocks_of(page)]
NOT_RUN: list[tuple[str, str]] = []
"""The page and the reason of each block that is marked with ``<!-- not run: REASON -->``."""
ELSEWHERE = {"js": "tests/browser/test_guide.py"}
"""Kinds of blocks that another test runs."""
ENDS = {
    "asyncjobs groups watch noir": {1},  # one of its jobs has failed
    "asyncjobs jobs cancel --group noir --yes": {0, 3},  # the job that is tried again may have failed again
}
"""Exit codes besides 0."""


def test_every_block_is_run() -> None:
    assert {block.kind for block in BLOCKS} == {"python", "text", "sh", "toml", *ELSEWHERE}
    assert left_out(BLOCKS) == NOT_RUN
    printed = [block.printed for block in BLOCKS if block.kind == "sh" and block.printed is not None]
    assert printed == [block.text for block in BLOCKS if block.kind == "text"], "output without a command before it"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with ExitStack() as stack:
        yield Terminal(tmp_path, stack)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl, which is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says_from_its_top_to_its_end(page: str, terminal: Terminal) -> None:
    terminal.walk(blocks_of(page), ENDS)


def test_the_blocks_about_aws_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Inside(tmp_path, monkeypatch)
    for block in blocks_of(ON_AWS):
        if block.kind == "python":
            compile(block.text, place(block), "exec")
        elif block.kind == "toml":
            (tmp_path / "given.toml").write_text(block.text, "utf-8")
            inside.good("--config", "given.toml", "config", "validate")
        elif block.kind == "sh":
            for line in lines_of(block):
                if line.startswith("asyncjobs "):
                    assert_taken(line)
