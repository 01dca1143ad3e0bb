"""Commands that change something, and those that look after the store."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs.backends.sqlite.files import PAGE_SIZE
from tests.cli.support import Shell
from tests.faults.test_migration import made_by

APP = ("--app", "app:jp")


def jobs_of(shell: Shell) -> dict[str, str]:
    return {item["id"]: item["status"] for item in shell.good("--json", *APP, "jobs", "list").json["items"]}


FACTORY = """
class Poem:
    def __init__(self, word): self.word = word
    def run(self, inputs=None): return [self.word, inputs]


def make(word: str): return Poem(word)


async def waits(word: str): return Poem(word)
"""


def test_a_function_may_be_named_with_its_adapter(shell: Shell) -> None:
    (shell.folder / "poems.py").write_text(FACTORY)
    arguments = ("--arg", "word=sea", "--arg", "inputs=1", "--id", "p")
    shell.good("--db", "p.db", "jobs", "submit", "demo+poems:make", *arguments)
    assert "demo+poems:make" in shell.good("--db", "p.db", "jobs", "show", "p").out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nope+poems:make", "no adapter 'nope' (it has crew, demo, flow)"),
        ("demo+demo+poems:make", "one adapter, not several"),
        ("+poems:make", "no adapter ''"),
        ("demo+poems:mak", "did you mean 'make'?"),
        ("demo+nowhere:make", "module 'nowhere' cannot be imported"),
        ("demo+poems:waits", "an adapter calls a plain function or a class"),
        ("demo+poems", "does not name a function"),
    ],
)
def test_what_cannot_be_adapted_is_refused_and_nothing_is_stored(shell: Shell, target: str, message: str) -> None:
    (shell.folder / "poems.py").write_text(FACTORY)
    ran = shell.run("--db", "p.db", "jobs", "submit", target, "--arg", "word=sea")
    assert ran.code in (2, 6), ran.err
    assert message in ran.err
    assert not (shell.folder / "p.db").exists()


def test_submitted_without_a_worker_a_job_waits_and_says_so(shell: Shell) -> None:
    ran = shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--arg", "b=text", "--group", "g")
    assert ran.out.strip() in jobs_of(shell)
    assert ran.err == "⚠ no worker is alive; waiting until one starts\n  → asyncjobs --app app:jp daemon start -d\n"


def test_arguments_are_json_or_text(shell: Shell) -> None:
    shell.good(*APP, "jobs", "submit", "app:add", "--args", '[[1, 2], "x"]', "--id", "one")
    shell.good(*APP, "jobs", "submit", "app:add", "--args", '{"a": null}', "--arg", "b=true", "--id", "two")
    assert shell.good("--json", *APP, "jobs", "show", "one").json["args"] == "([1, 2], 'x')"
    assert shell.good("--json", *APP, "jobs", "show", "two").json["args"] == "(None, True)"


def test_a_graph_from_the_terminal(shell: Shell) -> None:
    shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--id", "first")
    shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=2", "--id", "second", "--after", "firs")
    assert shell.good("--json", *APP, "jobs", "show", "second").json["needs"] == ["first"]


def test_cancel_and_retry(shell: Shell) -> None:
    for name in ("one", "two", "three"):
        shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--id", name, "--group", "g")
    assert shell.good(*APP, "jobs", "cancel", "one").err == "✔ one cancelled\n"
    assert shell.good(*APP, "jobs", "retry", "one").err == "✔ one pending again\n"
    assert shell.good(*APP, "jobs", "cancel", "--group", "g", "--yes").err == "✔ 3 jobs cancelled\n"
    document = shell.good("--json", *APP, "jobs", "retry", "one", "two").json
    assert document["items"] == [{"id": "one", "status": "pending"}, {"id": "two", "status": "pending"}]


def test_a_retry_resumes_unless_it_is_fresh(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--id", name, "--group", "g")
    shell.good(*APP, "jobs", "cancel", "one", "two")
    shell.good(*APP, "jobs", "retry", "one", "--fresh")
    shell.good(*APP, "jobs", "retry", "two")
    with closing(sqlite3.connect(shell.folder / "jobs.db")) as connection:
        assert connection.execute("SELECT generation, steps_from FROM jobs ORDER BY n").fetchall() == [(1, 1), (1, 0)]


def test_removing(shell: Shell) -> None:
    for name in ("one", "two", "three"):
        shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--id", name, "--group", "g")
    shell.good(*APP, "jobs", "cancel", "one", "two")
    assert shell.run(*APP, "jobs", "rm", "three").code == 6  # it is not over
    assert shell.good(*APP, "jobs", "rm", "one").err == "✔ 1 job removed\n"
    ran = shell.run(*APP, "jobs", "rm", "--older", "0s")
    assert (ran.code, "pass --yes" in ran.err) == (2, True)
    assert shell.good(*APP, "jobs", "rm", "--older", "0s", "--yes").err == "✔ 1 job removed\n"
    assert jobs_of(shell) == {"three": "pending"}


def test_backup(shell: Shell) -> None:
    shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--id", "one")
    assert "copied to ./copy.db" in shell.good(*APP, "backup", "copy.db").err
    assert (shell.folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert shell.good("--json", "--db", "copy.db", "jobs", "list").json["items"][0]["id"] == "one"
    assert shell.run(*APP, "backup", "copy.db").code != 0


def test_compact(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.good(*APP, "jobs", "submit", "app:add", "--args", f'["{"x" * 50_000}"]', "--id", name)
    shell.good(*APP, "jobs", "cancel", "one", "two")
    shell.good(*APP, "jobs", "rm", "one", "two")
    before = (shell.folder / "jobs.db").stat().st_size
    assert "freed 0." in shell.good(*APP, "compact").err
    assert (shell.folder / "jobs.db").stat().st_size < before


def test_compact_gives_the_file_of_an_older_version_small_pages(shell: Shell) -> None:
    path = made_by(4, shell.folder)
    shell.good(*APP, "jobs", "list")
    assert "freed" in shell.good(*APP, "compact").err
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (PAGE_SIZE,)


def test_the_doctor(shell: Shell) -> None:
    assert "there is no store at ./jobs.db yet" in shell.good(*APP, "doctor").out
    shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1")
    ran = shell.run(*APP, "doctor")
    assert ran.code == 1
    assert "✖ no worker is alive, and 1 job is ready\n  → asyncjobs --app app:jp daemon start -d\n" in ran.out
    (shell.folder / "jobs.db").chmod(0o644)
    assert "others may read ./jobs.db (mode 644)" in shell.run(*APP, "doctor").out
    document = shell.run("--json", *APP, "doctor").json
    assert (document["errors"], document["warnings"]) == (1, 1)


def test_the_doctor_finds_damage(shell: Shell) -> None:
    shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1")
    path: Path = shell.folder / "jobs.db"
    with sqlite3.connect(path) as connection:
        page, count = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count"))
    connection.close()
    data = bytearray(path.read_bytes())
    data[page * (count - 2) : page * (count - 1)] = b"\xff" * page
    path.write_bytes(data)
    ran = shell.run("--db", "jobs.db", "doctor")
    assert ran.code == 1
    assert re.search(r"is damaged|cannot be opened", ran.out)


@pytest.mark.slow
def test_the_demo(shell: Shell) -> None:
    ran = shell.good("demo", "--jobs", "20", "--fail", "50")
    assert re.search(r"✔ \d+ completed, 0 failed in [\d.]+s; [1-9]\d* retr(?:y|ies); the slowest was ", ran.err)
    assert "page_1  completed" in ran.out


@pytest.mark.slow
def test_bench(shell: Shell) -> None:
    out = shell.good("--json", "bench", "--jobs", "200", "--full").out
    document = json.loads(out)
    assert {figure["name"]: figure["unit"] for figure in document["figures"]} == {
        "round trip, median": "ms",
        "round trip, p99": "ms",
        "one by one": "jobs/s",
        "50 submitters": "jobs/s",
        "one batch, stored": "jobs/s",
        "one batch": "jobs/s",
        "chain": "jobs/s",
    }
    assert all(figure["value"] > 0 for figure in document["figures"])
    assert set(document["machine"]) == {"system", "cores", "load", "file_system"}
    assert document["machine"]["cores"] >= 1
    assert set(document["versions"]) == {"asyncjobs", "python", "sqlite"}
    settings = document["settings"]
    assert (settings["jobs"], settings["synchronous"], settings["num_workers"]) == (200, "FULL", 32)


@pytest.mark.slow
def test_what_bench_prints_names_neither_the_host_nor_a_folder(shell: Shell) -> None:
    for form in ("json", "plain"):
        ran = shell.good("--output", form, "bench", "--jobs", "100")
        for name in (socket.gethostname(), tempfile.gettempdir(), str(Path.home()), str(Path.cwd())):
            assert name not in ran.out + ran.err
