"""The benchmark of an hour, with a few jobs: what its parts measure, how it ends, and what is written."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import json
from msgspec.structs import replace

from asyncjobs import SQLiteBackend
from asyncjobs.backends.sqlite import writer
from benchmarks.backlog_file import new_job
from benchmarks.lock_account import keep_account
from benchmarks.long import __main__ as command
from benchmarks.long import running
from benchmarks.long.parts import PARTS
from benchmarks.long.report import Report, Taken, markdown, text
from benchmarks.long.work import Size
from benchmarks.machine import ROOT, Machine
from benchmarks.result import Figure, higher, lower
from benchmarks.scale_targets import LONG_TARGETS


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


MACHINE = Machine("Linux x86_64", 2, "3.11.7", "3.40.1", (0.1, 0.2, 0.3), "abc")
SMALL = Size(jobs=10_000, minutes=0.05, longest=60, quick=True)


def report(*taken: Taken) -> Report:
    return Report(MACHINE, "2026-01-02", SMALL, taken)


def told(part: str, *figures: Figure, failed: str = "") -> Taken:
    return Taken(part, 61.0, 0.5, figures, (f"a note on {part}",), failed)


# -- what is measured


def taken_of(name: str, size: Size = SMALL) -> Taken:
    kept: list[Taken] = []
    running.take(name, size, kept.append)
    (taken,) = kept
    return taken


@pytest.fixture(scope="module")
def all_of_it() -> dict[str, Taken]:
    return {name: taken_of(name) for name in PARTS}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_part_tells_figures_and_all_that_have_targets(name: str, all_of_it: dict[str, Taken]) -> None:
    taken = all_of_it[name]
    assert taken.failed == ""
    names = [figure.name for figure in taken.figures]
    assert len(names) == len(set(names))
    assert {target.figure for target in LONG_TARGETS if target.figure.startswith(f"{name}.")} <= {
        f"{name}.{found}" for found in names
    }


@pytest.mark.slow
def test_all_jobs_are_drained_but_those_that_claims_took(all_of_it: dict[str, Taken]) -> None:
    found = {figure.name: figure.value for figure in all_of_it["drain"].figures}
    claimed = 3 * (300 + 20 * 32)
    assert SMALL.jobs - claimed - 500 <= found["drained"] <= SMALL.jobs - claimed
    assert found["drain_own_max"] > found["own_before"] > 1
    assert all(found[f"claim_{size}_{when}"] > 0 for size in (1, 32) for when in ("begin", "middle", "end"))


@pytest.mark.slow
def test_the_account_of_the_lock_is_of_all_daemons(all_of_it: dict[str, Taken]) -> None:
    found = {figure.name: figure.value for figure in all_of_it["daemons"].figures}
    for name in ("", "computing_"):
        assert all(0 < found[f"{name}commits_{count}"] <= 3 for count in (1, 2, 4))
        assert all(found[f"{name}lock_held_{count}"] > 0 for count in (1, 2, 4))
        assert all(found[f"{name}lock_share_{count}"] > 0 for count in (1, 2, 4))


@pytest.mark.anyio
async def test_who_waits_for_the_lock_pays_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "commit", writer.commit)  # put back afterwards
    account = keep_account()
    async with SQLiteBackend(tmp_path / "jobs.db") as backend:
        opened = replace(account)
        with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            stored = asyncio.create_task(backend.enqueue_jobs([new_job("a")]))
            while account.refused - opened.refused < 2:
                await asyncio.sleep(0)
            other.execute("ROLLBACK")
        await stored
    assert account.commits == opened.commits + 1
    assert account.waited > opened.waited
    assert account.held > opened.held


# -- how it ends

_PROGRAM = """
import os, sys, time
from contextlib import closing
from pathlib import Path
from benchmarks.long import parts, child
from benchmarks.result import lower

def run(part):
    (part.folder / "jobs.db").write_bytes(b"x")
    part.figures(lower("first", 1.0, "ms"))
    part.note(str(part.folder))
    print({then!r}, file=sys.stderr, flush=True)
    {then}

