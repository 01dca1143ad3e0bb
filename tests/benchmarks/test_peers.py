"""The comparison with other libraries, without any of them: what is read of their programs, judged, and shown."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import select
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from msgspec import json

from benchmarks.machine import ROOT, Machine
from benchmarks.peers import __main__ as command
from benchmarks.peers import harness, limits, rounds, running, servers
from benchmarks.peers.catalogue import PEERS, entries, ours
from benchmarks.peers.catalogue import limits as limit_entries
from benchmarks.peers.document import CHARTS, markdown
from benchmarks.peers.environments import NotInstalledError
from benchmarks.peers.harness import Budget, CannotDoError, measure
from benchmarks.peers.running import Line, Settings, Taken, parse
from benchmarks.peers.summary import FIGURES, Report, judge, summarize, wins
from benchmarks.peers.table import text
from benchmarks.shapes import chain, fan, layered, layers_of
from benchmarks.targets import PEER_TARGETS

ADAPTERS = ROOT / "benchmarks" / "peers" / "adapters"
MACHINE = Machine("Linux x86_64", 2, "3.11.7", "3.40.1", (0.1, 0.2, 0.3), "abc")


def taken(number: int, entry: str, scenario: str, **figures: float) -> Taken:
    return Taken(number, entry, Line(scenario, 100, figures), 0.5)


def report(runs: Sequence[Taken]) -> Report:
    return summarize(MACHINE, "2026-01-02", [*limit_entries(), *ours(), *entries()], runs, {}, quick=False)


# -- what is read


def test_a_line_of_a_program_is_read() -> None:
    said = b'{"scenario": "batch", "jobs": 9, "figures": {"batch": 12.5, "batch_stored": 40}}'
    assert parse(said) == Line("batch", 9, {"batch": 12.5, "batch_stored": 40.0})
    assert parse(b'{"scenario": "fan", "cannot": "no graph of jobs"}').cannot == "no graph of jobs"
    assert parse(b'{"scenario": "fan", "failed": "TimeoutError: "}').failed == "TimeoutError: "


@pytest.mark.parametrize("said", [b"Starting worker", b"[]", b'{"scenario": 1}', b"\xff"])
def test_what_is_no_line_is_a_failure(said: bytes) -> None:
    assert parse(said).failed.startswith("said something else")


# -- a library's process


def program(folder: Path, body: str) -> str:
    """A stand-in for the Python of an environment: a shell script, which is given the arguments of the program."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return str(script)


def take(folder: Path, body: str, *scenarios: str, longest: float = 30, longest_of_all: float = 60) -> list[Line]:
    settings = Settings(1.0, 0.1, scenarios, longest, longest_of_all)
    return list(running.take(entries()[0], program(folder, body), "", settings, folder / "log"))


def test_a_program_that_says_all_is_taken_as_it_says(tmp_path: Path) -> None:
    body = 'printf \'{"scenario": "%s", "jobs": 3}\\n\' $6 $7'
    assert take(tmp_path, body, "chain", "fan") == [Line("chain", 3), Line("fan", 3)]


def test_one_that_does_not_start_fails_in_everything_with_the_last_it_said(tmp_path: Path) -> None:
    lines = take(tmp_path, "echo 'ImportError: no such thing' >&2; exit 1", "chain", "fan")
    assert [(line.scenario, line.failed) for line in lines] == [
        ("chain", "ImportError: no such thing"),
        ("fan", "ImportError: no such thing"),
    ]


