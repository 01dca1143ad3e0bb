"""Write the parts of the documentation that are drawn from the code: ``python docs/generate.py``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

from asyncjobs import MemoryBackend, SQLiteBackend, SQSBackend
from asyncjobs.core.lifecycle import TRANSITIONS
from asyncjobs.models import EventType, JobStatus

ROOT = Path(__file__).parent.parent
EXPLANATION = ROOT / "docs" / "explanation"
END = "<!-- end of drawing -->"
STORES = {"memory": MemoryBackend, "SQLite": SQLiteBackend, "SQS": SQSBackend}


def life_cycle() -> str:
    """Draw the transitions, as a picture and as a table."""
    return f"{state_diagram()}\n\n{table()}"


def state_diagram() -> str:
    """Draw the transition table as a Mermaid state diagram: one arrow per pair of statuses, with its events."""
    arrows: dict[tuple[JobStatus | None, JobStatus], list[EventType]] = {}
    for (before, event), after in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(event)
    lines = ["```mermaid", "stateDiagram-v2"]
    for (before, after), events in arrows.items():
        lines.append(f"    {before or '[*]'} --> {after}: {', '.join(events)}")
    left = {before for before, _ in TRANSITIONS}
    lines += [f"    {status} --> [*]" for status in JobStatus if status not in left]
    return "\n".join([*lines, "```"])


def table() -> str:
    """Write the transitions as a table, for readers of plain text."""
    rows = ["| from | event | to |", "|---|---|---|"]
    rows += [f"| {before or '–'} | `{event}` | {after} |" for (before, event), after in TRANSITIONS.items()]
    return "\n".join(rows)


def left_out() -> str:
    """Write which tests of the contract each store leaves out, for want of which capability."""
    needing: dict[str, list[str]] = {name: [] for name in capabilities()}
    for path in sorted((ROOT / "tests" / "conformance").glob("test_*.py")):
        for test, needed in needs(path):
            for capability in needed:
                needing[capability].append(f"`{path.stem}::{test}`")
    rows = ["| capability | stores without it | tests that they leave out |", "|---|---|---|"]
    for name, tests in needing.items():
        without = [store for store, backend in STORES.items() if name not in backend.capabilities]
        rows.append(f"| `{name}` | {', '.join(without) or 'none'} | {'<br>'.join(tests) or 'none'} |")
    return "\n".join(rows)


def capabilities() -> list[str]:
    """Return every capability, those first that most stores have."""
    names = sorted(frozenset[str]().union(*(backend.capabilities for backend in STORES.values())))
    return sorted(names, key=lambda name: sum(name not in backend.capabilities for backend in STORES.values()))


def needs(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Find the tests of a file that are marked ``needs``, each with the capabilities that it names."""
    for test in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.needs":
                    yield test.name, [ast.literal_eval(argument) for argument in mark.args]


DRAWINGS: dict[Path, tuple[str, Callable[[], str]]] = {
    EXPLANATION / "life-cycle.md": ("<!-- drawn from core/lifecycle.py by docs/generate.py -->", life_cycle),
    EXPLANATION / "architecture.md": ("<!-- drawn from tests/conformance by docs/generate.py -->", left_out),
}
"""The pages: where a drawing begins, and what draws it."""


def written(path: Path) -> str:
    """Return a page with its drawing replaced by the current one."""
    begin, draw = DRAWINGS[path]
    head, _, rest = path.read_text("utf-8").partition(begin)
    _, _, tail = rest.partition(END)
    return f"{head}{begin}\n\n{draw()}\n\n{END}{tail}"


if __name__ == "__main__":
    for page in DRAWINGS:
        page.write_text(written(page), "utf-8")
