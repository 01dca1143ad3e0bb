"""The whole way, in processes of their own: a comic is drawn, killed, gone on with, and drawn no second time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.comic import ledger
from examples.comic.board import Board
from examples.comic.display import choose

pytestmark = pytest.mark.untraced  # examples, and not the package

ROOT = Path(__file__).parents[2]
SHORT = Path(__file__).with_name("short_story.toml")
REFERENCES = {"char_ref_Sharp", "char_ref_Ida", "char_ref_Grim"}
PANELS = {"panel_Ida_01", "panel_Grim_01", "panel_Sharp_00_b01"}
JOBS = {"plot", "narrative", *REFERENCES, *PANELS, "page_00", "page_01", "book"}


def run(module: str, out: Path, *options: str, script: Path = SHORT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, "--out", str(out), "--script", str(script), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class Drawn:
    """A comic as it is drawn if nothing else is asked for."""

    out: Path
    told: list[dict[str, Any]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    out = tmp_path_factory.mktemp("drawn")
    first = run("examples.comic", out, "--json", "--movie-id", "short")
    assert first.returncode == 0, first.stderr
    return Drawn(out, events(first))


@pytest.mark.slow
def test_a_comic_is_drawn_and_a_second_run_draws_nothing(drawn: Drawn) -> None:
    assert {event["job"] for event in drawn.told if event["type"] == "completed"} == JOBS
    folder = drawn.out / "short"
    for name in (
        "a-short-case.pdf",
        "a-short-case.cbz",
        "pages/page_01.png",
        "images/scene_0001.png",
        "story/plot.json",
    ):
        assert (folder / name).stat().st_size > 0, name
    with Image.open(folder / "pages" / "page_01.png") as page:
        assert page.size == (1400, 2100)
    starts = ledger.starts(folder)

    second = run("examples.comic", drawn.out, "--movie-id", "short")
    assert second.returncode == 0, second.stderr
    assert "11 done before this run" in second.stdout
    assert ledger.starts(folder) == starts


@pytest.mark.slow
def test_panels_that_fail_on_purpose_are_retried_or_left_alone(drawn: Drawn, tmp_path: Path) -> None:
    kinds = Counter(event["type"] for event in drawn.told)
    assert kinds["retrying"] >= 1
    assert kinds["completed"] == len(JOBS)
    without = Counter(e["type"] for e in events(run("examples.comic", tmp_path, "--json", "--no-fail-some")))
    assert without["retrying"] == 0
    assert without["completed"] == len(JOBS)


@pytest.mark.slow
def test_the_crash_demo_kills_goes_on_and_proves_it(tmp_path: Path) -> None:
    done = run("examples.comic.crash_demo", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL" in done.stdout
    assert f"{len(JOBS)} of {len(JOBS)} jobs are completed; exit code 0." in done.stdout
    assert "were not run again" in done.stdout
    folder = tmp_path / "crash-demo"
    assert not [name for _, _, names in os.walk(folder) for name in names if ".partial" in name]


@pytest.mark.slow
def test_a_comic_whose_plot_cannot_be_is_skipped_and_the_exit_code_says_so(tmp_path: Path) -> None:
    impossible = tmp_path / "impossible.toml"
    impossible.write_text(
        SHORT.read_text(encoding="utf-8").replace('victim = "Ida"', 'victim = "Grim"'), encoding="utf-8"
    )
    done = run("examples.comic", tmp_path, "--json", script=impossible)
    assert done.returncode == 1
    kinds = {event["job"]: event["type"] for event in events(done)}
    assert kinds["plot"] == "failed"
    assert kinds["book"] == "skipped"
    assert "book: skipped" in done.stderr


def test_a_mistake_in_the_script_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = run("examples.comic", tmp_path, script=tmp_path / "none.toml")
    assert done.returncode == 1
    assert "Error: there is no script at" in done.stderr
    assert "Traceback" not in done.stderr


class Told:
    """An event as the board reads it."""

    def __init__(self, job_id: str, type: str, attempt: int = 1, **data: Any) -> None:
        self.job_id, self.type, self.attempt, self.data = job_id, type, attempt, data


def test_the_board_counts_what_the_events_say(capsys: pytest.CaptureFixture[str]) -> None:
    board = Board({"plot": "plot", "panel_A_01": "panels", "panel_A_02": "panels"})
    story = [
        Told("plot", "started"),
        Told("plot", "completed"),
        Told("panel_A_01", "started"),
        Told("panel_A_01", "progress", message="the set"),
        Told("panel_A_01", "retrying", message="the image service hung up"),
        Told("panel_A_01", "started", 2),
        Told("panel_A_02", "skipped", because="plot"),
    ]
    with choose(board, "a title") as display:
        for event in story:
            display.show(event, board.apply(event))
    assert board.counts()[0] == ("plot", 1, 0, 1)
    assert board.counts()[3] == ("panels", 0, 1, 2)
    assert board.retries == ["panel_A_01"]
    assert board.bad == ["panel_A_02"]
    out = capsys.readouterr().out
    assert "panel_A_01 retrying: the image service hung up" in out
    assert "panel_A_01 started (attempt 2)" in out
    assert len(out.splitlines()) == 6