def test_after_one_that_breaks_half_way_the_rest_is_run_by_another_process(tmp_path: Path) -> None:
    body = f"""
    if [ -e {tmp_path}/again ]; then echo '{{"scenario": "fan", "jobs": 7}}'; exit; fi
    touch {tmp_path}/again
    echo '{{"scenario": "chain", "jobs": 3}}'; echo broken >&2; exit 1"""
    lines = take(tmp_path, body, "chain", "layered", "fan")
    assert lines == [Line("chain", 3), Line("layered", failed="broken"), Line("fan", 7)]


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    body = f'sleep 600 & echo $! >{tmp_path}/child; echo \'{{"scenario": "chain"}}\'; wait'
    assert take(tmp_path, body, "chain", "fan", longest=0.5, longest_of_all=0.1) == [
        Line("chain"),
        Line("fan", failed="took longer than 0 s"),
    ]
    with suppress(ProcessLookupError):
        child = os.pidfd_open(int((tmp_path / "child").read_text()))
        assert select.select([child], [], [], 10)[0], "what it had started still runs"
        os.close(child)


def test_the_start_of_a_library_has_more_time(tmp_path: Path) -> None:
    settings = Settings(1.0, 0.1, ("chain",), longest=0.0, longest_of_all=60, starting=30)
    body = """echo '{"scenario": "chain", "jobs": 3}'"""
    lines = list(running.take(entries()[0], program(tmp_path, body), "", settings, tmp_path / "log"))
    assert lines == [Line("chain", 3)]


def test_nothing_is_begun_when_no_time_is_left(tmp_path: Path) -> None:
    assert take(tmp_path, "exit 1", "chain", longest_of_all=0) == [Line("chain", failed="no time was left")]


# -- the work


class InMemory(harness.Adapter):
    """A library that runs jobs as they are submitted, and has no batches."""

    def __init__(self) -> None:
        self.jobs = 0

    async def submit(self, value: int) -> Any:
        self.jobs += 1
        return asyncio.create_task(asyncio.sleep(0, value))

    async def result(self, handle: Any) -> object:
        return await handle


class Threads(harness.BlockingAdapter):
    def __init__(self) -> None:
        self.lost = False

    def submit_now(self, value: int) -> Any:
        return value

    def result_now(self, handle: Any) -> object:
        if self.lost and handle < 5:
            raise TimeoutError("it is not there")
        return handle


@pytest.mark.parametrize("adapter", [InMemory(), Threads()], ids=["async", "threads"])
def test_the_same_work_is_done_and_measured(adapter: harness.Adapter) -> None:
    async def all_of_it() -> dict[str, harness.Measured]:
        budget = Budget(0.05, 0.1)
        return {name: await measure(adapter, name, budget) for name in ("one_by_one", "submitters_100", "rounds")}

    found = asyncio.run(all_of_it())
    assert set(found["one_by_one"].figures) == {"one_by_one", "one_by_one_stored"}
    assert set(found["submitters_100"].figures) == {"submitters_100"}
    assert 0 < found["rounds"].figures["p50"] <= found["rounds"].figures["p99"]
    assert found["one_by_one"].jobs <= 300


@pytest.mark.parametrize("scenario", ["batch", "chain"])
def test_what_a_library_cannot_do_it_says(scenario: str) -> None:
    with pytest.raises(CannotDoError):
        asyncio.run(measure(InMemory(), scenario, Budget(0.05, 0.1)))


def test_jobs_that_are_lost_are_no_figure() -> None:
    adapter = Threads()
    adapter.lost = True
    with pytest.raises(TimeoutError):
        asyncio.run(measure(adapter, "one_by_one", Budget(10, 0.1)))


def test_how_fast_jobs_are_stored_is_no_figure_where_nothing_waits_for_that() -> None:
    class Sends(Threads):
        stores = False

    assert set(asyncio.run(measure(Sends(), "one_by_one", Budget(0.05, 0.1))).figures) == {"one_by_one"}
    rows = {row.name: row for row in report([taken(0, "dask", "batch", batch=900)]).rows}
    assert rows["dask"].cells["batch_stored"].why == "cannot: a submit does not wait until it is stored"


def test_slow_libraries_get_fewer_jobs() -> None:
    budget = Budget(2, 1)
    assert budget.next_size(50, took=1.5, full=3_000) == 50
    assert budget.next_size(50, took=1.0, full=3_000) == 150
    assert budget.next_size(50, took=0.01, full=3_000) == 400
    assert budget.next_size(2_000, took=0.5, full=3_000) == 3_000
    assert budget.next_size(3_000, took=0.5, full=3_000) == 3_000


