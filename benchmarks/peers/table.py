"""The report, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.summary import FIGURES, Report, Row, is_limit, wins
from benchmarks.report import aligned, number


def text(report: Report) -> str:
    """All tables: promises, figures, what is missing and why, targets, and who is ahead of asyncjobs."""
    machine = report.machine
    lines = [
        f"{machine.system}, {machine.cores} cores, Python {machine.python}, SQLite {machine.sqlite}, "
        f"revision {machine.revision}, {report.date}",
        f"{report.rounds} round{'' if report.rounds == 1 else 's'}{', quick: rough' if report.quick else ''}; "
        f"load {report.load[0]:.1f} to {report.load[1]:.1f}",
        "",
        *aligned(promises(report)),
        "",
        *aligned(figures(report)),
        *_section("Why there is no figure", reasons(report)),
        *_section("Ahead of asyncjobs", ahead(report)),
        *_section("Ahead of asyncjobs with FULL, of those that sync each commit", ahead(report, synced=True)),
        "",
        *aligned(targets(report)),
    ]
    return "\n".join(lines)


def promises(report: Report) -> list[tuple[str, ...]]:
    """What each library gives for the time."""
    rows = [(row.title, *row.promise) for row in report.rows if not is_limit(row)]
    return [("library", "durable", "graph", "server", "results"), *rows]


def figures(report: Report, names: Sequence[str] = tuple(FIGURES)) -> list[tuple[str, ...]]:
    """A row for each library, a column for each of these figures."""
    shown = [FIGURES[name] for name in names]
    head = ("library", *(f"{title}, {unit}" for title, unit, _ in shown))
    return [head, *((row.title, *(cell_text(row, name) for name in names)) for row in report.rows)]


def cell_text(row: Row, figure: str) -> str:
    """A median, or a dash: "no" is what it cannot do, "failed" what it could not do here."""
    cell = row.cells[figure]
    if cell.median is not None:
        return number(cell.median)
    return {"c": "no", "f": "failed"}.get(cell.why[:1], "–")


def reasons(report: Report) -> list[str]:
    """Why a library has no figure, where it has none."""
    lines: list[str] = []
    for row in report.rows:
        whys: dict[str, list[str]] = {}
        for name, cell in row.cells.items():
            if cell.median is None:
                whys.setdefault(cell.why, []).append(FIGURES[name][0])
        for why, names in whys.items():
            lines.append(f"{row.title}: {'everything' if len(names) == len(FIGURES) else ', '.join(names)}: {why}")
    return lines


def ahead(report: Report, *, synced: bool = False) -> list[str]:
    """Where another library wins, and by how much. ``synced``: among what syncs each commit."""
    lines: list[str] = []
    for figure, (title, unit, _) in FIGURES.items():
        rows = wins(report, figure, synced=synced)
        names = [f"{row.title} ({number(row.cells[figure].median or 0)} {unit})" for row in rows]
        if names:
            lines.append(f"{title}: {', '.join(names)}")
    return lines


def targets(report: Report) -> list[tuple[str, ...]]:
    """What was wanted, and what was measured."""
    table = [("target", "what", "measured", "must", "met", "aim", "met")]
    for verdict in report.verdicts:
        target = verdict.target
        value = "not measured" if verdict.value is None else f"{number(verdict.value)} ×"
        sign = "≥" if target.better == "higher" else "≤"
        table.append(
            (
                *(target.number, target.what, value),
                *(f"{sign} {number(target.must)}", word(verdict.must)),
                *(f"{sign} {number(target.aim)}", word(verdict.aim)),
            )
        )
    return table


def word(met: bool | None) -> str:
    """A verdict."""
    return "" if met is None else "met" if met else "NOT MET"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{title}:", *(f"- {line}" for line in lines)] if lines else []
