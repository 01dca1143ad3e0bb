"""The reference has every public name, command, setting, route, code and event, and no other."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import asyncjobs
from asyncjobs.cli.explain import explanations
from asyncjobs.cli.main import root
from asyncjobs.integrations.crewai.failures import AGENT_STATE
from asyncjobs.integrations.crewai.reports import AGENT_OUTPUT, FLOW_STATE
from asyncjobs.integrations.crewai.run import USAGE
from asyncjobs.models import EventType
from asyncjobs.settings import PREFIX, SECTIONS
from asyncjobs.web.routes import TABLE
from tests.cli.inside import commands

PAGES = Path(__file__).resolve().parents[2] / "docs" / "reference"
MODULES = (
    "asyncjobs", "asyncjobs.client", "asyncjobs.compat", "asyncjobs.integrations.crewai", "asyncjobs.testing",
    "asyncjobs.web",
)  # fmt: skip
WHOLE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)
ONE = re.compile(r"^\.\. auto(?:class|exception|function|data):: (\S+)$", re.MULTILINE)


def named(pattern: re.Pattern[str]) -> list[str]:
    return [name for page in sorted(PAGES.glob("*.md")) for name in pattern.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there(module: str) -> None:
    if module in named(WHOLE):
        return
    assert {f"{module}.{name}" for name in import_module(module).__all__} <= set(named(ONE))


def test_no_name_is_there_twice_or_invented() -> None:
    names = named(ONE) + named(WHOLE)
    assert len(names) == len(set(names))
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            found = import_module(name)
        except ModuleNotFoundError:
            found = getattr(import_module(module), attribute)
        assert found is not None


def test_of_a_public_module_only_public_names_are_there() -> None:
    for name in named(ONE):
        module, _, attribute = name.rpartition(".")
        if module in MODULES:
            assert attribute in import_module(module).__all__, name


def test_every_page_is_in_the_contents() -> None:
    contents = (PAGES.parent / "index.md").read_text("utf-8")
    pages = {
        str(page.relative_to(PAGES.parent).with_suffix(""))
        for folder in ("guides", "explanation", "reference")
        for page in (PAGES.parent / folder).glob("*.md")
    }
    assert pages <= set(contents.split())


def test_every_type_of_event_is_in_the_table_of_frames() -> None:
    guide = (PAGES.parent / "guides" / "web.md").read_text("utf-8")
    [row] = re.findall(r"^\| (`submitted`.*?) \| an event of this type \|$", guide, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == {str(event) for event in EventType}


def test_the_types_of_events_are_those_that_there_are() -> None:
    page = (PAGES / "events.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \| ", page.partition("## What the engine writes")[2], re.MULTILINE))
    assert listed == {str(event) for event in EventType} | {"output"}  # which is the usual name of a body's own
    [sentence] = re.findall(r"^(`agent_output`.*) are written by jobs of CrewAI", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", sentence)) == {AGENT_OUTPUT, AGENT_STATE, FLOW_STATE, USAGE}


def headings(page: str, level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", (PAGES / page).read_text("utf-8"), re.MULTILINE)


def command_sections() -> dict[str, str]:
    """Return the section of each command, by its path."""
    _, _, sections = (PAGES / "commands.md").read_text("utf-8").partition("\n## Options of all commands\n")
    parts = re.split(r"^## (.+)$", sections, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def command_at(path: str) -> click.Command:
    command: click.Command = root
    for name in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def options_of(command: click.Command) -> set[str]:
    """Return the options of a command of its own; those of the program may be given behind it, too."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    return {name for one in options if not (one.name or "").startswith("shared_") for name in one.opts}


OF_ALL = {name for one in root.params for name in one.opts}


def test_the_commands_and_their_options_are_those_that_there_are() -> None:
    sections = command_sections()
    assert sections.keys() == {" ".join(path) for path in commands(root)} | {"Exit codes"}
    for path, section in sections.items():
        if path != "Exit codes":
            rows = re.findall(r"^\| ((?:`-[^`]+`(?:, )?)+)", section, re.MULTILINE)
            assert {name for row in rows for name in re.findall(r"`(-[\w-]+)`", row)} == options_of(command_at(path))


def test_the_settings_are_those_that_there_are() -> None:
    text = (PAGES / "configuration.md").read_text("utf-8")
    fields = {f"{section}.{field.name}" for section, kind in SECTIONS.items() for field in dataclasses.fields(kind)}
    names = fields | {"app", "backend", "redact"}
    variables = [f"{PREFIX}{name.upper().replace('.', '_')}" for name in names]
    assert sorted(re.findall(rf"^`({PREFIX}\w+)`", text, re.MULTILINE)) == sorted(variables)
    assert sorted(headings("configuration.md", 3)) == sorted(name.rpartition(".")[2] for name in names)


def test_the_routes_are_those_that_there_are() -> None:
    found = [one for one in headings("http.md", 2) if one != "Types"]
    assert sorted(found) == sorted(f"{entry.method} {entry.path}" for entry in TABLE)


def test_the_codes_of_errors_are_those_that_there_are() -> None:
    """That each code that an error may have is explained: ``tests/cli/test_explain.py``."""
    assert headings("error-codes.md", 2) == list(explanations())


PRINTED = re.compile(r"(?<![\w./-])asyncjobs((?: [a-z-]+)+)")


def printed_commands() -> Iterator[tuple[str, str]]:
    """Find the commands in texts of the package that are no docstrings: hints, service files, what others print."""
    for file in sorted(Path(asyncjobs.__file__).parent.rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        left_out = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out:
                yield from ((file.name, words) for words in PRINTED.findall(node.value))


def docstrings(tree: ast.Module) -> set[ast.Constant]:
    return {
        line.value
        for line in ast.walk(tree)
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    }  # fmt: skip


def test_every_command_that_the_product_prints_is_in_the_reference() -> None:
    sections, found = command_sections(), set[str]()
    for file, text in printed_commands():
        first, *rest = text.split()
        if first not in root.list_commands(click.Context(root)):
            continue  # a sentence about the package
        if first not in sections and not rest:
            continue  # such as "asyncjobs daemon", which is what a unit of systemd describes
        path = first if first in sections else " ".join([first, *rest[:1]])
        assert path in sections, f"{file}: asyncjobs{text}"
        options = [word for word in rest if word.startswith("--")]
        assert set(options) <= options_of(command_at(path)) | OF_ALL | {"--help"}, f"{file}: asyncjobs{text}"
        found.add(path)
    assert {"daemon start", "explain", "jobs retry", "legacy import"} <= found
