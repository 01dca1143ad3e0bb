"""The scenarios and their targets: what is named is there, what is compared, and where the rest is measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import json

from benchmarks.before import environment
from benchmarks.machine import ROOT, Machine
from benchmarks.report import Report, Taken, summarize, text
from benchmarks.result import Result, higher, lower
from benchmarks.scale_targets import BEFORE, BEFORE_TARGETS, LONG_TARGETS, SCALE_TARGETS
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import PEER_TARGETS, TARGETS, Target
from benchmarks.yardstick import VARIANTS

MACHINE = Machine("Linux x86_64", 2, "3.11.7", "3.40.1", (0.1, 0.2, 0.3), "abc")
ALL: Sequence[Target] = (*TARGETS, *BEFORE_TARGETS, *SCALE_TARGETS)


def report(*runs: Taken, whole: bool = False) -> Report:
    beside = {name: entry.beside for name, entry in SCENARIOS.items()}
    return summarize(MACHINE, runs, beside, quick=False, repeat=2, whole=whole)


def taken(turn: int, scenario: str, *, before: bool = False, yardstick: bool = False, **figures: float) -> Taken:
    found = tuple(higher(name, value, "jobs/s") for name, value in figures.items())
    return Taken(turn, scenario, yardstick, 1.0, 0.5, found, before=before)


# -- targets


def test_each_target_is_of_a_scenario_and_its_aim_lies_beyond_its_must() -> None:
    for target in ALL:
        assert target.figure.partition(".")[0] in SCENARIOS
        assert target.over in (None, BEFORE) or target.over.partition(".")[0] in VARIANTS
        if target.must is not None and target.aim is not None:
            assert (target.must < target.aim) == (target.better == "higher"), target


def test_no_two_targets_are_about_the_same() -> None:
    about = [(target.figure, target.over, target.better) for target in ALL]
    assert len(set(about)) == len(about)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["values", "queries", "drain", "stalls-large"])
def test_a_scenario_measures_all_that_has_targets(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks.child", name, "--quick"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    figures = {f"{name}.{figure.name}" for figure in json.decode(done.stdout.splitlines()[-1], type=Result).figures}
    assert {target.figure for target in ALL if target.figure.startswith(f"{name}.")} <= figures


# -- beside the checkout before


def test_a_figure_is_divided_by_that_of_the_same_turn_before() -> None:
    made = report(
        taken(0, "throughput", one_by_one=400, batch=10),
        taken(0, "throughput", before=True, one_by_one=100, batch=10),
        taken(1, "throughput", one_by_one=9_000),
        taken(1, "throughput", before=True, one_by_one=3_000),
    )
    (ratio,) = (found for found in made.ratios if found.figure == "throughput.one_by_one")
    assert (ratio.over, ratio.values, ratio.median) == (BEFORE, (4.0, 3.0), 3.5)
    assert {row.name: row.values for row in made.rows}["throughput.one_by_one"] == (400, 9_000)
    verdicts = {verdict.target.what: verdict for verdict in made.verdicts}
    judged = verdicts["one by one ÷ before"]
    assert (judged.value, judged.must, judged.aim) == (3.5, True, True)
    assert re.search(r"^throughput\.one_by_one +4,700 .* 3\.50 before$", text(made), re.MULTILINE)


def test_the_package_of_another_checkout_is_the_one_that_is_imported(tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    (other / "asyncjobs").mkdir(parents=True)
    (other / "benchmarks").mkdir()
    for package in ("asyncjobs", "benchmarks"):
        (other / package / "__init__.py").touch()
    program = "import asyncjobs, benchmarks; print(asyncjobs.__file__, benchmarks.__file__, sep='\\n')"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], check=True)"
    with environment(other) as around:
        done = subprocess.run(
            [sys.executable, "-c", inner], cwd=ROOT, env=around, capture_output=True, text=True, check=True
        )
    package, harness = map(Path, done.stdout.split())
    assert not package.is_relative_to(ROOT / "asyncjobs")
    assert harness.is_relative_to(ROOT)


def test_without_another_checkout_nothing_is_different() -> None:
    with environment(None) as around:
        assert around == os.environ


# -- what is shown


def test_all_targets_are_shown_if_everything_was_run_each_with_a_verdict_or_where_it_is_measured() -> None:
    shown = text(report(taken(0, "threads", times_ideal=1.2), whole=True))
    for target in (*ALL, *LONG_TARGETS, *PEER_TARGETS):
        assert re.search(rf"^{target.number} +{re.escape(target.what)}  ", shown, re.MULTILINE), target.what
    assert re.search(
        r"200 × 20 ms in 32 threads, times ideal +1\.20 × +≤ 1\.30 +met +≤ 1\.10 +NOT MET$", shown, re.MULTILINE
    )
    assert re.search(r"one by one ÷ before +not measured here: --before PATH", shown)
    assert re.search(r"100 submitters ÷ yardstick +not measured here: --ceiling PATH", shown)
    assert re.search(r"one by one ÷ huey +not measured here: make bench-peers +≥ 3\.30 +≥ 4\.00$", shown, re.MULTILINE)
    assert re.search(r"start beside all ÷ beside 100,000 +not measured here: make bench-long", shown)
    assert re.search(r"a crew of .* +not measured here: make bench-crewai", shown)


def test_of_a_few_scenarios_only_their_targets_are_shown() -> None:
    run = Taken(0, "stalls", False, 1.0, 0.5, (lower("submitters_max", 60, "ms"),))
    shown = text(report(run))
    assert re.search(r"^T18 +loop lag, max: submitters +60\.0 ms +≤ 50\.0 +NOT MET", shown, re.MULTILINE)
    assert re.search(r"^T18 +commit on the loop, longest +not measured here +≤ 25\.0", shown, re.MULTILINE)
    assert "huey" not in shown
    assert "T17" not in shown
