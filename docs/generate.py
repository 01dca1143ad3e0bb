"""Write the parts of the documentation that are drawn from the code: ``python docs/generate.py``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

from _figures import performance
from _reference import commands, configuration, error_codes, http

from asyncjobs import MemoryBackend, SQLiteBackend, SQSBackend
from asyncjobs.core.lifecycle import TRANSITIONS
from asyncjobs.models import EventType, JobStatus

ROOT = Path(__file__).parent.parent
EXPLANATION, REFERENCE = ROOT / "docs" / "explanation", ROOT / "docs" / "reference"
END = "<!-- end of drawing -->"
STORES = {"memory": MemoryBackend, "SQLite": SQLiteBackend, "SQS": SQSBackend}


def life_cycle() -> str:
    """Draw the transitions, as a picture and as a table."""
    return f"![The statuses of a job, and the events that lead from one to another](life-cycle.svg)\n\n{table()}"


def arrows() -> dict[tuple[JobStatus | None, JobStatus], list[EventType]]:
    """Return the events between two statuses."""
    found: dict[tuple[JobStatus | None, JobStatus], list[EventType]] = {}
    for (before, event), after in TRANSITIONS.items():
        found.setdefault((before, after), []).append(event)
    return found


def state_diagram() -> str:
    """Draw the statuses, and an arrow with its events between each two of them."""
    parts = [HEAD]
    for (before, after), events in arrows().items():
        path, x, y = ROUTES[before, after] if (before, after) in ROUTES else _back(before, after)
        facts = f'data-from="{before or ""}" data-to="{after}" data-events="{" ".join(events)}"'
        parts.append(f'<path class="arrow" {facts} d="{path}"/>')
        for line, event in enumerate(events):
            parts.append(f'<text class="event" x="{x}" y="{y + 17 * line}">{event}</text>')
    for status, (x, y) in PLACES.items():
        parts.append(f'<rect class="{"open" if x < 600 else "final"}" x="{x}" y="{y}" width="120" height="40" rx="8"/>')
        parts.append(f'<text class="status" x="{x + 60}" y="{y + 26}">{status}</text>')
    return "\n".join([*parts, "</svg>", ""])


PLACES = {
    JobStatus.PENDING: (70, 190), JobStatus.IN_PROGRESS: (350, 190), JobStatus.COMPLETED: (660, 40),
    JobStatus.FAILED: (660, 140), JobStatus.CANCELLED: (660, 240), JobStatus.SKIPPED: (660, 340),
}  # fmt: skip
"""The upper left corner of each status."""
ROUTES: dict[tuple[JobStatus | None, JobStatus], tuple[str, int, int]] = {
    (None, JobStatus.PENDING): ("M10 210 H62", 32, 200),
    (JobStatus.PENDING, JobStatus.IN_PROGRESS): ("M190 203 H342", 266, 196),
    (JobStatus.IN_PROGRESS, JobStatus.PENDING): ("M350 222 C290 252 250 252 198 225", 272, 264),
    (JobStatus.IN_PROGRESS, JobStatus.COMPLETED): ("M470 200 L653 68", 540, 122),
    (JobStatus.IN_PROGRESS, JobStatus.FAILED): ("M470 207 L652 164", 572, 172),
    (JobStatus.IN_PROGRESS, JobStatus.CANCELLED): ("M470 214 L652 254", 572, 228),
    (JobStatus.PENDING, JobStatus.COMPLETED): ("M110 190 C160 50 400 40 652 52", 400, 42),
    (JobStatus.PENDING, JobStatus.FAILED): ("M140 190 C220 90 480 110 652 150", 330, 112),
    (JobStatus.PENDING, JobStatus.CANCELLED): ("M140 230 C200 390 480 340 652 270", 560, 326),
    (JobStatus.PENDING, JobStatus.SKIPPED): ("M110 230 C140 430 400 400 652 362", 400, 384),
}
"""Each arrow, with the middle of its first line of text."""
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="-30 10 900 440" role="img" aria-label="The life cycle of a job">
<style>
svg {
  font: 15px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  --ink: #1f2328; --line: #5a5f66; --open: #dbe9f8; --final: #e6f2e6; --sheet: #ffffff;
}
@media (prefers-color-scheme: dark) {
  svg { --ink: #ece8df; --line: #aab0ba; --open: #1d3a5c; --final: #1f3d27; --sheet: #131416; }
}
rect { stroke: var(--line); }
.open { fill: var(--open); }
.final { fill: var(--final); }
text { fill: var(--ink); text-anchor: middle; }
.status { font-weight: 600; }
.event { font-size: 13px; paint-order: stroke; stroke: var(--sheet); stroke-width: 4px; }
.arrow { fill: none; stroke: var(--line); stroke-width: 1.5; marker-end: url(#head); }
#head path { fill: var(--line); }
</style>
<defs>
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0 L8 4 L0 8 z"/>
</marker>
</defs>"""


def _back(before: JobStatus | None, after: JobStatus) -> tuple[str, int, int]:
    """Return the arrow of what is tried again: all of these share a line around the others."""
    assert before is not None, "a job begins as pending"
    assert after is JobStatus.PENDING, f"there is no room for an arrow from {before} to {after}: draw one in ROUTES"
    _, y = PLACES[before]
    return f"M780 {y + 20} H830 V432 H40 V245 L64 226", 430, 425


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


DRAWINGS: dict[Path, dict[str, Callable[[], str]]] = {
    EXPLANATION / "life-cycle.md": {"<!-- drawn from core/lifecycle.py by docs/generate.py -->": life_cycle},
    EXPLANATION / "architecture.md": {"<!-- drawn from tests/conformance by docs/generate.py -->": left_out},
    EXPLANATION / "performance.md": {
        f"<!-- drawn from docs/figures by docs/generate.py: {name} -->": draw
        for name, draw in performance.PARTS.items()
    },
}
"""The pages: where each drawing begins, and what draws it."""


def written(path: Path) -> str:
    """Return a page with its drawings replaced by the current ones."""
    page = path.read_text("utf-8")
    for begin, draw in DRAWINGS[path].items():
        head, found, rest = page.partition(begin)
        assert found, f"{path.name} has no place for {begin}"
        _, _, tail = rest.partition(END)
        page = f"{head}{begin}\n\n{draw()}\n\n{END}{tail}"
    return page


PAGES: dict[Path, Callable[[], str]] = {
    REFERENCE / "commands.md": commands.page,
    REFERENCE / "configuration.md": configuration.page,
    REFERENCE / "error-codes.md": error_codes.page,
    REFERENCE / "http.md": http.page,
}
"""The pages that are written whole."""

PICTURES: dict[Path, Callable[[], str]] = {
    EXPLANATION / "life-cycle.svg": state_diagram,
    **{EXPLANATION / name: draw for name, draw in performance.CHARTS.items()},
}
"""The pictures that pages show."""


if __name__ == "__main__":
    for page in DRAWINGS:
        page.write_text(written(page), "utf-8")
    for path, write in (PAGES | PICTURES).items():
        path.write_text(write(), "utf-8")
