"""Write the parts of the documentation that are drawn from the code: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

from asyncjobs.core.lifecycle import TRANSITIONS
from asyncjobs.models import EventType, JobStatus

LIFE_CYCLE = Path(__file__).parent / "explanation" / "life-cycle.md"
BEGIN, END = "<!-- drawn from core/lifecycle.py by docs/generate.py -->", "<!-- end of drawing -->"


def life_cycle() -> str:
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


def written(page: str) -> str:
    """Return the page with its drawing replaced by the current one."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{life_cycle()}\n\n{table()}\n\n{END}{tail}"


if __name__ == "__main__":
    LIFE_CYCLE.write_text(written(LIFE_CYCLE.read_text()))
