"""The house: imports run one way, the package is light, and what it offers is documented."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import grimp
import networkx
import pytest

import asyncjobs
from tests.architecture.import_time import LIMIT, as_users_have_it, measure

ROOT = Path(asyncjobs.__file__).parent


def test_importing_it_brings_in_only_the_core_packages() -> None:
    foreign = "networkx aiosqlite sqlite3 aiobotocore starlette uvicorn crewai rich trio PIL httpx yaml".split()
    foreign += ["jsonschema", "referencing"]
    code = f"import sys, asyncjobs; print([m for m in {foreign!r} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=as_users_have_it(), capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_program_that_runs_a_job_loads_no_module_that_only_errors_and_rare_values_need() -> None:
    rare = "difflib statistics fractions secrets hmac zoneinfo json.decoder".split()
    code = f"""
import asyncio, sys, tempfile
from pathlib import Path
from asyncjobs import JobProcessor, SQLiteConfig, gather

async def main(folder):
    async with JobProcessor(SQLiteConfig(db_path=Path(folder) / "jobs.db")) as jp:
        await gather(*await jp.map_jobs(abs, range(3)))

with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
print([m for m in {rare!r} if m in sys.modules])"""
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=as_users_have_it(), capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_importing_it_is_quick() -> None:
    ours, theirs = measure()
    print(f"import asyncjobs: {ours:.0f} ms, asyncio {theirs:.0f} ms")
    assert ours < LIMIT * theirs


def test_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([command, "--no-cache"], capture_output=True, text=True, cwd=ROOT.parent, check=False)
    assert run.returncode == 0, run.stdout


PYDANTIC = "asyncjobs.pydantic_support"
"""Imports the JSON of models, from the web part above it, once pydantic asks a model how it is sent: the one cycle."""


def find_cycles(imports: networkx.DiGraph[str]) -> list[list[str]]:
    return [sorted(cycle) for cycle in networkx.strongly_connected_components(imports) if len(cycle) > 1]


@pytest.mark.untraced
def test_no_modules_import_each_other() -> None:
    """Also not in functions; ``if TYPE_CHECKING`` does not count. import-linter compares packages, not modules."""
    graph = grimp.build_graph("asyncjobs", cache_dir=None, exclude_type_checking_imports=True)
    found = [(name, one) for name in graph.modules for one in graph.find_modules_directly_imported_by(name)]
    imports = networkx.DiGraph(found)
    assert len(imports) > 300
    assert find_cycles(imports), "would not find the cycle that there is"
    assert {one for _, one in imports.out_edges(PYDANTIC)} == {"asyncjobs.web.json_models"}
    imports.remove_node(PYDANTIC)
    assert find_cycles(imports) == []


@pytest.mark.untraced
def test_no_statement_has_numbered_placeholders() -> None:
    """Python 3.12.0 to 3.12.3 warn of them when they are given a sequence: an error for programs that make it one."""
    numbered = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "backends").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\?\d", node.value)
    ]
    assert numbered == []


@pytest.mark.untraced
def test_no_test_has_a_parameter_that_the_lowest_anyio_cannot_pass_on() -> None:
    """The pytest plugin of anyio below 4.14 calls a test with keywords, and has a parameter ``func`` of its own."""
    named = [
        f"{path.name}:{node.lineno}"
        for path in Path(__file__).parents[1].rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
        if "func" in [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    ]
    assert named == [], "call it otherwise"


def test_every_dependency_has_a_lowest_version() -> None:
    """What ``make test-lowest`` installs: exactly these, with Python 3.11."""
    script = ROOT.parent / ".ci" / "lowest"
    if not script.exists():
        pytest.skip("the source distribution has no .ci")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    direct = [one for one in (*project["dependencies"], *extras) if not one.startswith(project["name"])]
    names = dict.fromkeys(re.split(r"[\[>;]", one)[0] for one in direct)  # several extras may have the same one
    assert [line.partition("==")[0] for line in run.stdout.split()] == list(names)


@pytest.mark.parametrize("name", asyncjobs.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(asyncjobs, name)
    assert inspect.getdoc(thing), f"{name} has no docstring"


def test_public_names_are_listed_in_order() -> None:
    assert sorted(asyncjobs.__all__) == list(asyncjobs.__all__)
    assert set(dir(asyncjobs)) == set(asyncjobs.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'JobProcesor'"):
        asyncjobs.JobProcesor  # noqa: B018 - reading it raises


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    # The facade is mostly signatures and docstrings of the public methods, in one place on purpose.
    assert lines <= (500 if path.name == "processor.py" else 450), f"{lines} lines: is it one thing?"


@pytest.mark.untraced
def test_modules_of_tests_are_of_one_topic() -> None:
    large = [path.name for path in (ROOT.parent / "tests").rglob("*.py") if len(path.read_text().splitlines()) > 600]
    assert large == [], "split them by what they test"


def _names_of_modules() -> set[str]:
    """Return what modules are called in names of tests: ``core/codec/nodes.py`` is ``nodes`` or ``codec_nodes``."""
    names: set[str] = set()
    for path in ROOT.rglob("*.py"):
        parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
        names |= {"_".join(parts[start:]) for start in range(len(parts))}
    return names


@pytest.mark.parametrize("folder", ["unit", "runtime"])
def test_a_module_of_tests_is_named_after_the_module_that_it_tests(folder: str) -> None:
    """``test_retention.py``, or with its topic behind: ``test_waiting_matrix.py``."""
    names = _names_of_modules()
    for path in (ROOT.parent / "tests" / folder).glob("test_*.py"):
        words = path.stem.split("_")[1:]
        assert any("_".join(words[:count]) in names for count in range(1, len(words) + 1)), path.name


# -- what is not checked says why

_SUPPRESSION = re.compile(r"(?:type|pyright): ignore(?:\[[^\]]*\])?|noqa(?:: *[A-Z0-9, ]+)?|pragma: no cover")
_SOURCES = [
    path
    for folder in ("asyncjobs", "tests", "benchmarks", "examples")
    for path in sorted((ROOT.parent / folder).rglob("*.py"))
]


def _suppressions(path: Path) -> list[str]:
    """Return the comments of a file that keep a checker quiet."""
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    return [token.string for token in comments if _SUPPRESSION.search(token.string)]


def test_what_keeps_a_checker_quiet_says_why() -> None:
    without = [
        f"{path.relative_to(ROOT.parent)}: {comment}"
        for path in _SOURCES
        for comment in _suppressions(path)
        if not re.search(r"\w", _SUPPRESSION.sub("", comment)) and "typing" not in path.parts
    ]
    assert without == []


def test_nothing_keeps_quiet_a_checker_that_does_not_read_the_file() -> None:
    """Types are checked in the package and in tests/typing."""
    read = (ROOT, ROOT.parent / "tests" / "typing")
    others = [path for path in _SOURCES if not any(path.is_relative_to(folder) for folder in read)]
    assert [(path.name, one) for path in others for one in _suppressions(path) if ": ignore" in one] == []
