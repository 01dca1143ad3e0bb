"""What the documentation draws from the code is what the code says."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import JobStatus, MemoryBackend, SQLiteBackend, SQSBackend
from asyncjobs.core.lifecycle import TRANSITIONS
from asyncjobs.models import EventType

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "life-cycle.md"
PICTURE = PAGE.with_suffix(".svg")
FLOWS = ROOT / "docs" / "explanation" / "architecture.md"
PERFORMANCE = ROOT / "docs" / "explanation" / "performance.md"
STORES = (MemoryBackend, SQLiteBackend, SQSBackend)


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))  # as for a script that is run
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("page", [PAGE, FLOWS, PERFORMANCE], ids=lambda page: page.stem)
def test_the_page_is_what_the_generator_writes(generate: dict[str, Any], page: Path) -> None:
    assert generate["written"](page) == page.read_text(), "run: python docs/generate.py"


def test_every_page_with_a_drawing_is_compared(generate: dict[str, Any]) -> None:
    assert set(generate["DRAWINGS"]) == {PAGE, FLOWS, PERFORMANCE}


def test_no_drawing_of_a_page_is_without_its_generator(generate: dict[str, Any]) -> None:
    """Else it would stay as it is while the figures change."""
    for page in sorted(PAGE.parent.glob("*.md")):
        found = re.findall(r"^<!-- drawn from .* -->$", page.read_text(), re.MULTILINE)
        assert sorted(found) == sorted(generate["DRAWINGS"].get(page, {}))
        assert page.read_text().count(generate["END"]) == len(found)


def drawn_transitions() -> dict[tuple[JobStatus | None, EventType], JobStatus]:
    """Read back from the picture, not from the generator."""
    drawn: dict[tuple[JobStatus | None, EventType], JobStatus] = {}
    for before, after, events in re.findall(
        r'<path class="arrow" data-from="(\w*)" data-to="(\w+)" data-events="([\w ]+)"', PICTURE.read_text()
    ):
        for event in events.split():
            drawn[JobStatus(before) if before else None, EventType(event)] = JobStatus(after)
    return drawn


def test_the_picture_is_the_table_of_transitions() -> None:
    assert drawn_transitions() == TRANSITIONS
    words = re.findall(r'<text class="(?:status|event)"[^>]*>(\w+)</text>', PICTURE.read_text())
    assert set(words) == set(JobStatus) | {event for _, event in TRANSITIONS}


def test_the_pictures_are_what_the_generator_draws(generate: dict[str, Any]) -> None:
    for path, draw in (generate["PAGES"] | generate["PICTURES"]).items():
        assert draw() == path.read_text("utf-8"), "run: python docs/generate.py"


def test_every_new_arrow_would_change_the_page(generate: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSITIONS, (JobStatus.IN_PROGRESS, EventType.ASKED), JobStatus.PENDING)
    assert generate["written"](PAGE) != PAGE.read_text()
    assert generate["state_diagram"]() != PICTURE.read_text()


def test_every_test_that_asks_for_a_capability_is_in_the_table_of_those_left_out() -> None:
    """Read back from the files by their text, not by the generator."""
    marked = re.compile(r"^@pytest\.mark\.needs\((.*)\)\n(?:@.*\n)*(?:async )?def (\w+)", re.MULTILINE)
    asked: set[tuple[str, str]] = set()
    for path in (ROOT / "tests" / "conformance").glob("*.py"):
        text = path.read_text()
        found = marked.findall(text)
        assert len(found) == text.count("mark.needs("), f"{path.name}: a mark that the table does not know"
        asked |= {(name, f"{path.stem}::{test}") for names, test in found for name in re.findall(r'"(\w+)"', names)}
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| (`test_.*|none) \|$", FLOWS.read_text(), re.MULTILINE)
    assert {(name, test) for name, tests in rows for test in re.findall(r"`([\w:]+)`", tests)} == asked
    assert {name for name, _ in rows} == {name for store in STORES for name in store.capabilities}


def test_the_table_of_capabilities_is_what_the_stores_say() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (yes)? ?\| (yes)? ?\| (yes)? ?\| ", FLOWS.read_text(), re.MULTILINE)
    assert {name: [bool(yes) for yes in has] for name, *has in rows} == {
        name: [name in store.capabilities for store in STORES] for store in STORES for name in store.capabilities
    }


def flows() -> dict[str, list[str]]:
    """The modules of each flow that is drawn, in their order."""
    _, *parts = FLOWS.read_text().split("<!-- flow: ")
    return {part.partition(" -->")[0]: re.findall(r"^\| `([\w/]+\.py)` \|", part, re.MULTILINE) for part in parts}


@pytest.mark.parametrize("flow", ["a submit", "an outcome", "an event"])
def test_a_flow_passes_modules_that_exist_and_none_of_them_twice(flow: str) -> None:
    modules = flows()[flow]
    assert len(modules) > 5
    assert len(set(modules)) == len(modules)
    assert [module for module in modules if not (ROOT / "asyncjobs" / module).exists()] == []


def programs(page: str) -> list[str]:
    """The Python programs of a page, in their order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(folder: Path, program: str) -> str:
    (folder / "program.py").write_text(program)
    ran = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_program_of_the_readme_runs_and_prints_its_comment(tmp_path: Path) -> None:
    [program] = programs("README.md")
    [comment] = re.findall(r"print\(await page\)  # (.*)", program)
    *events, last = run(tmp_path, program).splitlines()
    assert last == comment
    assert [event.partition(" ")[0] for event in events] == ["submitted", "started", "completed"]
