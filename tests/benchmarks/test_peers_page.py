"""What the documentation shows of a comparison: parts of a page, and charts for light and dark, for eyes and ears."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from msgspec import json
from msgspec.structs import replace

from benchmarks.machine import Machine
from benchmarks.peers import __main__ as command
from benchmarks.peers import document, summary
from benchmarks.peers.catalogue import entries, limits, ours
from benchmarks.peers.charts import KINDS
from benchmarks.peers.harness import SCENARIOS
from benchmarks.peers.running import Line, Taken
from benchmarks.peers.summary import Report, judged_again, summarize

MACHINE = Machine("Linux x86_64", 2, "3.11.7", "3.40.1", (0.1, 0.2, 0.3), "abc", "a processor")
SVG = "{http://www.w3.org/2000/svg}"


def taken(entry: str, scenario: str, number: int = 0, **figures: float) -> Taken:
    return Taken(number, entry, Line(scenario, 100, figures), 0.5 + number)


RUNS = [
    taken("asyncjobs NORMAL", "one_by_one", one_by_one=4_000),
    taken("asyncjobs FULL", "one_by_one", one_by_one=1_500),
    taken("huey", "one_by_one", one_by_one=2_000),
    taken("saq", "one_by_one", one_by_one=3_000),
    taken("limits sqlite3 NORMAL", "one_by_one", one_by_one=16_000),
    taken("limits asyncio", "one_by_one", one_by_one=99_000),
    taken("asyncjobs NORMAL", "rounds", p50=0.5, p99=1.0),
    taken("limits sqlite3 NORMAL", "rounds", p50=0.1, p99=0.2),
]


def report(runs: Sequence[Taken] = RUNS, *, quick: bool = False) -> Report:
    return summarize(MACHINE, "2026-01-02", [*limits(), *ours(), *entries()], runs, {}, quick=quick)


# -- where figures come from


def test_machine_versions_date_revision_and_command_are_told() -> None:
    said = document.origin(report([taken("huey", "one_by_one", number, one_by_one=1) for number in range(5)]))
    assert said == (
        "Measured on 2026-01-02 by `make bench-peers`: medians of 5 interleaved rounds, on Linux x86_64, 2 cores of a "
        "processor, Python 3.11.7, SQLite 3.40.1, revision abc; load 0.5 to 4.5."
    )


def test_what_is_rough_is_called_so() -> None:
    assert ":::{warning}" in document.origin(report(quick=True))
    assert "`make bench-peers QUICK=1`" in document.origin(report(quick=True))
    assert "fewer than 5 rounds" in document.origin(report()), "of a single round"


def test_a_page_needs_no_single_runs() -> None:
    whole = report()
    kept = json.decode(json.encode(replace(whole, runs=())), type=Report)
    assert document.markdown(kept, "page") == document.markdown(whole, "page")


def test_what_is_incomplete_is_not_kept_for_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(runs: Sequence[Taken]) -> Result:
        saved.write_bytes(json.encode(report(runs)))
        return CliRunner().invoke(command.main, ["--from", str(saved), "--docs"])

    saved, kept = tmp_path / "saved.json", tmp_path / "kept.json"
    monkeypatch.setattr(command, "FIGURES", kept)
    refused = keep(RUNS)
    assert refused.exit_code == 1
    assert "not kept for the page, because not all was measured: limit, sqlite3 NORMAL, " in refused.output
    assert not kept.exists()
    everything = [
        Taken(0, entry.name, Line(scenario, cannot="no such thing"), 0.5)
        for entry in (*limits(), *ours(), *entries())
        for scenario in SCENARIOS
    ]
    assert keep(everything).exit_code == 0
    assert json.decode(kept.read_bytes(), type=Report).runs == []


# -- the parts


def test_who_is_faster_is_told_at_all_and_among_those_that_sync() -> None:
    assert document.winners(report()) == (
        "None of these is faster than asyncjobs with either setting.\n\n"
        "Faster than asyncjobs with `FULL`, all of them synced:\n\n- one by one: huey (2,000 jobs/s)"
    )


def test_a_figure_stands_beside_its_limit() -> None:
    rows = [line.split(" | ") for line in document.limited(report()).splitlines()]
    assert rows[0][0] == "| figure"
    assert rows[2] == ["| one by one, jobs/s", "4,000", "16,000", "25 %", "1,500", "–", "–", "99,000 |"]
    assert rows[6][:4] == ["| round trip p50, ms", "0.50", "0.10", "20 %"]


def test_our_rows_are_bold_and_limits_are_not_among_libraries() -> None:
    shown = document.measured(report(), "rates", "chart.svg")
    assert "| **asyncjobs, NORMAL** | **4,000** |" in shown
    assert "sqlite3" not in shown


def test_how_durable_a_job_is_depends_on_the_setting() -> None:
    rows = dict(re.findall(r"^\| (asyncjobs, \w+) \| ([^|]+) \|", document.promised(report()), re.MULTILINE))
    assert rows == {"asyncjobs, NORMAL": "each commit, not synced", "asyncjobs, FULL": "synced"}


def test_saved_figures_are_judged_by_the_targets_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = report()
    assert "| T4 | one by one ÷ huey | 2.00 × | ≥ 3.30 | NOT MET | ≥ 4.00 | NOT MET |" in document.aimed_at(saved)
    easier = [replace(target, must=1.5) if target.figure == "one_by_one" else target for target in summary.PEER_TARGETS]
    monkeypatch.setattr(summary, "PEER_TARGETS", [*easier, replace(easier[0], figure="fan")])
    assert "| T4 | one by one ÷ huey | 2.00 × | ≥ 1.50 | met | ≥ 4.00 | NOT MET |" in document.aimed_at(saved)
    assert judged_again(saved.verdicts)[-1].value is None, "a target that is new was not measured"


# -- charts


@pytest.mark.parametrize("name", document.CHARTS)
def test_a_chart_says_in_words_what_it_draws(name: str) -> None:
    chart = ElementTree.fromstring(document.chart(report(), name))
    words = {chart.find(f"{SVG}title"): "title", chart.find(f"{SVG}desc"): "words"}
    assert [element.get("id") for element in words if element is not None] == list(words.values())
    assert (chart.get("role"), chart.get("aria-labelledby")) == ("img", "title words")
    description = chart.findtext(f"{SVG}desc") or ""
    drawn = {text.text for text in chart.iter(f"{SVG}text") if text.get("class") == "label"}
    assert all(label in description for label in drawn if label)


def test_bars_are_as_long_as_their_figures_and_the_best_is_first() -> None:
    chart = ElementTree.fromstring(document.chart(report(), "rates"))
    bars = [bar for bar in chart.iter(f"{SVG}rect") if bar.get("x") == "220"]
    assert [bar.get("class") for bar in bars] == ["ours", "other", "synced", "ours"]
    assert [round(4_000 * float(bar.get("width", "")) / float(bars[0].get("width", ""))) for bar in bars] == [
        4_000, 3_000, 2_000, 1_500,
    ]  # fmt: skip


def test_bars_of_durations_are_logarithmic_and_say_so() -> None:
    """Else a second would leave nothing to be seen of a millisecond."""
    runs = [taken(name, "rounds", p50=p50, p99=p50) for name, p50 in (("huey", 1.0), ("saq", 10), ("celery", 100))]
    chart = ElementTree.fromstring(document.chart(report(runs), "round-trips"))
    widths = [float(bar.get("width", "")) for bar in chart.iter(f"{SVG}rect") if bar.get("x") == "220"]
    assert widths[0] > 0
    assert widths[2] - widths[1] == pytest.approx(widths[1] - widths[0], abs=0.2)
    assert "logarithmic" in "".join(text.text or "" for text in chart.iter(f"{SVG}text"))


def brightness(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_and_text_stand_out_on_light_and_dark(scheme: str) -> None:
    """As WCAG wants it: text 4.5 to 1, what is drawn 3 to 1; pale bars have an edge."""
    drawn = document.chart(report(), "rates")
    schemes = [dict(re.findall(r"--(\w+): (#\w{6});", line)) for line in drawn.splitlines() if "--ink: " in line]
    colours = dict(zip(("light", "dark"), schemes, strict=True))[scheme]
    assert "@media (prefers-color-scheme: dark)" in drawn
    assert set(KINDS) < set(colours)

    def contrast(one: str) -> float:
        lower, higher = sorted(brightness(colours[name]) for name in (one, "sheet"))
        return (higher + 0.05) / (lower + 0.05)

    assert contrast("ink") >= 4.5
    assert min(map(contrast, ("ours", "synced", "edge"))) >= 3
