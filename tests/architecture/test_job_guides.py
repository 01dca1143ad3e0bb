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

from asyncjobs import JobProcessor, JobRequest, compat
from asyncjobs.runtime.decorator import JobOptions
from tests.architecture.pages import DOCS, Block, blocks_of, fits, left_out, place, ran, runnable

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
PROGRAMS = [block for block in runnable(BLOCKS, "python") if block not in (APP, KILLED)]


def test_every_block_is_run_and_those_that_are_not_are_listed() -> None:
    """Commands: ``tests/cli/test_guide.py`` runs those of these pages, one after the other."""
    assert {block.kind for block in BLOCKS} == {"python", "text", "sh"}
    assert left_out(BLOCKS) == NOT_RUN
    assert all(block.printed is not None for block in PROGRAMS)
    assert sum(block.kind == "text" for block in BLOCKS) == len(PROGRAMS) + len(printed_by_killed())


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=place)
def test_a_program_prints_what_the_page_says(program: Block, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program.text, "utf-8")
    printed = ran(tmp_path, "program.py")
    if not fits(program.printed or "", printed):
        assert printed == program.printed  # shows the difference


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
    program = only("tracker", "processor=jp")
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
