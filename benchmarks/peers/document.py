"""The report, for a page: Markdown, with a chart beside it as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.peers.catalogue import OURS
from benchmarks.peers.summary import FIGURES, Report, Row, is_library
from benchmarks.peers.table import ahead, figures, promises, targets
from benchmarks.report import number

CHARTS = ("one_by_one", "submitters_100", "batch", "layered")
_WIDTH, _BAR, _LABEL, _NUMBER, _TITLE = 720, 18, 210, 90, 30


def write(report: Report, path: Path) -> None:
    """Write the page, and the chart beside it, named as the page is."""
    chart = path.with_suffix(".svg")
    path.write_text(markdown(report, chart.name), encoding="utf-8")
    chart.write_text(svg(report), encoding="utf-8")


def markdown(report: Report, chart: str) -> str:
    """Tables of figures, promises and targets; where another library wins; versions and settings."""
    machine = report.machine
    winners = ahead(report)
    parts = [
        f"Measured on {report.date}: {machine.system}, {machine.cores} cores, Python {machine.python}, SQLite "
        f"{machine.sqlite}, revision {machine.revision}; medians of {report.rounds} interleaved rounds"
        f"{' with few jobs: rough' if report.quick else ''}.",
        f"![Jobs a second, by library]({chart})",
        *("\n".join(_table(table)) for table in (figures(report), promises(report))),
        "Where another library is ahead:\n\n" + "\n".join(f"- {line}" for line in winners)
        if winners
        else "In none of these another library is ahead.",
        "\n".join(_table(targets(report))),
        "\n".join(_settings(report.rows)),
    ]
    return "\n\n".join(parts) + "\n"


def _table(table: Sequence[tuple[str, ...]]) -> list[str]:
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return [rows[0], "|" + "---|" * len(table[0]), *rows[1:]]


def _settings(rows: Sequence[Row]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        versions = ", ".join(f"`{wanted}`" for wanted in row.requirements)
        said = "; ".join(part for part in (versions, row.about) if part)
        lines.append(f"- {row.title.partition(',')[0]}: {said}")
    return ["Versions and settings:", "", *dict.fromkeys(lines)]


def svg(report: Report) -> str:
    """Bars, a block for each of a few figures, the longest first; asyncjobs in another colour than the others."""
    parts: list[str] = []
    top = 0
    for figure in CHARTS:
        rows = [row for row in report.rows if row.cells[figure].median and _shown(row)]
        if not rows:
            continue
        rows.sort(key=lambda row: -(row.cells[figure].median or 0))
        parts += _block(figure, rows, top)
        top += _TITLE + _BAR * len(rows) + 12
    body = "\n".join(parts)
    style = "text{font:12px sans-serif;fill:#444}.title{font-weight:bold}.ours{fill:#0b7285}.other{fill:#adb5bd}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {max(top, 1)}" role="img">\n'
        f"<title>Jobs a second, by library</title>\n<style>{style}</style>\n{body}\n</svg>\n"
    )


def _shown(row: Row) -> bool:
    return is_library(row) or row.name.startswith(f"{OURS} ")


def _block(figure: str, rows: Sequence[Row], top: int) -> list[str]:
    title, unit, _ = FIGURES[figure]
    longest = max(row.cells[figure].median or 0 for row in rows)
    parts = [f'<text class="title" x="0" y="{top + 18}">{escape(title)}, {escape(unit)}</text>']
    for i, row in enumerate(rows):
        value = row.cells[figure].median or 0
        y = top + _TITLE + _BAR * i
        width = (_WIDTH - _LABEL - _NUMBER) * value / longest
        kind = "other" if is_library(row) else "ours"
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row.title)}</text>',
            f'<rect class="{kind}" x="{_LABEL}" y="{y + 2}" width="{max(width, 1):.1f}" height="{_BAR - 5}"/>',
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 12}">{number(value)}</text>',
        ]
    return parts
