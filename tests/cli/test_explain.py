"""``asyncjobs explain``: what a code of an error means, without a network."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import asyncjobs
from asyncjobs import exceptions
from asyncjobs.cli.context import Context
from asyncjobs.cli.examples import EXAMPLES
from asyncjobs.cli.explain import explanations
from asyncjobs.cli.failures import render_failure
from asyncjobs.cli.main import root
from tests.cli.inside import Inside, commands

SOURCES = sorted(Path(asyncjobs.__file__).parent.rglob("*.py"))
CODE = re.compile(r"[a-z]+(-[a-z]+)*")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(tmp_path, monkeypatch)


def codes_of(path: Path) -> Iterator[str]:
    """Find the codes that a module gives to errors: attributes, arguments, and the slugs of what it returns."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def text(node: ast.expr | None) -> Iterator[str]:
        value = constants.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        if isinstance(value, str) and CODE.fullmatch(value):
            yield value

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            if any(isinstance(target, ast.Attribute) and target.attr == "code" for target in node.targets):
                yield from text(node.value)
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                names = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
                if any(isinstance(name, ast.Name) and name.id == "code" for name in names):
                    yield from text(getattr(line, "value", None))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "WebError":
                yield from text(node.args[1])
            elif called == "_Meaning":
                yield from text(node.args[0])
            elif called in ("Failure", "click.exceptions.Exit"):
                yield from (code for word in node.keywords if word.arg == "code" for code in text(word.value))


def test_every_code_that_an_error_can_have_is_explained_and_no_other() -> None:
    given = {code for path in SOURCES for code in codes_of(path)}
    assert {"disk-full", "job-failed", "uri-too-long", "not-running", "too-big", "permission"} <= given
    assert given | {"failed"} == set(explanations())


def test_each_has_a_meaning_a_fix_and_the_classes_that_have_it() -> None:
    assert list(explanations()) == sorted(explanations())
    for code, found in explanations().items():
        assert found.meaning.endswith("."), code
        assert found.fix.endswith("."), code
        for name in found.raised_as:
            assert getattr(exceptions, name).code == code
    named = {name for found in explanations().values() for name in found.raised_as}
    assert named == {
        name for name, kind in vars(exceptions).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }


def test_a_command_that_a_text_names_exists() -> None:
    texts = " ".join(f"{found.meaning} {found.fix}" for found in explanations().values())
    named = re.findall(r"`asyncjobs ([^`]+)`", texts)
    assert len(named) > 10
    for line in named:
        if line.startswith("COMMAND"):
            continue
        resolve(shlex.split(line))


def resolve(words: list[str]) -> click.Command:
    command: click.Command = root
    while isinstance(command, click.Group):
        assert words, f"a group without a command: {command.name}"
        context = click.Context(command)
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options
    return command


def test_a_code_is_explained_to_people(inside: Inside) -> None:
    shown = inside.run("explain", "disk-full")
    assert shown.code == 0
    assert shown.lines[0] == "disk-full"
    assert "the disk is full" in shown.out
    assert "Fix: free some space" in shown.out
    assert "`" not in shown.out
    assert inside.run("explain", "job-failed").lines[0] == "job-failed  (JobExecutionError)"


def test_and_to_programs(inside: Inside) -> None:
    shown = inside.run("explain", "cycle", "--json").json
    assert shown["raised_as"] == ["CyclicDependencyError"]
    assert shown["fix"] == "drop one of these dependencies."
    assert len(inside.run("explain", "-o", "json").json) == len(explanations())


def test_without_a_code_all_are_listed(inside: Inside) -> None:
    lines = inside.run("explain").lines
    assert [line.split()[0] for line in lines] == list(explanations())


def test_an_unknown_code_is_refused_with_the_nearest(inside: Inside) -> None:
    refused = inside.run("explain", "disk-ful")
    assert refused.code == 3
    assert "did you mean 'disk-full'?" in refused.err
    assert "asyncjobs explain lists all codes" in inside.run("explain", "xyzzy").err


def test_a_failure_without_a_hint_and_each_of_the_store_name_the_explanation() -> None:
    full = exceptions.BackendError("there is no room", hint="free some space")
    full.code = "disk-full"
    assert render_failure(full).hint == "free some space; asyncjobs explain disk-full"
    assert render_failure(exceptions.CorruptValueError("damaged")).hint == "asyncjobs explain corrupt-value"
    assert "explain" not in (render_failure(exceptions.JobNotFoundError("a")).hint or "")


# -- examples


def test_every_command_has_an_example_and_no_example_is_of_another() -> None:
    assert {" ".join(path) for path in commands(root)} == set(EXAMPLES)


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_a_line_that_its_command_takes(inside: Inside, path: str) -> None:
    for line in EXAMPLES[path]:
        words = shlex.split(line.partition(" > ")[0])
        if words[0] == "eval":
            words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
        assert words[0] == "asyncjobs"
        given, names = words[1:], path.split()
        start = given.index(names[0])
        assert given[start : start + len(names)] == names
        context = root.make_context("asyncjobs", [*given[:start], names[0]], resilient_parsing=True)
        context.obj = Context(config=None, flags={}, form="auto", colour=None, quiet=False, verbose=0)
        command = resolve(names)
        command.make_context(path, list(given[start + len(names) :]), parent=context)  # else it raises


def test_help_shows_them(inside: Inside) -> None:
    shown = inside.run("daemon", "start", "--help").out
    assert "Examples:\n    asyncjobs --app shop.main:jp daemon start\n" in shown
