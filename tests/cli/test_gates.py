"""``asyncjobs jobs answer|reject``, and what other commands show of gates."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from unittest.mock import ANY

import anyio
import anyio.to_thread
import pytest
from msgspec import json

from asyncjobs import JobProcessor, SQLiteConfig, current_job, job
from tests.cli.inside import Inside

DB = ("--db", "jobs.db")
ME = pwd.getpwuid(os.geteuid()).pw_name


@dataclass
class Review:
    verdict: Literal["good", "bad"]
    pages: list[int]


async def draw() -> str:
    return "drawn"


@job
async def asks() -> str:
    return await current_job().ask("In which style?", key="style", choices=["noir", "manga"], timeout=600, park=True)


@job
async def waits() -> str:
    return await current_job().ask("In which style?", key="style", choices=["noir", "manga"], timeout=600)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    monkeypatch.setenv("LOGNAME", "somebody else")
    monkeypatch.setenv("USER", "somebody else")
    return Inside(tmp_path, monkeypatch)


@asynccontextmanager
async def opened(shell: Inside, *, works: bool = False) -> AsyncIterator[JobProcessor]:
    async with JobProcessor(SQLiteConfig(db_path=shell.folder / "jobs.db"), enable_daemon=works) as jp:
        yield jp


def store(shell: Inside, fill: Callable[[JobProcessor], Coroutine[Any, Any, Any]], *, works: bool = False) -> Any:
    """Fill the store, or read it, as another process does."""

    async def run() -> Any:
        async with opened(shell, works=works) as jp:
            with anyio.fail_after(20):
                return await fill(jp)

    return anyio.run(run)


def gate(shell: Inside, question: str = "Print this page?", job_id: str = "gate", **options: Any) -> None:
    async def fill(jp: JobProcessor) -> None:
        await jp.submit_gate(question, job_id=job_id, **options)

    store(shell, fill)


def result(shell: Inside, job_id: str = "gate") -> Any:
    return store(shell, lambda jp: jp.get_result(job_id))


# -- answering


def test_without_a_value_a_gate_is_approved_in_the_name_of_the_user(shell: Inside) -> None:
    gate(shell)
    ran = shell.good(*DB, "jobs", "answer", "gate")
    assert "gate answered" in ran.err
    assert result(shell) is True
    assert shell.good(*DB, "jobs", "show", "gate", "-o", "json").json["gate"]["answered_by"] == ME


@pytest.mark.parametrize(
    ("answer_type", "given", "stored"),
    [
        (int, "7", 7),
        (int, "-7", -7),
        (float, "7", 7),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (bool, "false", False),
        (str, "true", "true"),
        (str, "7", "7"),
        (str, "a text", "a text"),
        (int | None, "null", None),
        (str | None, "null", "null"),
        (int | str, "7", "7"),
        (Literal["a", 7], "7", 7),
        (Literal["7", 7], "7", "7"),
        (Literal[True, "no"], "true", True),
    ],
    ids=lambda value: str(value).replace("typing.", ""),
)
def test_a_value_is_read_by_the_type_of_the_schema(shell: Inside, answer_type: Any, given: str, stored: Any) -> None:
    gate(shell, answer_type=answer_type)
    shell.good(*DB, "jobs", "answer", "gate", "--", given)
    got = result(shell)
    assert (got, type(got)) == (stored, type(stored))


@pytest.mark.parametrize(
    ("answer_type", "given"),
    [(int, "seven"), (int, "1.5"), (bool, "yes"), (bool, "1"), (Review, "good"), (list[int], "[1]"), (Any, "7")],
    ids=lambda value: str(value),
)
def test_a_value_that_the_schema_does_not_take_is_refused_and_json_is_the_way(
    shell: Inside, answer_type: Any, given: str
) -> None:
    gate(shell, answer_type=answer_type)
    ran = shell.run(*DB, "jobs", "answer", "gate", given)
    assert ran.code == 2
    assert repr(given) in ran.err
    assert "--json" in ran.err
    assert store(shell, lambda jp: jp.get_status("gate")) == "pending"


@pytest.mark.parametrize(
    ("answer_type", "given", "stored"),
    [
        (Review, '{"verdict": "good", "pages": [1, 2]}', {"verdict": "good", "pages": [1, 2]}),
        (list[int], "[]", []),
        (int | str, "7", 7),
        (Any, "null", None),
    ],
    ids=lambda value: str(value),
)
def test_json_gives_any_value(shell: Inside, answer_type: Any, given: str, stored: Any) -> None:
    gate(shell, answer_type=answer_type)
    shell.good(*DB, "jobs", "answer", "gate", "--json", given)
    assert result(shell) == stored


def test_a_choice_is_a_text_whatever_it_looks_like(shell: Inside) -> None:
    gate(shell, choices=["1", "true", "--json"], job_id="gate")
    ran = shell.run(*DB, "jobs", "answer", "gate", "2")
    assert (ran.code, "'1', 'true', '--json'" in ran.err) == (2, True)
    shell.good(*DB, "jobs", "answer", "gate", "1")
    assert result(shell) == "1"
    gate(shell, choices=["1", "true", "--json"], job_id="dashes")
    shell.good(*DB, "jobs", "answer", "dashes", "--", "--json")
    assert result(shell, "dashes") == "--json"


def test_a_choice_that_rejects_is_reported_as_that(shell: Inside) -> None:
    gate(shell, choices=["yes", "no"], reject_on=["no"])
    ran = shell.good(*DB, "jobs", "answer", "gate", "no", "-o", "json")
    assert ran.json == {"items": [{"id": "gate", "status": "failed"}]}
    gate(shell, choices=["yes", "no"], reject_on=["no"], job_id="other")
    assert "other rejected" in shell.good(*DB, "jobs", "answer", "other", "no").err


def test_a_rejection_needs_a_reason_and_keeps_it(shell: Inside) -> None:
    gate(shell)
    assert shell.run(*DB, "jobs", "reject", "gate").code == 2
    assert shell.run(*DB, "jobs", "reject", "gate", "--reason", "").code == 2
    assert "gate rejected" in shell.good(*DB, "jobs", "reject", "gate", "--reason", "page 3 is empty").err
    failed = shell.run(*DB, "jobs", "result", "gate")
    assert failed.code == 1
    assert f"was rejected by {ME!r}: page 3 is empty" in failed.err
    assert "asyncjobs --db jobs.db jobs retry gate" in failed.err


def test_a_prefix_of_the_id_is_enough_and_an_unknown_one_is_not_found(shell: Inside) -> None:
    gate(shell, job_id="book-1/style")
    assert shell.run(*DB, "jobs", "answer", "book-2").code == 3
    assert shell.run(*DB, "jobs", "reject", "book-2", "--reason", "no").code == 3
    assert "book-1/style answered" in shell.good(*DB, "jobs", "answer", "book-1").err


# -- refusals


def test_an_approval_takes_no_value_and_the_hint_says_what_ends_it(shell: Inside) -> None:
    gate(shell, job_id="page 1")
    for given in (("yes",), ("false",)):
        ran = shell.run(*DB, "jobs", "answer", "page 1", *given)
        assert ran.code == 2
        assert "asyncjobs --db jobs.db jobs reject 'page 1' --reason no" in ran.err
    assert shell.run(*DB, "jobs", "answer", "page 1", "--json", "false").code == 2
    shell.good(*DB, "jobs", "reject", "page 1", "--reason", "no")


@pytest.mark.parametrize("asked", [{"choices": ["a", "b"]}, {"answer_type": int}], ids=["choices", "type"])
def test_any_other_gate_needs_a_value(shell: Inside, asked: dict[str, Any]) -> None:
    gate(shell, **asked)
    ran = shell.run(*DB, "jobs", "answer", "gate")
    assert (ran.code, "VALUE" in ran.err) == (2, True)
    assert shell.run(*DB, "jobs", "answer", "gate", "1", "--json", "1").code == 2


def test_an_approval_takes_true_as_every_other_way_of_answering_does(shell: Inside) -> None:
    gate(shell)
    shell.good(*DB, "jobs", "answer", "gate", "true")
    assert json.decode(shell.good(*DB, "jobs", "result", "gate").out) is True


@pytest.mark.parametrize("text", ["{", "", "\udcff", '"\\ud83d"', pytest.param("[" * 5000 + "]" * 5000, id="deep")])
def test_json_that_is_none_is_refused(shell: Inside, text: str) -> None:
    gate(shell, answer_type=Any)
    ran = shell.run(*DB, "jobs", "answer", "gate", "--json", text)
    assert (ran.code, "--json" in ran.err) == (2, True)


def test_a_value_that_is_nested_too_deep_is_refused(shell: Inside) -> None:
    gate(shell, answer_type=list[int])
    assert shell.run(*DB, "jobs", "answer", "gate", "[" * 5000).code == 2


def test_a_json_value_that_does_not_fit_is_named_by_its_path(shell: Inside) -> None:
    gate(shell, answer_type=Review)
    ran = shell.run(*DB, "jobs", "answer", "gate", "--json", '{"verdict": "good", "pages": ["one"]}')
    assert ran.code == 2
    assert "value.pages[0]" in ran.err


def test_who_comes_later_is_told_who_answered_when(shell: Inside) -> None:
    gate(shell, choices=["a", "b"])

    async def answer(jp: JobProcessor) -> Any:
        await jp.answer_job("gate", "a", by="ana")
        return (await jp.get_job("gate")).gate

    answered = store(shell, answer)
    for act in (("answer", "gate", "a"), ("answer", "gate", "b"), ("reject", "gate", "--reason", "no")):
        ran = shell.run(*DB, "jobs", *act)
        assert ran.code == 6
        assert "answered by 'ana'" in ran.err
        assert f"{answered.answered_at:%H:%M:%S}" in ran.err
    problem = shell.run("--json", *DB, "jobs", "answer", "gate", "b")
    assert '"code":"job-state"' in problem.err


def test_the_same_answer_again_is_a_success(shell: Inside) -> None:
    gate(shell)
    for _ in range(2):
        shell.good(*DB, "jobs", "answer", "gate")
    gate(shell, job_id="other")
    for _ in range(2):
        shell.good(*DB, "jobs", "reject", "other", "--reason", "no")


def test_what_is_no_gate_or_not_open_is_refused_with_the_command_that_opens_it(shell: Inside) -> None:
    async def fill(jp: JobProcessor) -> None:
        parent = await jp.submit_job(draw, job_id="draw")
        await jp.submit_gate("Later?", job_id="early", depends_on=parent)
        await jp.submit_gate("Ever?", job_id="over it")
        await jp.cancel_job("over it")

    store(shell, fill)
    for job_id in ("draw", "early", "over it"):
        assert shell.run(*DB, "jobs", "answer", job_id).code == 6
        assert shell.run(*DB, "jobs", "reject", job_id, "--reason", "no").code == 6
    ran = shell.run(*DB, "jobs", "answer", "over it")
    assert "asyncjobs --db jobs.db jobs retry 'over it' opens it again" in ran.err
    shell.good(*DB, "jobs", "retry", "over it")
    shell.good(*DB, "jobs", "answer", "over it")


# -- looking


async def fill_with_questions(jp: JobProcessor) -> None:
    """A job that is parked on its question, two open gates, and a gate that waits for one of them."""
    await jp.submit_job(asks, job_id="book", group="books")
    async for event in jp.stream_job("book"):
        if event.type == "released":
            break
    await jp.submit_gate("Print this\npage?", job_id="gate", group="books")
    await jp.submit_gate("How is it?", job_id="review", answer_type=Review)
    await jp.submit_gate("Later?", job_id="early", depends_on="gate", group="books")


def test_what_waits_for_an_answer_is_listed_with_question_since_and_until(shell: Inside) -> None:
    store(shell, fill_with_questions, works=True)
    rows = {line.split("\t")[0]: line.split("\t") for line in shell.good(*DB, "jobs", "list", "--open-gates").lines}
    assert rows.keys() == {"book", "book/style", "gate", "review"}
    assert rows["book"][1] == "parked on book/style: In which style?"
    assert rows["book/style"][1] == "In which style?"
    assert rows["book"][2:] == rows["book/style"][2:]
    assert rows["book/style"][3].startswith("in 9m")
    assert rows["gate"][1] == "Print this\\npage?"
    assert rows["gate"][3] == "-"
    table = shell.good(*DB, "-o", "table", "jobs", "list", "--open-gates", "--group", "books").lines
    assert table[0].split() == ["ID", "QUESTION", "SINCE", "UNTIL"]
    assert len(table) == 4
    items = shell.good(*DB, "jobs", "list", "--open-gates", "--json").json["items"]
    found = {item["id"]: item for item in items}
    assert (found["book"]["parked"], found["book"]["waits_for"], found["book"]["gate"]) == (
        "book/style",
        "answer",
        None,
    )
    assert found["gate"]["gate"]["question"] == "Print this\npage?"
    assert shell.good(*DB, "jobs", "list", "--open-gates", "--status", "completed").lines == []


def test_a_long_question_is_cut_in_the_list_and_whole_where_it_is_shown(shell: Inside) -> None:
    question = "Print this page? " * 200
    gate(shell, question)
    (row,) = shell.good(*DB, "jobs", "list", "--open-gates").lines
    assert row.split("\t")[1] == f"{question[:99]}…"
    assert question.strip() in shell.good(*DB, "jobs", "show", "gate").out
    assert shell.good(*DB, "jobs", "list", "--open-gates", "--json").json["items"][0]["gate"]["question"] == question


def test_a_gate_is_shown_with_what_it_asks_and_the_command_that_answers_it(shell: Inside) -> None:
    store(shell, fill_with_questions, works=True)
    shown = shell.good(*DB, "jobs", "show", "gate").out
    for part in ("it waits for an answer", "Print this\\npage?", "asyncjobs --db jobs.db jobs answer gate"):
        assert part in shown
    for part in ("args", "unreadable", "attempts", "ran"):
        assert part not in shown
    style = shell.good(*DB, "jobs", "show", "book/style").out
    for part in ("noir, manga", "asked by", "book", "until", "asyncjobs --db jobs.db jobs answer book/style noir"):
        assert part in style
    deadline = shell.good(*DB, "--json", "jobs", "show", "book/style").json["gate"]["deadline"]
    [until] = re.findall(r", until (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d)$", style, re.MULTILINE)
    assert datetime.fromisoformat(until) == datetime.fromisoformat(deadline).replace(microsecond=0)
    assert '"verdict"' in shell.good(*DB, "jobs", "show", "review").out
    assert "jobs answer" not in shell.good(*DB, "jobs", "show", "early").out
    shell.good(*DB, "jobs", "answer", "gate")
    ended = shell.good(*DB, "jobs", "show", "gate").out
    assert f"ago by {ME}" in ended
    assert "jobs answer" not in ended


def test_a_parked_job_is_shown_with_the_question_that_it_waits_for(shell: Inside) -> None:
    store(shell, fill_with_questions, works=True)
    shown = shell.good(*DB, "jobs", "show", "book").out
    assert "it waits for an answer: 'In which style?'" in shown
    assert "book/style" in shown
    assert "no worker" not in shown
    item = shell.good(*DB, "jobs", "show", "book", "--json").json
    assert (item["why"]["code"], item["parked"]) == ("answer", "book/style")
    assert item["why"]["details"] == {"gate": "book/style", "since": ANY, "until": ANY}


def test_a_waiting_job_is_shown_with_the_gate_that_its_body_waits_for(shell: Inside) -> None:
    async def show_while_it_waits(jp: JobProcessor) -> tuple[str, Any]:
        handle = await jp.submit_job(waits, job_id="film")
        async for event in jp.stream_job(handle, types=["asked"]):
            assert event.data["gate"] == "film/style"
            break
        shown = await anyio.to_thread.run_sync(lambda: shell.good(*DB, "jobs", "show", "film").out)
        item = await anyio.to_thread.run_sync(lambda: shell.good(*DB, "jobs", "show", "film", "--json").json)
        await jp.answer_job("film/style", "noir")
        await handle
        return shown, item

    shown, item = store(shell, show_while_it_waits, works=True)
    assert "film/style" in next(line for line in shown.splitlines() if "waits for " in line and "why" not in line)
    assert (item["why"]["code"], item["why"]["details"]["gate"]) == ("answer", "film/style")


def test_a_gate_has_no_tries_and_no_times_of_an_attempt(shell: Inside) -> None:
    gate(shell)
    shell.good(*DB, "jobs", "answer", "gate")
    row = shell.good(*DB, "jobs", "list").lines[0].split("\t")
    assert (row[1], row[3], row[5]) == ("gate", "", "")


def test_the_commands_are_known_to_help_and_completion(shell: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shell.good("jobs", "answer", "--help").out
    assert "JOB [VALUE]" in usage
    assert usage.count("--json") >= 1
    assert "--reason" in shell.good("jobs", "reject", "--help").out
    monkeypatch.setenv("_ASYNCJOBS_COMPLETE", "bash_complete")
    for words, wanted in (
        ("asyncjobs jobs an", "answer"),
        ("asyncjobs jobs rej", "reject"),
        ("asyncjobs jobs list --open", "--open-gates"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        assert f"plain,{wanted}" in completed(shell)


def completed(shell: Inside) -> str:
    from click.testing import CliRunner

    from asyncjobs.cli.main import root

    return CliRunner().invoke(root, [], prog_name="asyncjobs", complete_var="_ASYNCJOBS_COMPLETE").output


def test_a_job_behind_a_rejected_gate_says_who_rejected_it_and_why(shell: Inside) -> None:
    async def fill(jp: JobProcessor) -> None:
        await jp.submit_gate("Dark enough?", job_id="gate")
        await jp.submit_job(draw, job_id="page", depends_on="gate")

    store(shell, fill)
    shell.good(*DB, "jobs", "reject", "gate", "--reason", "too\nlight")
    words = f"was skipped because 'gate' did not complete: the gate was rejected by '{ME}': too\\nlight"
    assert words in shell.good(*DB, "jobs", "show", "page").out
    ran = shell.run(*DB, "jobs", "result", "page")
    assert ran.code == 1
    assert f"job 'page' {words}" in ran.err
    assert "jobs retry gate" in ran.err
