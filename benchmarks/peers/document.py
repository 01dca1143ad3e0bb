"""The report, for pages: each part as Markdown. ``docs/generate.py`` puts them into the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from benchmarks.machine import Machine
from benchmarks.peers.catalogue import LIMITS, OURS
from benchmarks.peers.charts import svg
from benchmarks.peers.summary import FIGURES, Report, Row, is_limit, is_ours, judged_again
from benchmarks.peers.table import ahead, figures, promises, reasons, targets
from benchmarks.report import number

CHARTS = {
    "rates": ("Jobs a second, by library", ("one_by_one", "submitters_100", "batch")),
    "round-trips": ("Milliseconds from a submit to its result, by library", ("p50",)),
    "graphs": ("Nodes of graphs a second, by library", ("chain", "layered", "fan")),
}
"""What is drawn."""
TABLES = {
    "rates": ("one_by_one", "submitters_100", "batch_stored", "batch"),
    "round-trips": ("p50", "p99"),
    "graphs": ("chain", "layered", "fan"),
}
"""What stands in the table below each chart."""
_SYNCHRONOUS = ("NORMAL", "FULL")


def write(report: Report, path: Path) -> None:
    """Write a page with all of it, and the charts beside it, named as the page is."""
    path.write_text(markdown(report, path.stem), encoding="utf-8")
    for name in CHARTS:
        path.with_name(f"{path.stem}-{name}.svg").write_text(chart(report, name), encoding="utf-8")


def markdown(report: Report, stem: str) -> str:
    """All parts."""
    parts = [
        origin(report),
        *(measured(report, name, f"{stem}-{name}.svg") for name in CHARTS),
        f"What each promises:\n\n{promised(report)}",
        f"Where another library is ahead:\n\n{winners(report)}",
        f"What the machine would allow:\n\n{limited(report)}",
        aimed_at(report),
        missing(report),
        settings(report),
    ]
    return "\n\n".join(parts) + "\n"


def chart(report: Report, name: str) -> str:
    """Draw one of the charts."""
    return svg(report, *CHARTS[name])


# -- the parts


_ENOUGH = 5
_FEW = f":::{{note}}\nThese are of fewer than {_ENOUGH} rounds: a difference of a tenth says nothing.\n:::"


def origin(report: Report) -> str:
    """Say where the figures come from, and whether they are rough."""
    rounds = "one round" if report.rounds == 1 else f"medians of {report.rounds} interleaved rounds"
    command = "make bench-peers QUICK=1" if report.quick else "make bench-peers"
    text = (
        f"Measured on {report.date} by `{command}`: {rounds}, on {described(report.machine)}; load "
        f"{report.load[0]:.1f} to {report.load[1]:.1f}."
    )
    if report.quick:
        return f"{text}\n\n{rough()}"
    return f"{text}\n\n{_FEW}" if report.rounds < _ENOUGH else text


def described(machine: Machine) -> str:
    """Describe a machine, and the code."""
    processor = f" of {machine.processor}" if machine.processor else ""
    return (
        f"{machine.system}, {machine.cores} cores{processor}, Python {machine.python}, SQLite {machine.sqlite}, "
        f"revision {machine.revision}"
    )


def rough() -> str:
    """Warn of figures of a short run."""
    return (
        ":::{warning}\nThese are of a short run on a busy machine, to show what the page shows. "
        "Neither the figures nor what they say of targets is a result.\n:::"
    )


def measured(report: Report, name: str, picture: str) -> str:
    """A chart, and its table."""
    title, shown = CHARTS[name]
    panels = ", ".join(FIGURES[figure][0] for figure in shown)
    heard = f"{title}, as bars: {panels}. The table below has the same figures."
    return f"![{heard}]({picture})\n\n{table(_named(report, TABLES[name]))}"


def _named(report: Report, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The figures, without the limits, which have a table of their own, and what can do none; our rows in bold."""
    head, *rows = figures(report, names)
    kept = [
        (row, cells)
        for row, cells in zip(report.rows, rows, strict=True)
        if not is_limit(row) and set(cells[1:]) != {"no"}
    ]
    return [head, *(tuple(f"**{cell}**" for cell in cells) if is_ours(row) else cells for row, cells in kept)]


def promised(report: Report) -> str:
    """What each gives for the time."""
    return table(promises(report))


def winners(report: Report) -> str:
    """Where another library wins, at all and among those that sync."""
    parts: list[str] = []
    for synced, than in ((False, "asyncjobs with either setting"), (True, "asyncjobs with `FULL`, all of them synced")):
        lines = ahead(report, synced=synced)
        if lines:
            parts.append("\n".join([f"Faster than {than}:", "", *(f"- {line}" for line in lines)]))
        else:
            parts.append(f"None of these is faster than {than}.")
    return "\n\n".join(parts)


def limited(report: Report) -> str:
    """Each figure beside what ``sqlite3`` alone makes of the same rows, and asyncio of the same coroutines."""
    rows = {row.name: row for row in report.rows}
    asyncio = rows.get(f"{LIMITS} asyncio")
    lines: list[tuple[str, ...]] = []
    for figure, (title, unit, better) in FIGURES.items():
        cells: list[str] = []
        for synchronous in _SYNCHRONOUS:
            ours, limit = (rows.get(name) for name in (f"{OURS} {synchronous}", f"{LIMITS} sqlite3 {synchronous}"))
            cells += _share(_median(ours, figure), _median(limit, figure), better == "higher")
        cells.append(_text(_median(asyncio, figure)))
        lines.append((f"{title}, {unit}", *cells))
    head = [f"{what}, {synchronous}" for synchronous in _SYNCHRONOUS for what in ("asyncjobs", "sqlite3", "share")]
    return table([("figure", *head, "asyncio"), *lines])


def _share(ours: float | None, limit: float | None, higher: bool) -> list[str]:
    share = (ours / limit if higher else limit / ours) if ours and limit else None
    return [_text(ours), _text(limit), "–" if share is None else f"{100 * share:.0f} %"]


def _median(row: Row | None, figure: str) -> float | None:
    return None if row is None else row.cells[figure].median


def _text(value: float | None) -> str:
    return "–" if value is None else number(value)


def aimed_at(report: Report) -> str:
    """The targets of today, and whether they were met."""
    return table(targets(replace(report, verdicts=judged_again(report.verdicts))))


def missing(report: Report) -> str:
    """Why there is no figure: where something failed, and what a library cannot do."""
    return "\n".join(["Where there is no figure:", "", *(f"- {line}" for line in reasons(report))])


def settings(report: Report) -> str:
    """Versions, and what is special about settings."""
    lines: list[str] = []
    for row in report.rows:
        versions = ", ".join(f"`{wanted}`" for wanted in row.requirements)
        said = "; ".join(part for part in (versions, row.about) if part)
        lines.append(f"- {row.title.partition(',')[0]}: {said}")
    return "\n".join(["Versions and settings:", "", *dict.fromkeys(lines)])


def table(lines: Sequence[tuple[str, ...]]) -> str:
    """Write a table; its first line is the head."""
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])
