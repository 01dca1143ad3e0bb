"""The tutorial runs as it is printed, from its first step to its last, in an empty folder."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from tests.architecture.pages import DOCS, ROOT, blocks_of, left_out, ran, runnable
from tests.uvicorn_program import serving

STEPS = sorted((DOCS / "tutorial").glob("*.md"))
SERVED = "4-a-page"
BY_NAME = re.compile(r"[Ww]rite this to `(\w+\.py)`")


def blocks(step: Path, kind: str) -> list[str]:
    return [block.text for block in runnable(blocks_of(f"tutorial/{step.stem}"), kind)]


def save(step: Path, folder: Path) -> list[Path]:
    """Write the programs of a step to the files that it names, or to ``story.py``."""
    names = BY_NAME.findall(step.read_text("utf-8")) or ["story.py"]
    programs = blocks(step, "python")
    assert len(names) == len(programs)
    for name, program in zip(names, programs, strict=True):
        (folder / name).write_text(program)
    return [folder / name for name in names]


def environment() -> dict[str, str]:
    """The commands of the page find this Python and its scripts."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def printed_by(command: str, folder: Path) -> str:
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment(), capture_output=True, text=True, timeout=50, check=False
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_each_step_leads_to_the_next() -> None:
    for step, following in itertools.pairwise(STEPS):
        assert f"**Next:** [{following.stem[0]}. " in step.read_text("utf-8")
        assert f"]({following.name})" in step.read_text("utf-8")
    contents = (DOCS / "index.md").read_text("utf-8").split()
    assert [f"tutorial/{step.stem}" for step in STEPS] == [line for line in contents if line.startswith("tutorial/")]


def test_every_block_is_run() -> None:
    """A program, its commands and what one of them prints are all that a step has."""
    for step in STEPS:
        kinds = [block.kind for block in blocks_of(f"tutorial/{step.stem}")]
        assert set(kinds) <= {"python", "sh", "text"}
        assert kinds.count("text") == (step.stem != SERVED)
        assert not left_out(blocks_of(f"tutorial/{step.stem}"))


def test_the_first_page_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    install = (DOCS / "index.md").read_text("utf-8").partition("## Install")[2].partition("## Where")[0]
    assert set(re.findall(r'`pip install "\.\[(\w+)\]', install)) == set(extras)


@pytest.mark.slow
def test_the_first_page_prints_what_it_says(tmp_path: Path) -> None:
    program, printed = blocks_of("index")
    (tmp_path / "program.py").write_text(program.text)
    assert ran(tmp_path, "program.py") == printed.text == program.printed


@pytest.mark.slow
@pytest.mark.parametrize("step", [step for step in STEPS if step.stem != SERVED], ids=lambda step: step.stem)
def test_a_step_prints_what_the_page_says(step: Path, tmp_path: Path) -> None:
    program, *others = save(step, tmp_path)
    [expected] = blocks(step, "text")
    commands = [line for block in blocks(step, "sh") for line in block.splitlines()]
    if not any(line.startswith("python ") for line in commands):
        commands.insert(0, f"python {program.name}")
    told = [printed_by(command, tmp_path) for command in commands]
    assert expected in told
    assert {file.name for file in (program, *others)} <= {file.name for file in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_page_is_written_word_by_word(tmp_path: Path) -> None:
    [step] = [step for step in STEPS if step.stem == SERVED]
    [program] = save(step, tmp_path)
    app = f"{program.stem}:app"
    assert blocks(step, "sh") == [f"uvicorn {app}\n"]
    with serving(app, tmp_path) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert "EventSource" in client.get("/").text
        job = client.post("/pages/noir").json()["id"]
        streamed = client.get(f"/jobs/v1/jobs/{job}/events").text
    text = "".join(re.findall(r'"type":"output".*?"text":"(.*?)"', streamed))
    assert text.strip() == "It was a dark and noir night."
    assert "event: end" in streamed
