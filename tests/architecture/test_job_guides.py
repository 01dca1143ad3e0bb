"""The guides on what a job is given, reports, keeps and asks: each block is run, and a table of options is complete."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from asyncjobs import JobProcessor, JobRequest, SyncJobs, compat
from asyncjobs.runtime.decorator import JobOptions
from tests.architecture.pages import DOCS, Block, blocks_of, fits, left_out, place, ran, runnable
from tests.compat.old_files import old_job, old_state, write_old

PAGES = ("options", "values", "reporting", "steps", "asking", "tracker")
NOT_RUN: list[tuple[str, str]] = []
"""The page and the reason of each block that is marked with ``<!-- not run: REASON -->``."""
BLOCKS = [block for page in PAGES for block in blocks_of(f"guides/{page}")]


def only(page: str, part: str) -> Block:
    """Return the block of a page that has this in it."""
    [found] = [block for block in BLOCKS if block.page == f"guides/{page}" and part in block.text]
    return found


APP, KILLED = only("asking", "FastAPI("), only("steps", "SIGKILL")
"""What has a test of its own: an app, and a program that is run twice."""
LOOKED_AT, RESUMED = only("tracker", "get_jobs_by_movie("), only("tracker", "open_jobs")
"""Programs that go on with a movie of the old tracker, as the page describes it."""
BODIES = only("tracker", "def draw_panel(job_id")
"""A module that a program imports."""
PROGRAMS = [block for block in runnable(BLOCKS, "python") if block not in (APP, KILLED, BODIES)]


def test_every_block_is_run_and_those_that_are_not_are_listed() -> None:
    """Commands: ``tests/cli/test_guide.py`` runs those of these pages, one after the other."""
    assert {block.kind for block in BLOCKS} == {"python", "text", "sh"}
    assert left_out(BLOCKS) == NOT_RUN
    assert all(block.printed is not None for block in PROGRAMS)
    assert sum(block.kind == "text" for block in BLOCKS) == len(PROGRAMS) + len(printed_by_killed())


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=place)
def test_a_program_prints_what_the_page_says(program: Block, tmp_path: Path) -> None:
    if program in (LOOKED_AT, RESUMED):
        write_movie(tmp_path)
    (tmp_path / str(BODIES.name)).write_text(BODIES.text, "utf-8")
    (tmp_path / "program.py").write_text(program.text, "utf-8")
    printed = ran(tmp_path, "program.py")
    if not fits(program.printed or "", printed):
        assert printed == program.printed  # shows the difference


def write_movie(folder: Path, plot: str = "plot") -> None:
    """Write a file of the old tracker, with a movie that was left in the middle: what failed had left a path."""
    statuses = {plot: "completed", "panel_0": "completed", "panel_1": "failed", "panel_2": "in_progress"}
    jobs = [
        old_job(
            name, "detective_1", statuses.get(name, "pending"), type="screenplay" if name == plot else "image",
            scene_id="s1", output_path="old.png" if name == "panel_1" else None, created_at=f"2024-01-01T10:00:0{at}",
        )
        for at, name in enumerate((*statuses, "panel_3"))
    ]  # fmt: skip
    write_old(folder / "cinema_jobs.db", jobs, [old_state("detective_1", screenplay_complete=1)])


@pytest.mark.slow
def test_a_movie_that_is_resumed_keeps_what_was_known_of_it(tmp_path: Path) -> None:
    write_movie(tmp_path, "noir-plot")
    (tmp_path / str(BODIES.name)).write_text(BODIES.text, "utf-8")
    (tmp_path / "program.py").write_text(RESUMED.text, "utf-8")
    assert ran(tmp_path, "program.py") == RESUMED.printed
    drawn = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.txt")}
    assert set(drawn) == {"panel_1.txt", "panel_2.txt", "panel_3.txt"}
    assert ran(tmp_path, "program.py").startswith("run: []\n")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.txt")} == drawn

    with SyncJobs(tmp_path / "cinema_jobs.asyncjobs.db", enable_daemon=False) as jobs:
        state = compat.JobTracker(tmp_path / "cinema_jobs.db", processor=jobs).load_state("detective_1")
    assert state is not None
    assert (state.screenplay_complete, state.images_complete) == (True, True)
    assert {job.scene_id for job in state.jobs} == {"s1"}
    assert all(job.metadata["prompt"] == "näive" for job in state.jobs)
    assert [job.type.value for job in state.jobs].count("image") == 4
    assert [job.output_path for job in state.jobs if job.id == "panel_1"] == ["panel_1.txt"]


@pytest.mark.slow
def test_a_program_that_resumes_a_movie_is_killed_renamed_and_goes_on(tmp_path: Path) -> None:
    write_movie(tmp_path)
    killing = BODIES.text.replace(
        "    path.write_text", "    os.kill(os.getpid(), signal.SIGKILL)\n    path.write_text"
    )
    (tmp_path / str(BODIES.name)).write_text(f"import os\nimport signal\n{killing}", "utf-8")
    (tmp_path / "program.py").write_text(RESUMED.text, "utf-8")
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr

    (tmp_path / str(BODIES.name)).write_text(BODIES.text, "utf-8")
    (tmp_path / "program.py").rename(tmp_path / "renamed.py")
    assert ran(tmp_path, "renamed.py") == RESUMED.printed


def printed_by_killed() -> list[str]:
    """Return what the program that is killed prints, and what its second run does: the two blocks behind it."""
    at = BLOCKS.index(KILLED)
    return [block.text for block in BLOCKS[at + 1 : at + 3]]


@pytest.mark.slow
def test_the_program_of_the_guide_of_steps_is_killed_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "book.py").write_text(KILLED.text)
    for code, expected in zip((-signal.SIGKILL, 0), printed_by_killed(), strict=True):
        done = subprocess.run(
            [sys.executable, "book.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (code, expected), done.stderr


@pytest.mark.slow
def test_the_program_of_the_guide_of_the_tracker_keeps_what_is_completed(tmp_path: Path) -> None:
    program = only("tracker", "def new_state()")
    (tmp_path / "program.py").write_text(program.text)
    assert ran(tmp_path, "program.py") == program.printed
    drawn = (tmp_path / "panel_2.txt").stat().st_mtime_ns
    assert ran(tmp_path, "program.py") == program.printed
    assert (tmp_path / "panel_2.txt").stat().st_mtime_ns == drawn


def test_the_names_that_are_imported_from_the_tracker_are_all_that_it_has() -> None:
    text = (DOCS / "guides" / "tracker.md").read_text("utf-8")
    [sentence] = re.findall(r"^Import from `asyncjobs\.compat` .*?: (.*?)\. The rest", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", sentence) == sorted(compat.__all__)


@pytest.mark.anyio
async def test_the_route_of_the_guide_lets_only_the_editor_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    exec(only("asking", "FastAPI(").text, names)
    jp: JobProcessor = names["jp"]
    async with jp, AsyncClient(transport=ASGITransport(names["app"]), base_url="http://test") as client:
        await jp.submit_gate("print?", job_id="mine/q", metadata={"editor": "ana"})
        await jp.submit_gate("which?", choices=["noir", "manga"], job_id="mine/style", metadata={"editor": "ana"})
        await jp.submit_gate("print?", job_id="other", metadata={"editor": "bo"})
        codes = [(await client.post(f"/gates/{gate}")).status_code for gate in ("other", "unknown", "mine/q")]
        assert codes == [404, 404, 200]
        refused = await client.post("/gates/mine/q?reason=no")
        assert refused.status_code == 409
        assert "answered by 'ana'" in refused.json()["detail"]
        assert (await client.post("/gates/mine/style", json=True)).status_code == 422
        assert (await client.post("/gates/mine/style", json="manga")).json() == "completed"
        assert (await client.get("/books/nothing/events")).status_code == 404
        assert "EventSource" in (await client.get("/books/b")).text


# -- options


def test_the_table_has_every_option_and_says_which_the_decorator_takes() -> None:
    rows = re.findall(r"^\| (`.+?`) \| (yes)? ?\| ", (DOCS / "guides" / "options.md").read_text("utf-8"), re.MULTILINE)
    listed = {name: bool(yes) for names, yes in rows for name in re.findall(r"`(\w+)`", names)}
    assert {name for name, yes in listed.items() if yes} == set(JobOptions.__struct_fields__)
    assert set(listed) == set(JobRequest.__struct_fields__) - {"func", "args", "kwargs"}


CALLS = ("@job", "RetryPolicy(", "gather(", "as_completed(", "map_jobs(", "batch()", ".progress(", ".emit(", ".log(")


@pytest.mark.parametrize("name", CALLS)
def test_a_guide_has_a_program_with(name: str) -> None:
    pages = [f"guides/{page.stem}" for page in (DOCS / "guides").glob("*.md")]
    assert [page for page in pages for block in runnable(blocks_of(page), "python") if name in block.text]