def test_layers_are_those_of_the_longest_way() -> None:
    assert [len(layer) for layer in layers_of(layered(10, 5, 3))] == [5] * 10
    assert [len(layer) for layer in layers_of(chain(4))] == [1, 1, 1, 1]
    assert [len(layer) for layer in layers_of(fan(7))] == [1, 7, 1]
    assert list(layers_of([[], [0], [0, 1]])) == [[0], [1], [2]]


# -- limits


def test_the_limit_writes_the_very_rows_of_asyncjobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits._SHAPES, "chain", lambda: chain(5))
    measured = limits._by_sqlite("chain", tmp_path, "FULL")
    assert measured.figures["chain"] > 0
    found: list[list[tuple[object, ...]]] = []
    for name in ("jobs.db", "limit.db"):
        with sqlite3.connect(tmp_path / name) as connection:
            found.append(
                {
                    table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                    for table in limits.find_owners(connection)
                }
            )
        connection.close()
    assert found[0] == found[1]
    jobs, edges, events = (found[0][table] for table in ("jobs", "edges", "events"))
    assert (len(edges), len(events)) == (4, 3 * len(jobs))


def test_no_table_with_rows_of_jobs_is_left_out_of_the_limit(tmp_path: Path) -> None:
    """What has a row of each job, at least, is written by the limit, too."""
    asyncio.run(limits._write(tmp_path, chain(5)))
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        jobs = len(limits._rows(connection))
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
        written = limits.find_owners(connection)
    connection.close()
    assert {table for table, count in counts.items() if count >= jobs - 1 > 5} <= written.keys()


@pytest.mark.parametrize("scenario", [name for name in harness.SCENARIOS if name != "fan"])
def test_asyncio_alone_runs_the_same_work(scenario: str) -> None:
    assert all(value > 0 for value in asyncio.run(limits._by_asyncio(scenario)).figures.values())


# -- what it comes to

RUNS = [
    *(taken(n, "asyncjobs NORMAL", "one_by_one", one_by_one=value) for n, value in enumerate((400, 4_000, 100_000))),
    *(taken(n, "huey", "one_by_one", one_by_one=value) for n, value in enumerate((100, 1_000, 20_000))),
    taken(0, "asyncjobs FULL", "rounds", p50=1.2, p99=3.0),
    taken(0, "huey", "rounds", p50=1.0, p99=2.0),
    taken(0, "asyncjobs NORMAL", "batch", batch=10_000, batch_stored=40_000),
    taken(0, "flexiq default", "batch", batch=100, batch_stored=50_000),
    taken(0, "flexiq tuned", "batch", batch=1_000, batch_stored=45_000),
    Taken(0, "saq", Line("batch", cannot="no call stores many jobs"), 0.5),
    Taken(0, "saq", Line("one_by_one", failed="pip: no such version"), 0.5),
]


def test_a_ratio_is_taken_within_each_round_and_the_median_of_them_is_judged() -> None:
    by_what = {verdict.target.what: verdict for verdict in judge(RUNS)}
    one_by_one = by_what["one by one ÷ huey"]
    assert (one_by_one.value, one_by_one.must, one_by_one.aim) == (4.0, True, True)
    rounds_full = by_what["round trip p50, FULL ÷ huey"]
    assert (rounds_full.value, rounds_full.must, rounds_full.aim) == (1.2, True, False)
    assert by_what["layered ÷ the better of Dask and streaQ"].value is None


def test_a_target_is_against_the_best_of_several() -> None:
    by_what = {verdict.target.what: verdict for verdict in judge(RUNS)}
    assert by_what["batch ÷ flexiq"].value == 10
    assert by_what["batch stored ÷ flexiq"].value == pytest.approx(40_000 / 50_000)
    assert by_what["batch stored ÷ flexiq"].must is False
    best_of_any_kind = judge(
        [
            taken(0, "asyncjobs NORMAL", "submitters_100", submitters_100=9_000),
            taken(0, "huey", "submitters_100", submitters_100=500),
            taken(0, "huey", "one_by_one", one_by_one=1_000),
        ]
    )
    values = {verdict.target.number: verdict.value for verdict in best_of_any_kind if verdict.value is not None}
    assert values == {"T1": 9.0}