parts.PROGRAMS["drain"] = run
"""


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, then: str) -> None:
    """Let the program of a part be another one, which tells a figure and then does this."""
    program = (
        _PROGRAM.format(then=then) + "try:\n    child.main(*sys.argv[1:])\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    )
    (folder / "program.py").write_text(program)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nshift 2\nPYTHONPATH={ROOT} exec {sys.executable} {folder}/program.py "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


@pytest.mark.parametrize(("then", "failed"), [("pass", ""), ("os._exit(3)", "it ended with 3, see above")])
def test_what_a_part_told_is_kept_and_its_folder_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, then: str, failed: str
) -> None:
    stand_in(monkeypatch, tmp_path, then)
    taken = taken_of("drain")
    assert (taken.figures, taken.failed) == ([lower("first", 1.0, "ms")], failed)
    assert not Path(taken.notes[0]).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_shows_what_it_has_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals
) -> None:
    results, temporary = tmp_path / "results.json", tmp_path / "temporary"
    temporary.mkdir()
    python = sys.executable
    stand_in(monkeypatch, tmp_path, "time.sleep(600)")
    inner = f"import sys; sys.executable = {sys.executable!r}; from benchmarks.long.__main__ import main; main()"
    process = subprocess.Popen(
        [python, "-c", inner, "--quick", "drain", "--json", str(results)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "time.sleep" not in (line := process.stderr.readline()):
        assert line, "it ended early"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"^drain\.first +1\.00 +ms", out, re.MULTILINE)
    assert "FAILED" in out
    assert list(temporary.iterdir()) == []
    assert json.decode(results.read_bytes(), type=Report).taken[0].failed == "interrupted"


def test_a_disk_that_is_too_small_is_said_before_anything_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9e9, 8e9, 1e9))
    monkeypatch.setattr(command, "take", lambda *_: pytest.fail("it was run"))
    done = CliRunner().invoke(command.main, ["--jobs", "5000000", "drain"])
    assert done.exit_code == 1
    assert re.search(r"up to 6 GB of disk are needed, and \S+ has 1: name another folder as TMPDIR", done.output)


def test_ten_million_jobs_take_an_hour_and_twenty_gigabytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Size] = []
    monkeypatch.setattr(command, "take", lambda name, size, keep: asked.append(size))
    monkeypatch.setattr(command, "_check_disk", lambda names, size: None)
    monkeypatch.setattr(command, "_save", lambda report, path: None)
    assert CliRunner().invoke(command.main, ["drain"]).exit_code == 0
    (size,) = asked
    assert (size.jobs, size.minutes) == (10_000_000, 10)
    assert size.longest / 60 + size.minutes <= 45
    assert max(entry.disk(size) for entry in PARTS.values()) <= 20e9


# -- what is written


def table_widths(page: str) -> list[set[int]]:
    parts = [part for part in page.split("\n\n") if part.startswith("|")]
    return [{line.count("|") for line in part.splitlines()} for part in parts]


RUNS: Sequence[Taken] = (
    told("drain", higher("drain_last_share", 0.4, "of first"), lower("start_ratio", 1.2, "×")),
    told("retention", failed="interrupted"),
)


def test_a_page_has_a_table_of_each_part_and_of_targets(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "long.md"
    results.write_bytes(json.encode(report(*RUNS)))
    done = CliRunner().invoke(command.main, ["--from", str(results), "--markdown", str(page)])
    assert done.exit_code == 1, "a part failed"
    written = page.read_text()
    assert "Measured on 2026-01-02 in 2 minutes, quick: rough: Linux x86_64, 2 cores" in written
    assert "| start_ratio | 1.20 | × | lower |" in written
    assert "| L1 | drain of all, last tenth ÷ first | 0.40 × |  |  | ≥ 0.50 | NOT MET |" in written
    assert "| L2 | start beside all ÷ beside 100,000 | 1.20 × | ≤ 1.30 | met | ≤ 1.10 | NOT MET |" in written
    assert "FAILED after 61 s: interrupted" in written
    assert "a note on drain" in written
    assert all(len(widths) == 1 for widths in table_widths(written))
    assert len(table_widths(written)) == 2


def test_nothing_measured_is_a_table_too() -> None:
    shown = text(report())
    assert shown.count("not measured") == len(LONG_TARGETS)
    assert "NOT MET" not in shown
    assert markdown(report()).count("not measured") == len(LONG_TARGETS)


def test_make_runs_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    command = r"^bench-long:.*\n\t\$\(BIN\)/python -m benchmarks\.long .*QUICK.*JOBS.*MINUTES"
    assert re.search(command, makefile, re.MULTILINE)
    assert "make bench-long" in makefile
    assert re.search(r"^\.PHONY:.* bench-long ", makefile, re.MULTILINE)
