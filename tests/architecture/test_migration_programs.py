"""The pages on moving here, on deployment and on guarantees: programs run, commands parse, named tests exist."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import pytest

from asyncjobs import JobHandle, JobProcessor
from asyncjobs.cli.context import Context
from asyncjobs.cli.main import root
from asyncjobs.runtime.context import JobContext
from asyncjobs.web.routes import TABLE
from tests.cli.inside import Inside
from tests.uvicorn_program import serving

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXPLANATIONS = ("choosing-a-backend", "comparison", "guarantees", "performance", "security")
PAGES = (
    *sorted((DOCS / "migration").glob("*.md")),
    *sorted((DOCS / "deployment").glob("*.md")),
    *(DOCS / "explanation" / f"{name}.md" for name in EXPLANATIONS),
)
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>not run|printed by): (?P<why>[^\n]+) -->\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NAMED = re.compile(r"`(\w+\.py)`:$")
ROUTE = re.compile(r'^@app\.(get|post)\("([^"]+)"', re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
WITH_VALUE = {name for option in root.params if not getattr(option, "is_flag", False) for name in option.opts}


@dataclass(frozen=True)
class Block:
    """A block of a page. ``mark``: what the comment before it says of it, and ``why`` the rest of that comment."""

    page: Path
    number: int
    kind: str
    text: str
    mark: str | None
    why: str
    name: str
    printed: str | None

    def __str__(self) -> str:
        return f"{self.page.parent.name}/{self.page.stem}-{self.number}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Find the blocks of a page. The name of a file stands at the end of the line before; ``printed`` comes next."""
    text = page.read_text("utf-8")
    found = list(BLOCK.finditer(text))
    for number, block in enumerate(found):
        before = text[: block.start()].rstrip().rpartition("\n")[2]
        named = NAMED.search(before)
        following = found[number + 1] if number + 1 < len(found) else None
        next_to_it = following is not None and not text[block.end() : following.start()].strip()
        printed = following["text"] if following and next_to_it and following["kind"] == "text" else None
        yield Block(
            page, number, block["kind"], block["text"], block["mark"], block["why"] or "",
            named[1] if named else "program.py", printed,
        )  # fmt: skip


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PROGRAMS = [block for block in BLOCKS if block.kind == "python" and block.mark != "not run"]
PLAIN = [block for block in PROGRAMS if "FastAPI" not in block.text]
APPS = [block for block in PROGRAMS if "FastAPI" in block.text]
OUTPUTS = [block for block in BLOCKS if block.mark == "printed by"]


def save(program: Block, folder: Path) -> str:
    """Write a program, and the files that its page names before it, into a folder."""
    for block in PROGRAMS:
        if block.page == program.page and block.number <= program.number and (block.name != "program.py"):
            (folder / block.name).write_text(block.text)
    (folder / program.name).write_text(program.text)
    return program.name


def test_every_page_is_in_the_contents() -> None:
    contents = (DOCS / "index.md").read_text("utf-8").split()
    assert {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES} <= set(contents)


def test_only_programs_of_other_libraries_are_not_run() -> None:
    left_out = [block for block in BLOCKS if block.mark == "not run"]
    assert {block.page.stem for block in left_out} == {"arq", "celery", "dbos", "rq", "taskiq"}
    for block in left_out:
        assert re.fullmatch(r"needs [A-Za-z]+( and (a broker|Redis))?", block.why), block.why
        assert "asyncjobs" not in block.text
        ast.parse(block.text)
    for page in (DOCS / "migration").glob("*.md"):
        assert page.stem == "index" or any(block.page == page for block in PROGRAMS), page.name


@pytest.mark.slow
@pytest.mark.parametrize("program", PLAIN, ids=str)
def test_a_program_runs_and_prints_what_its_page_says(program: Block, tmp_path: Path) -> None:
    command = [sys.executable, save(program, tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == (program.printed or "")
    assert not ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("program", APPS, ids=str)
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
@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_an_excerpt_is_of_what_its_command_prints(output: Block, tmp_path: Path) -> None:
    """Its lines are in the output, in their order; where some were left out, it has ``…``."""
    (tmp_path / "tasks.py").touch()
    settings = [block.text for block in BLOCKS if block.page == output.page and block.kind == "toml"]
    (tmp_path / "asyncjobs.toml").write_text("".join(settings[:1]))
    program, *words = shlex.split(output.why)
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
            yield from (line for line in block.text.splitlines() if line.startswith("asyncjobs "))
    yield from (output.why for output in OUTPUTS)


def named() -> Iterator[str]:
    """Find the commands that a text names, perhaps without their arguments, or with an option without its value."""
    for page in (*PAGES, ROOT / "SECURITY.md"):
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        yield from re.findall(r"`(asyncjobs [^`…]+)`", text)


def split(line: str) -> tuple[click.Context, click.Command, list[str]]:
    """Return the context of the program, the command of a line, and the words for that command."""
    words = shlex.split(line.partition(" > ")[0])[1:]
    start = 0
    while words[start].startswith("-"):
        start += 2 if words[start] in WITH_VALUE else 1
    context = root.make_context("asyncjobs", words[: start + 1], resilient_parsing=True)
    context.obj = Context(config=None, flags={}, form="auto", colour=None, quiet=False, verbose=0)
    command: click.Command = root
    while isinstance(command, click.Group) and start < len(words):
        found = command.get_command(context, words[start])
        assert found is not None, words[start]
        command, start = found, start + 1
    return context, command, words[start:]


@pytest.mark.parametrize("line", sorted(set(lines())))
def test_a_line_is_one_that_its_command_takes(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Inside(tmp_path, monkeypatch)
    context, command, rest = split(line)
    assert not isinstance(command, click.Group)
    command.make_context(line, rest, parent=context)  # else it raises


@pytest.mark.parametrize("line", sorted(set(named())))
def test_a_command_that_a_text_names_exists(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Inside(tmp_path, monkeypatch)
    _, command, rest = split(line)
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    assert {word for word in rest if word.startswith("-")} <= options
    assert not (rest and isinstance(command, click.Group))


def test_a_route_that_a_text_names_exists() -> None:
    routes = {(entry.method, entry.path) for entry in TABLE}
    texts = [page.read_text("utf-8") for page in PAGES]
    found = {one for text in texts for one in re.findall(r"`(GET|POST) (?:/jobs)?/?([\w/{}]+)`", text)}
    assert len(found) > 4
    assert {(method, f"/{path}") for method, path in found} <= routes


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "toml"], ids=str)
def test_settings_are_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given.toml").write_text(block.text)
    Inside(tmp_path, monkeypatch).good("--config", "given.toml", "config", "validate")


def test_a_method_that_a_text_names_exists() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
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