def test_several_turns_in_a_round_count_as_one() -> None:
    turns = [taken(0, "asyncjobs NORMAL", "chain", chain=value) for value in (100, 500, 9_000)]
    verdicts = judge([*turns, taken(0, "streaq", "chain", chain=100)])
    assert [verdict.value for verdict in verdicts if verdict.target.number == "T10"] == [5.0]


def test_targets_name_what_is_measured() -> None:
    names = {entry.name for entry in (*entries(), *ours())}
    for target in PEER_TARGETS:
        assert {*target.peers, f"asyncjobs {target.synchronous}"} <= names
        assert {target.figure, *target.against} <= set(FIGURES)
        assert FIGURES[target.figure][2] == target.better
        assert (target.must < target.aim) == (target.better == "higher")


def test_a_row_has_the_medians_or_says_why_not() -> None:
    rows = {row.name: row for row in report(RUNS).rows}
    assert rows["huey"].cells["one_by_one"].median == 1_000
    assert rows["huey"].cells["one_by_one"].values == (100, 1_000, 20_000)
    assert rows["saq"].cells["batch"].why == "cannot: no call stores many jobs"
    assert rows["saq"].cells["one_by_one"].why == "failed: pip: no such version"
    assert rows["celery"].cells["fan"].why == "not measured"


def test_who_is_ahead_is_named_in_each_way_of_being_better() -> None:
    made = report(RUNS)
    assert [row.name for row in wins(made, "batch_stored")] == ["flexiq default", "flexiq tuned"]
    assert [row.name for row in wins(made, "p50")] == ["huey"]
    assert wins(made, "batch") == wins(made, "fan") == []


def test_the_table_has_a_row_for_each_also_for_those_that_are_missing() -> None:
    shown = text(report(RUNS))
    for entry in (*limit_entries(), *ours(), *entries()):
        assert re.search(rf"^{re.escape(entry.title)}  ", shown, re.MULTILINE), entry.title
    assert "- SAQ: one by one: failed: pip: no such version" in shown
    assert "- SAQ: batch, stored, batch, end to end: cannot: no call stores many jobs" in shown
    assert "- Celery: everything: not measured" in shown
    assert "- batch, stored: flexiq, default (50,000 jobs/s), flexiq, tuned (45,000 jobs/s)" in shown
    assert re.search(r"T4 +one by one ÷ huey +4\.00 × +≥ 3\.30 +met +≥ 4 *", shown.replace("4.00  met", "4  met"))


def test_nothing_measured_is_a_table_too() -> None:
    shown = text(report([]))
    assert shown.count("not measured") >= len(PEER_TARGETS)
    assert "NOT MET" not in shown


