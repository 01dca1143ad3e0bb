"""The README of the project and those of the examples: programs run, and commands are taken."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import click
import pytest

from tests.architecture.pages import assert_taken, blocks_of, left_out, ran, runnable
from tests.cli.inside import Inside
from tests.examples.movies import card, screenplay

pytestmark = pytest.mark.untraced  # examples, and not the package

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *sorted((ROOT / "examples").rglob("README.md"))]
PAGES = [str(path.relative_to(ROOT).with_suffix("")) for path in READMES]
BLOCKS = [block for page in PAGES for block in blocks_of(f"../{page}")]
LINES = [
    (block.page, line.partition(" #")[0].strip())
    for block in runnable(BLOCKS, "sh")
    for line in block.text.splitlines()
]
COMIC, MOVIE = [block for block in runnable(BLOCKS, "python") if "/examples/" in block.page]


def text_of(page: str) -> str:
    return (ROOT / f"{page}.md").read_text("utf-8")


def test_every_block_is_run() -> None:
    """The program of the project's own: tests/architecture/test_docs.py; text: what is printed, or a drawing."""
    assert {block.kind for block in BLOCKS} == {"python", "sh", "text"}
    assert left_out(BLOCKS) == []
    assert [block.page for block in runnable(BLOCKS, "python")] == [
        "../README", "../examples/comic/README", "../examples/movie/README",
    ]  # fmt: skip
    for block in BLOCKS:
        assert block.kind != "text" or "→" in block.text or "▶" in block.text or block.text == COMIC.printed


@pytest.mark.slow
@pytest.mark.first
def test_the_mystery_of_ones_own_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):  # with which a crew would write it
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mystery.py").write_text(COMIC.text, "utf-8")
    assert ran(tmp_path, "mystery.py") == COMIC.printed


@pytest.mark.slow
def test_the_film_is_made_from_a_program(tmp_path: Path) -> None:
    (tmp_path / "screenplay.json").write_text(json.dumps(screenplay(card("S1"), character_description=[])), "utf-8")
    (tmp_path / "film.py").write_text(MOVIE.text, "utf-8")
    missing, progress, film = ran(tmp_path, "film.py").splitlines()
    assert (missing, progress) == ("[]", "100.0")
    assert "night" in film


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_is_taken(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(line)
    if program == "make":
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            ["make", "-n", *words], cwd=ROOT, env=plain, capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 0, done.stderr
        return
    assert (program, words[0]) == ("python", "-m")
    monkeypatch.chdir(tmp_path)  # there is an emulator of AWS, as after its target of make
    (tmp_path / ".venv-aws" / "bin").mkdir(parents=True)
    (tmp_path / ".venv-aws" / "bin" / "ministack").touch()
    name = words[1]
    module = import_module(f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name)
    command: click.Command = module.main
    command.make_context(name, words[2:], resilient_parsing=False)  # else it raises


@pytest.mark.parametrize("name", sorted({line.split()[2] for _, line in LINES if line.startswith("python -m ")}))
def test_a_program_that_is_named_is_run_by_a_test(name: str) -> None:
    """With a short story, or as a process that is killed: what is here starts nothing for minutes."""
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert [path for path in tests if re.search(rf'"{re.escape(name)}"', path.read_text("utf-8"))], name


def test_the_targets_of_make_that_a_text_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    found = {target for page in PAGES for target in re.findall(r"`(?:\w+=\S+ )?make ([\w-]+)", text_of(page))}
    assert len(found) > 5
    assert found <= targets


def test_the_commands_that_a_text_names_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Inside(tmp_path, monkeypatch)
    found = [line for page in PAGES[1:] for line in re.findall(r"`(asyncjobs --db [^`]+)`", text_of(page))]
    assert len(found) == 2
    for line in found:
        assert_taken(line)
