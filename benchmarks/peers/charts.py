"""Bars for a page, as SVG: readable on light and dark pages, and by those who hear it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from benchmarks.peers.summary import FIGURES, Report, Row, is_library, is_limit, is_ours, is_synced
from benchmarks.report import number

_WIDTH, _BAR, _LABEL, _NUMBER, _TITLE, _MARGIN = 760, 20, 220, 70, 34, 14
KINDS = {"ours": "asyncjobs", "synced": "another, each commit synced", "other": "another, not synced or in memory"}
"""What the colours mean. Bars of the last kind also have a dashed edge."""
_STYLE = """\
svg {
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  --ink: #1f2328; --sheet: #ffffff; --ours: #0b6e99; --synced: #6e7781; --other: #d0d7de; --edge: #6e7781;
}
@media (prefers-color-scheme: dark) {
  svg { --ink: #ece8df; --sheet: #131416; --ours: #4cb3dc; --synced: #8b949e; --other: #30363d; --edge: #8b949e; }
}
.sheet { fill: var(--sheet); }
text { fill: var(--ink); }
.title { font-weight: 600; }
.label { text-anchor: end; }
.ours { fill: var(--ours); }
.synced { fill: var(--synced); }
.other { fill: var(--other); stroke: var(--edge); stroke-dasharray: 3 2; }"""


def svg(report: Report, title: str, figures: Sequence[str]) -> str:
    """Draw a block of bars for each figure, the best first. What has no figure has no bar."""
    parts: list[str] = []
    top = _MARGIN
    for figure in figures:
        if rows := ranked(report, figure):
            parts += _block(figure, rows, top)
            top += _TITLE + _BAR * len(rows) + _MARGIN
    parts += _legend(top)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 30}" role="img" '
            'aria-labelledby="title words">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="words">{escape(words(report, figures))}</desc>',
            f"<style>\n{_STYLE}\n</style>",
            f'<rect class="sheet" width="{_WIDTH}" height="{top + 30}"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def ranked(report: Report, figure: str) -> list[Row]:
    """Return the libraries that have a figure, the best first."""
    better = FIGURES[figure][2]
    rows = [row for row in report.rows if row.cells[figure].median and not is_limit(row)]
    return sorted(rows, key=lambda row: row.cells[figure].median or 0, reverse=better == "higher")


def words(report: Report, figures: Sequence[str]) -> str:
    """Say what is drawn."""
    said: list[str] = []
    for figure in figures:
        title, unit, _ = FIGURES[figure]
        bars = ", ".join(f"{row.title} {number(row.cells[figure].median or 0)}" for row in ranked(report, figure))
        said.append(f"{title}, {unit}: {bars or 'nothing measured'}.")
    return " ".join(said)


def _block(figure: str, rows: Sequence[Row], top: int) -> list[str]:
    title, unit, better = FIGURES[figure]
    shares = _shares([row.cells[figure].median or 0 for row in rows], logarithmic=better == "lower")
    scale = "; logarithmic" if better == "lower" else ""
    head = escape(f"{title}, {unit}: {better} is better{scale}")
    parts = [f'<text class="title" x="{_MARGIN}" y="{top + 18}">{head}</text>']
    for i, (row, share) in enumerate(zip(rows, shares, strict=True)):
        value = row.cells[figure].median or 0
        y = top + _TITLE + _BAR * i
        width = max(1.0, (_WIDTH - _LABEL - _NUMBER - _MARGIN) * share)
        parts += [
            f'<text class="label" x="{_LABEL - 8}" y="{y + 12}">{escape(row.title)}</text>',
            f'<rect class="{_kind(row)}" x="{_LABEL}" y="{y + 1}" width="{width:.1f}" height="{_BAR - 6}"/>',
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 12}">{number(value)}</text>',
        ]
    return parts


def _shares(values: Sequence[float], *, logarithmic: bool) -> list[float]:
    """The length of each bar, as a share of the longest. Durations differ too much for bars that are proportional."""
    if not logarithmic:
        return [value / max(values) for value in values]
    least = 10 ** (math.floor(math.log10(min(values))) - 0.1)
    return [math.log(value / least) / math.log(max(values) / least) for value in values]


def _kind(row: Row) -> str:
    return "ours" if is_ours(row) else "synced" if is_library(row) and is_synced(row) else "other"


def _legend(top: int) -> list[str]:
    parts: list[str] = []
    for i, (kind, meaning) in enumerate(KINDS.items()):
        x = _MARGIN + (0, 120, 350)[i]
        parts += [
            f'<rect class="{kind}" x="{x}" y="{top + 4}" width="14" height="14"/>',
            f'<text x="{x + 20}" y="{top + 16}">{meaning}</text>',
        ]
    return parts