def test_a_page_and_its_chart_are_written_from_results(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "peers.md"
    results.write_bytes(json.encode(report(RUNS)))
    done = CliRunner().invoke(command.main, ["--from", str(results), "--markdown", str(page)])
    assert done.exit_code == 0, done.output
    written = page.read_text()
    assert "| huey | 1,000 | – |" in written
    assert "- round trip p50: huey (1.00 ms)" in written
    assert f"- huey: `{PEERS[0].requirements[0]}`; {PEERS[0].about}" in written
    for name in CHARTS:
        assert f"(peers-{name}.svg)" in written
        ElementTree.parse(tmp_path / f"peers-{name}.svg")
    tables = [[line.count("|") for line in part.splitlines()] for part in written.split("\n\n") if part.startswith("|")]
    assert len(tables) == 6
    assert all(len(set(bars)) == 1 for bars in tables)


def test_nothing_measured_is_a_page_too() -> None:
    assert markdown(report([]), "chart").count("None of these is faster than") == 2


# -- what is missing is a row


def test_a_library_that_cannot_be_installed_or_has_no_server_fails_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(peer: object) -> str:
        raise NotInstalledError("pip: no such version")

    monkeypatch.setattr(rounds, "python_of", refuse)
    monkeypatch.setattr(rounds, "versions_of", lambda python: ())
    monkeypatch.setattr(servers, "find", lambda name: None)
    monkeypatch.setattr(servers, "_install", lambda package: None)
    settings = Settings.of(1, 0.1, ("chain", "fan"))
    huey, redis, postgres = (next(e for e in entries() if e.peer.server == kind) for kind in ("", "redis", "postgres"))
    with ExitStack() as stack:
        refused = rounds.Rounds(settings, [huey], stack)
        refused._take(0, huey)
        monkeypatch.setattr(rounds, "python_of", lambda peer: sys.executable)
        without_servers = rounds.Rounds(settings, [redis, postgres], stack)
        without_servers._take(0, redis)
        without_servers._take(0, postgres)
    assert [(run.entry, run.line.failed) for run in (*refused.runs, *without_servers.runs)] == [
        *[(huey.name, "pip: no such version")] * 2,
        *[(redis.name, servers.HINTS["redis"])] * 2,
        *[(postgres.name, servers.HINTS["postgres"])] * 2,
    ]


def test_a_server_that_does_not_start_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = program(tmp_path, "echo 'Address already in use'; exit 1")
    monkeypatch.setattr(servers, "find", lambda name: broken)
    with pytest.raises(servers.NoServerError, match="Address already in use"), servers.server("redis"):
        pass


def test_asyncjobs_has_a_turn_after_each_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "python_of", lambda peer: sys.executable)
    monkeypatch.setattr(rounds, "versions_of", lambda python: ())
    with ExitStack() as stack:
        taking = rounds.Rounds(Settings.of(1, 0.1, ("chain",)), entries()[:3], stack)
        turns: list[str] = []
        monkeypatch.setattr(taking, "_take", lambda number, entry: turns.append(entry.name))
        taking.take(0)
    assert turns[-6::2] == [entry.name for entry in entries()[:3]]
    assert turns[-5::2] == ["asyncjobs NORMAL", "asyncjobs FULL", "asyncjobs NORMAL"]


# -- files


@pytest.mark.parametrize("name", [*(peer.name for peer in PEERS), "asyncjobs"])
def test_each_library_has_an_adapter_that_compiles(name: str) -> None:
    source = (ADAPTERS / f"{name}.py").read_text()
    compile(source, f"{name}.py", "exec")
    classes = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert "Peer" in classes


def test_no_adapter_is_left_over() -> None:
    assert {path.stem for path in ADAPTERS.glob("*.py")} == {"__init__", "asyncjobs", *(peer.name for peer in PEERS)}


def test_what_runs_elsewhere_needs_no_more_than_the_standard_library() -> None:
    """The environments of the libraries have none of what this package needs."""
    loaded = "sorted({name.partition('.')[0] for name in sys.modules} - {'benchmarks'} - sys.stdlib_module_names)"
    program = f"import sys, benchmarks.peers.drive, benchmarks.peers.harness; print({loaded})"
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [name for name in ast.literal_eval(done.stdout) if not name.startswith("_")] == []


def test_every_version_is_exact() -> None:
    for peer in PEERS:
        assert peer.requirements
        assert all(re.fullmatch(r"[a-z-]+(\[[a-z,]+\])?==[0-9a-z.]+", wanted) for wanted in peer.requirements)


def test_make_runs_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^bench-peers:.*\n\t\$\(BIN\)/python -m benchmarks\.peers .*QUICK", makefile, re.MULTILINE)
    assert "make bench-peers" in makefile
    assert re.search(r"^\.PHONY:.* bench-peers ", makefile, re.MULTILINE)
    assert ".venv-*" in (ROOT / ".gitignore").read_text().split()
