"""The parts of ``explanation/performance.md`` that are drawn from ``docs/figures``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from msgspec import json

from benchmarks import account, choices, scenario_targets
from benchmarks.long import __main__ as long_run
from benchmarks.long import report as long_report
from benchmarks.peers import __main__ as peers
from benchmarks.peers import document
from benchmarks.peers.summary import Report


@cache
def _peers() -> Report:
    return json.decode(peers.FIGURES.read_bytes(), type=Report)


@cache
def _account() -> account.Accounts:
    return json.decode(account.FIGURES.read_bytes(), type=account.Accounts)


@cache
def _choices() -> choices.Choices:
    return json.decode(choices.FIGURES.read_bytes(), type=choices.Choices)


@cache
def _targets() -> scenario_targets.Kept:
    return json.decode(scenario_targets.FIGURES.read_bytes(), type=scenario_targets.Kept)


def _measured(name: str) -> str:
    return document.measured(_peers(), name, f"performance-{name}.svg")


def _chart(name: str) -> str:
    return document.chart(_peers(), name)


def _of_peers(part: Callable[[Report], str]) -> Callable[[], str]:
    return lambda: part(_peers())


def counted() -> str:
    """Draw what a job is made of."""
    found = _account()
    one_by_one = next(one for one in found.shapes if one.shape == "one by one")
    page = f"{one_by_one.page_size // 1024} KB"
    parts = [
        f"Counted on {found.date} by `python -m benchmarks.account`, on {document.described(found.machine)}. Pages are "
        f"of {page}.",
        *([document.rough()] if found.quick else []),
        document.table(account.counts(found.shapes)),
        document.table(account.times(found.shapes)),
        "Of one by one, statement by statement:",
        document.table(account.statements(one_by_one)),
        "The most that a job may take:",
        document.table(account.limits(found.shapes)),
    ]
    return "\n\n".join(parts)


def chosen() -> str:
    """Draw what a user can choose."""
    found = _choices()
    pairs = "one pair" if found.pairs == 1 else f"medians of {found.pairs} pairs"
    ways = ", ".join(f"{choices.SHOWN[name]} {ratio:.1f} ×" for name, ratio in found.ways.items())
    parts = [
        f"Measured on {found.date} by `python -m benchmarks.choices`: {pairs}, on {document.described(found.machine)}. "
        "Of rates, more than 1 is better; of the round trip, less.",
        *([document.rough()] if found.quick else []),
        document.table(choices.table(found)),
        f"The rate of other ways to submit, divided by that of one by one: {ways}.",
    ]
    return "\n\n".join(parts)


def aimed_at() -> str:
    """Draw the targets of ``make bench``."""
    found = _targets()
    parts = [
        f"Measured on {found.date} by `make bench`, on {document.described(found.machine)}.",
        *([document.rough()] if found.quick else []),
        document.table(scenario_targets.table(found)),
    ]
    return "\n\n".join(parts)


def long() -> str:
    """Draw what was measured over a long time, once it was."""
    if not long_run.FIGURES.exists():
        return "No figures are kept of such a run: `make bench-long ARGS=--docs` measures them."
    found = json.decode(long_run.FIGURES.read_bytes(), type=long_report.Report)
    return long_report.markdown(found).strip().replace("\n## ", "\n### ")


PARTS: dict[str, Callable[[], str]] = {
    "origin": _of_peers(document.origin),
    **{name: partial(_measured, name) for name in document.CHARTS},
    "promises": _of_peers(document.promised),
    "ahead": _of_peers(document.winners),
    "limits": _of_peers(document.limited),
    "targets beside others": _of_peers(document.aimed_at),
    "targets": aimed_at,
    "missing": _of_peers(document.missing),
    "settings": _of_peers(document.settings),
    "account": counted,
    "long": long,
    "choices": chosen,
}
"""By the name that stands in the page, what draws it."""
CHARTS: dict[str, Callable[[], str]] = {f"performance-{name}.svg": partial(_chart, name) for name in document.CHARTS}
"""By file name."""
