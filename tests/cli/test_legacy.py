"""``asyncjobs legacy``: the old tracker's file comes over by a command, and goes back by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from asyncjobs.compat import Job, JobTracker
from tests.cli.inside import Inside
from tests.compat import work
from tests.compat.old_files import digest, old_job, old_state, write_old


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(tmp_path, monkeypatch)


@pytest.fixture
def old(shell: Inside) -> Path:
    jobs = [old_job("a"), old_job("b", "m2"), old_job("bad\x1b[31m", status="done")]
    return write_old(shell.folder / "cinema_jobs.db", jobs, [old_state("m1")])


def test_an_import_says_what_came_over_and_names_what_could_not(shell: Inside, old: Path) -> None:
    before = digest(old)
    ran = shell.good("legacy", "import", "cinema_jobs.db")
    assert "imported 2 jobs of 2 movies, 1 state into ./cinema_jobs.asyncjobs.db" in ran.err
    assert "was not imported: job 'bad\\x1b[31m' of 'm1': status 'done' is not known" in ran.err
    again = shell.good("legacy", "import", "cinema_jobs.db")
    assert (
        "imported 0 jobs of 0 movies, 0 states into ./cinema_jobs.asyncjobs.db (3 rows are there already)" in again.err
    )
    assert digest(old) == before
    assert JobTracker("cinema_jobs.asyncjobs.db").get_job("b").id == "b"


def test_an_import_into_a_file_of_ones_own(shell: Inside, old: Path) -> None:
    shell.good("jobs", "submit", "app:add", "--arg", "a=1", "--db", "jobs.db")
    shell.good("legacy", "import", "cinema_jobs.db", "--db", "jobs.db")
    assert JobTracker("jobs.db").get_progress("m1")["total"] == 1
    assert not Path("cinema_jobs.asyncjobs.db").exists()


def test_a_dry_run_writes_nothing(shell: Inside, old: Path) -> None:
    ran = shell.good("legacy", "import", "cinema_jobs.db", "--dry-run")
    assert "would import 2 jobs" in ran.err
    assert "cannot be imported: job 'bad" in ran.err
    assert sorted(path.name for path in shell.folder.glob("*.db*")) == ["cinema_jobs.db"]


@pytest.fixture
def several(shell: Inside) -> Path:
    jobs = [old_job(f"{i}", "noir", status) for i, status in enumerate(["completed", "completed", "failed", "pending"])]
    jobs += [old_job("bad", "noir", "done"), old_job("x", "fog\x1b[31m", "in_progress")]
    return write_old(shell.folder / "cinema_jobs.db", jobs, [old_state("noir"), old_state("empty")])


def test_a_dry_run_lists_the_movies_with_their_jobs_by_status(shell: Inside, several: Path) -> None:
    expected = [
        ["movie", "state", "jobs", "pending", "in_progress", "completed", "failed", "skipped"],
        ["empty", "yes", "0", "0", "0", "0", "0", "0"],
        ["fog\\x1b[31m", "no", "1", "0", "1", "0", "0", "0"],
        ["noir", "yes", "4", "1", "0", "2", "1", "0"],
    ]
    for _ in range(2):  # also of what is there already
        ran = shell.good("legacy", "import", "cinema_jobs.db", "--dry-run")
        assert [line.split("\t") for line in ran.lines] == expected[1:]
        table = shell.good("-o", "table", "legacy", "import", "cinema_jobs.db", "--dry-run").lines
        assert [line.lower().split() for line in table] == expected
        document = shell.good("--json", "legacy", "import", "cinema_jobs.db", "--dry-run").json
        assert document["of_movies"] == [
            {"movie": "empty", "jobs": {}, "state": True},
            {"movie": "fog\x1b[31m", "jobs": {"in_progress": 1}, "state": False},
            {"movie": "noir", "jobs": {"completed": 2, "failed": 1, "pending": 1}, "state": True},
        ]
        imported = shell.good("legacy", "import", "cinema_jobs.db")
        assert imported.out == ""
        assert "jobs list has only what the processor runs" in imported.err


def test_what_is_left_out_is_counted_and_an_error_on_request(shell: Inside, several: Path) -> None:
    for options in (("--dry-run",), ()):
        ran = shell.good("legacy", "import", "cinema_jobs.db", *options)
        assert "; 1 row was left out\n" in ran.err
        assert "what is left out is in no export either" in ran.err
        assert shell.run("legacy", "import", "cinema_jobs.db", *options, "--strict").code == 1
        assert shell.run("--json", "legacy", "import", "cinema_jobs.db", *options, "--strict").code == 1
    store = ("--db", "cinema_jobs.asyncjobs.db")
    assert JobTracker("cinema_jobs.asyncjobs.db").get_progress("noir")["total"] == 4, "the others came over"
    ran = shell.good(*store, "legacy", "export", "back.db")
    assert "exported 5 jobs of 3 movies, 2 states to ./back.db; 1 row was left out" in ran.err
    named = f"job 'bad' of 'noir': it was not imported from {several}: status 'done' is not known"
    assert f"was not exported: {named}" in ran.err
    assert shell.run(*store, "legacy", "export", "second.db", "--strict").code == 1
    assert shell.run(*store, "--json", "legacy", "export", "third.db", "--strict").code == 1
    assert {path.name for path in shell.folder.glob("*.db")} >= {"second.db", "third.db"}, "they are written"


@pytest.mark.parametrize("what", ["saved since", "moved", "mended"])
def test_an_export_names_only_what_is_still_left_out(shell: Inside, several: Path, what: str) -> None:
    shell.good("legacy", "import", "cinema_jobs.db")
    if what == "saved since":
        JobTracker("cinema_jobs.asyncjobs.db").save_job(Job(id="bad", type="image"), "noir")
    elif what == "moved":
        several.rename(shell.folder / "elsewhere.db")
    else:
        several.unlink()
        write_old(several, [old_job("bad", "noir")])
    store = ("--db", "cinema_jobs.asyncjobs.db")
    ran = shell.good(*store, "legacy", "export", "back.db", "--strict")
    assert "left out" not in ran.err


def test_without_anything_left_out_strict_changes_nothing(shell: Inside) -> None:
    write_old(shell.folder / "cinema_jobs.db", [old_job("a")])
    assert "left out" not in shell.good("legacy", "import", "cinema_jobs.db", "--strict").err


def test_the_report_as_json(shell: Inside, old: Path) -> None:
    report: Any = shell.good("legacy", "import", "cinema_jobs.db", "--json").json
    assert report == {
        "schema": 1, "dry_run": False, "source": str(old), "target": str(old.with_name("cinema_jobs.asyncjobs.db")),
        "jobs": 2, "movies": 2, "states": 1, "unchanged": 0, "of_movies": [ANY, ANY],
        "unusable": [{"movie": "m1", "id": "bad\x1b[31m", "reason": "status 'done' is not known"}],
    }  # fmt: skip
    back: Any = shell.good("legacy", "export", "--db", "cinema_jobs.asyncjobs.db", "back.db", "--json").json
    reason = f"it was not imported from {old}: status 'done' is not known"
    unusable = [{"movie": "m1", "id": "bad\x1b[31m", "reason": reason}]
    expected = {"jobs": 2, "movies": 2, "states": 1, "unusable": unusable}
    assert back == {"schema": 1, "target": str(shell.folder / "back.db"), **expected}


def test_going_back_is_a_command(shell: Inside, old: Path) -> None:
    shell.good("legacy", "import", "cinema_jobs.db")
    ran = shell.good("legacy", "export", "--db", "cinema_jobs.asyncjobs.db", "back.db")
    assert "exported 2 jobs of 2 movies, 1 state to ./back.db" in ran.err
    assert shell.run("legacy", "export", "--db", "cinema_jobs.asyncjobs.db", "back.db").code == 2
    assert shell.run("legacy", "export", "--db", "none.db", "other.db").code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("import", "none.db"), 2, "there is no file"),
        (("import", "cinema_jobs.db", "--db", "cinema_jobs.db"), 2, "is the old file itself"),
        (("import", "app.py"), 2, "is no file of the old job tracker"),
        (("export", "other.db", "--db", "cinema_jobs.db"), 2, "another program"),
        (("exprt",), 2, "export"),
    ],
)
def test_mistakes(shell: Inside, old: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    before = digest(old)
    ran = shell.run("legacy", *arguments)
    assert (ran.code, words in ran.err) == (code, True), ran.err
    assert digest(old) == before


def test_the_doctor_and_other_commands_name_this_way(shell: Inside, old: Path) -> None:
    before = digest(old)
    for arguments in (("doctor",), ("jobs", "list")):
        ran = shell.run(*arguments, "--db", "cinema_jobs.db")
        assert ran.code != 0
        assert f"asyncjobs legacy import {old}" in ran.out + ran.err
    assert digest(old) == before
    shell.good("legacy", "import", str(old))


def test_what_the_processor_runs_goes_back_too(shell: Inside) -> None:
    tracker = JobTracker("jobs.db")
    tracker.save_job(Job(id="rec", type="image"), "m")
    tracker.save_job(Job(id="run", type="video", func=work.draw, args=("run",)), "m")
    shell.good("legacy", "export", "--db", "jobs.db", "back.db")
    back = JobTracker("back.db")
    assert {job.id: (job.status.value, job.output_path) for job in back.get_jobs_by_movie("m")} == {
        "rec": ("pending", None),
        "run": ("completed", "/drawn/run.png"),
    }
