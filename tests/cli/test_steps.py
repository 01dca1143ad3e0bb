"""``jobs show``: how many steps a job keeps, under which keys, and with ``--steps`` their values, redacted."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.core.codec import encode_value
from asyncjobs.core.requests import Keep
from tests.cli.support import Shell
from tests.faults.stores import new_job

DB = ("--db", "jobs.db")
LARGE = "x" * 100_000
SECRETS = """
def hide(kind, value):
    return {"kind": kind, "was": type(value).__name__}


def fail(kind, value):
    raise LookupError("no rules today")


word = "hide"
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A store with a job that keeps steps, one that keeps many, and one that keeps none."""
    shell = Shell(tmp_path_factory.mktemp("kept"))
    (shell.folder / "secrets_of_mine.py").write_text(SECRETS)

    async def fill() -> None:
        async with SQLiteBackend(SQLiteConfig(db_path=shell.folder / "jobs.db")) as backend:
            await backend.enqueue_jobs([new_job("book", call=encode_value([[], {}])), new_job("film"), new_job("none")])
            await backend.enqueue_jobs([new_job("paid")])
            worker = await backend.register_worker(NewWorker(name="w", slots=9))
            claim = ClaimRequest(worker=worker, limit=9, functions=frozenset({"tests:work"}))
            book, film, _, paid = (job.attempt for job in (await backend.dequeue_jobs(claim)).jobs)
            values: dict[str, Any] = {
                "page/1": {"text": "once", "api_key": "sk-123"},
                "page/2": ["upon", ("a", 1)],
                "page/3": LARGE,
                "page/\x1b[31m": None,
            }
            await backend.write_steps([Keep(book, key, encode_value(value)) for key, value in values.items()])
            await backend.write_steps([Keep(book, "page/9", b"\xc1")])
            secrets = ("api_key", "log in/password", "title", "token")
            await backend.write_steps([Keep(paid, key, encode_value(["sk-456"])) for key in secrets])
            await backend.write_steps([Keep(film, f"frame-{i:04}", encode_value(i)) for i in range(1234)])

    anyio.run(fill)
    return shell


def test_a_job_is_shown_with_how_many_steps_it_keeps_and_their_first_keys(kept: Shell) -> None:
    lines = kept.good(*DB, "jobs", "show", "book").lines
    assert "  steps      5 kept: page/\\x1b[31m, page/1, page/2, page/3, page/9" in lines
    lines = kept.good(*DB, "jobs", "show", "film").lines
    first = ", ".join(f"frame-{i:04}" for i in range(8))
    assert f"  steps      1,234 kept: {first} …" in lines
    assert "steps" not in kept.good(*DB, "jobs", "show", "none").out


def test_and_as_json(kept: Shell) -> None:
    shown = kept.good(*DB, "--json", "jobs", "show", "book").json["steps"]
    assert shown == {"count": 5, "keys": ["page/\x1b[31m", "page/1", "page/2", "page/3", "page/9"]}
    shown = kept.good(*DB, "--json", "jobs", "show", "film").json["steps"]
    assert shown == {"count": 1234, "keys": [f"frame-{i:04}" for i in range(100)]}
    assert kept.good(*DB, "--json", "jobs", "show", "none").json["steps"] == {"count": 0, "keys": []}


def test_values_are_shown_when_they_are_asked_for_without_what_looks_secret(kept: Shell) -> None:
    out = kept.good(*DB, "jobs", "show", "book", "--steps").out
    assert '             page/1  {"text":"once","api_key":"•••"}\n' in out
    assert '             page/2  ["upon",["a",1]]\n' in out
    assert "sk-123" not in out
    assert "\x1b" not in out
    assert f'page/3  "{"x" * 298}… (100,005 bytes)\n' in out
    assert "page/9  unreadable: step (" in out
    assert "page/\\x1b[31m  null\n" in out


def test_the_key_of_a_step_counts_as_a_key(kept: Shell) -> None:
    out = kept.good(*DB, "jobs", "show", "paid", "--steps").out
    for line in ('api_key  "•••"', 'log in/password  "•••"', 'title  ["sk-456"]', 'token  "•••"'):
        assert line in out
    items = kept.good(*DB, "--json", "jobs", "show", "paid", "--steps").json["steps"]["items"]
    assert [item["value"] for item in items] == ["•••", "•••", ["sk-456"], "•••"]


def test_as_json_they_are_whole_and_all_there(kept: Shell) -> None:
    items = kept.good(*DB, "--json", "jobs", "show", "book", "--steps").json["steps"]["items"]
    values = {item["key"]: item["value"] for item in items}
    assert values == {
        "page/1": {"text": "once", "api_key": "•••"},
        "page/2": ["upon", ["a", 1]],
        "page/3": LARGE,
        "page/9": None,
        "page/\x1b[31m": None,
    }
    assert [item["key"] for item in items if item["unreadable"]] == ["page/9"]
    items = kept.good(*DB, "--json", "jobs", "show", "film", "--steps").json["steps"]["items"]
    assert [item["value"] for item in items] == list(range(1234))


def test_the_setting_redact_decides_what_is_shown(kept: Shell) -> None:
    def values(name: str) -> dict[str, Any]:
        shown = kept.good(*DB, "--json", "jobs", "show", "book", "--steps", ASYNCJOBS_REDACT=name).json
        return {item["key"]: item["value"] for item in shown["steps"]["items"]}

    assert values("secrets_of_mine:hide")["page/1"] == {"kind": "step", "was": "dict"}
    assert values("")["page/1"] == {"text": "once", "api_key": "sk-123"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("secrets_of_mine:fail", "redact: secrets_of_mine:fail failed: LookupError: no rules today"),
        ("secrets_of_mine:word", "secrets_of_mine:word is not callable"),
        ("secrets_of_mine:hid", "did you mean 'hide'?"),
        ("secrets_of_nobody:hide", "cannot be imported"),
        ("hide", "redact cannot be 'hide' (from ASYNCJOBS_REDACT)"),
    ],
)
def test_one_that_cannot_work_shows_nothing(kept: Shell, name: str, message: str) -> None:
    ran = kept.run(*DB, "jobs", "show", "book", "--steps", ASYNCJOBS_REDACT=name)
    assert ran.code != 0
    assert message in ran.err
    assert "once" not in ran.out + ran.err


def test_without_values_it_is_not_needed(kept: Shell) -> None:
    assert "5 kept" in kept.good(*DB, "jobs", "show", "book", ASYNCJOBS_REDACT="secrets_of_nobody:hide").out


def test_the_http_interface_uses_it_too(kept: Shell) -> None:
    ran = kept.run(*DB, "web", "--port", "0", ASYNCJOBS_REDACT="secrets_of_nobody:hide")
    assert ran.code == 2
    assert "secrets_of_nobody" in ran.err
    ran = kept.run(*DB, "--app", "app:jp", "daemon", "start", "--http", ":0", ASYNCJOBS_REDACT="secrets_of_mine:word")
    assert ran.code == 2
    assert "not callable" in ran.err
