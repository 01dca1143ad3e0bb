"""The pages on moving here, on deployment and on guarantees: programs run, commands parse, named tests exist."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import httpx
import pytest

from asyncjobs import JobHandle, JobProcessor
from asyncjobs.runtime.context import JobContext
from asyncjobs.web.routes import TABLE
from tests.architecture.pages import (
    DOCS,
    ROOT,
    Block,
    assert_taken,
    blocks_of,
    command_of,
    left_out,
    lines_of,
    pages_in,
    place,
    runnable,
)
from tests.architecture.terminal import Terminal
from tests.cli.inside import Inside
from tests.uvicorn_program import serving

EXPLANATIONS = ("choosing-a-backend", "comparison", "guarantees", "performance", "security")
PAGES = (*pages_in("migration"), *pages_in("deployment"), *(f"explanation/{name}" for name in EXPLANATIONS))
TEXTS = {page: (DOCS / f"{page}.md").read_text("utf-8") for page in PAGES}
ROUTE = re.compile(r'^@app\.(get|post)\("([^"]+)"', re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PROGRAMS = runnable(BLOCKS, "python")
PLAIN = [block for block in PROGRAMS if "FastAPI" not in block.text]
APPS = [block for block in PROGRAMS if "FastAPI" in block.text]
OUTPUTS = [block for block in BLOCKS if block.printed_by is not None]
NOT_RUN = [
    ("deployment/one-host", reason)
    for reason in (
        "needs a machine that systemd has started, and its root",
        "needs a machine that systemd has started, and its root",
        "needs Docker, and images from the network",
        "needs Docker, and images from the network",
        "needs an installation behind a proxy",
        "needs sqlite.org, a C compiler and root",
        "needs a machine that systemd has started, and its root",
    )
]
"""The page and the reason of each block that is marked with ``<!-- not run: REASON -->``, besides programs."""


def save(program: Block, folder: Path) -> str:
    """Write a program, and the files that its page names before it, into a folder."""
    for block in PROGRAMS:
        if block.page == program.page and block.line < program.line and block.name is not None:
            (folder / block.name).write_text(block.text)
    name = program.name or "program.py"
    (folder / name).write_text(program.text)
    return name


def test_every_page_is_in_the_contents() -> None:
    contents = (DOCS / "index.md").read_text("utf-8").split()
    assert set(PAGES) <= set(contents)


def test_only_programs_of_other_libraries_are_not_run() -> None:
    others = [block for block in BLOCKS if block.not_run is not None and block.kind == "python"]
    assert {block.page for block in others} == {
        f"migration/{name}" for name in ("arq", "celery", "dbos", "rq", "taskiq")
    }
    for block in others:
        assert re.fullmatch(r"needs [A-Za-z]+( and (a broker|Redis))?", str(block.not_run)), block.not_run
        assert "asyncjobs" not in block.text
        ast.parse(block.text)
    for page in pages_in("migration"):
        assert page.endswith("/index") or any(block.page == page for block in PROGRAMS), page


def test_what_else_is_not_run_is_listed() -> None:
    assert left_out(block for block in BLOCKS if block.kind != "python") == NOT_RUN


@pytest.mark.slow
@pytest.mark.parametrize("program", PLAIN, ids=place)
def test_a_program_runs_and_prints_what_its_page_says(program: Block, tmp_path: Path) -> None:
    command = [sys.executable, save(program, tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == (program.printed or "")
    assert not ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("program", APPS, ids=place)
def test_an_app_answers_a_request(program: Block, tmp_path: Path) -> None:
    module = save(program, tmp_path).removesuffix(".py")
    [(method, path)] = ROUTE.findall(program.text)
    with serving(f"{module}:app", tmp_path) as address, httpx.Client(base_url=address, timeout=30) as client:
        answer = client.request(method, re.sub(r"\{\w+\}", "7", path))
        assert answer.status_code == 202
        status = answer.json()["status"]
        if "asyncjobs" in program.text:
            assert client.get(status).json()["function"].endswith(":draw_page")


@pytest.mark.slow
def test_the_page_on_one_host_does_what_it_says_from_its_top_to_its_end(tmp_path: Path) -> None:
    with ExitStack() as stack:
        variables = {"JOBS_TOKEN": "a-token-of-the-tests-0123456789"}
        Terminal(tmp_path, stack, variables).walk(blocks_of("deployment/one-host"))


@pytest.mark.slow
@pytest.mark.parametrize("output", OUTPUTS, ids=place)
def test_an_excerpt_is_of_what_its_command_prints(output: Block, tmp_path: Path) -> None:
    """Its lines are in the output, in their order; where some were left out, it has ``…``."""
    (tmp_path / "tasks.py").touch()
    settings = [block.text for block in BLOCKS if block.page == output.page and block.kind == "toml"]
    (tmp_path / "asyncjobs.toml").write_text("".join(settings[:1]))
    program, *words = shlex.split(str(output.printed_by))
    assert program == "asyncjobs"
    command = [sys.executable, "-m", "asyncjobs", *words]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ASYNCJOBS_", "AWS_"))}
    ran = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 0, ran.stderr
    parts = re.split(r"^(?:# )?…$\n", output.text, flags=re.MULTILINE)
    assert re.search(".*^".join(map(re.escape, parts)), ran.stdout, re.MULTILINE | re.DOTALL)


def lines() -> Iterator[str]:
    """Find the lines that are to be typed."""
    for block in BLOCKS:
        if block.kind == "sh":
            yield from (line for line in lines_of(block) if line.startswith("asyncjobs "))
    yield from (str(output.printed_by) for output in OUTPUTS)


def named() -> Iterator[str]:
    """Find the commands that a text names, perhaps without their arguments, or with an option without its value."""
    for page in (*TEXTS.values(), (ROOT / "SECURITY.md").read_text("utf-8")):
        text = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
        yield from re.findall(r"`(asyncjobs [^`…]+)`", text)


@pytest.mark.parametrize("line", sorted(set(lines())))
def test_a_line_is_one_that_its_command_takes(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Inside(tmp_path, monkeypatch)
    assert_taken(line)


@pytest.mark.parametrize("line", sorted(set(named())))
def test_a_command_that_a_text_names_exists(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Inside(tmp_path, monkeypatch)
    _, command, rest = command_of(line)
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    assert {word for word in rest if word.startswith("-")} <= options
    assert not (rest and isinstance(command, click.Group))


def test_a_route_that_a_text_names_exists() -> None:
    routes = {(entry.method, entry.path) for entry in TABLE}
    found = {one for text in TEXTS.values() for one in re.findall(r"`(GET|POST) (?:/jobs)?/?([\w/{}]+)`", text)}
    assert len(found) > 4
    assert {(method, f"/{path}") for method, path in found} <= routes


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "toml"], ids=place)
def test_settings_are_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given.toml").write_text(block.text)
    Inside(tmp_path, monkeypatch).good("--config", "given.toml", "config", "validate")


def test_a_method_that_a_text_names_exists() -> None:
    text = "".join(TEXTS.values())
    for before, kind in ((r"jp", JobProcessor), (r"current_job\(\)", JobContext), (r"await handle", JobHandle)):
        names = set(re.findall(rf"`(?:await )?{before}\.(\w+)", text)) | set(re.findall(rf"\b{before}\.(\w+)\(", text))
        assert names
        assert {name for name in names if not hasattr(kind, name)} == set()


@pytest.mark.parametrize("page", ["guarantees", "security"])
def test_every_test_that_is_named_exists(page: str) -> None:
    found = TEST.findall((DOCS / "explanation" / f"{page}.md").read_text("utf-8"))
    assert len(found) > 10
    for file, test in found:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        assert test in names, f"{file} has no {test}"


def test_every_promise_names_a_test() -> None:
    text = (DOCS / "explanation" / "guarantees.md").read_text("utf-8")
    promises, _, _ = text.partition("## What is not guaranteed")
    found = re.findall(r"^- \*\*(.*?)\*\*$(.*?)(?=^- |^## |\Z)", promises, re.MULTILINE | re.DOTALL)
    assert len(found) == promises.count("\n- ") > 25
    for promise, shown in found:
        assert TEST.search(shown), promise


def test_the_short_page_on_security_leads_to_the_long_one() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    [path] = re.findall(r"\[[^]]*\]\(([^)]+)\)", text)
    assert (ROOT / path).is_file()
