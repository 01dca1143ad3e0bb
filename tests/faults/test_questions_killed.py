"""Questions and SIGKILL: of the process that asks, waits or parks, and of the one that answers."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.children import PATIENCE, Child

pytestmark = [pytest.mark.untraced, pytest.mark.slow]

PROGRAM = "tests.faults.question_program"
COMMIT = ("begin", "before-commit", "after-commit")


def waits_for_answer(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM jobs WHERE waits_for = 4")}


def wait_until(path: Path, *waiting: str) -> None:
    """Wait until these gates and parked jobs wait for an answer, and no others."""
    until = time.monotonic() + PATIENCE
    while waits_for_answer(path) != set(waiting):
        assert time.monotonic() < until, waits_for_answer(path)
        time.sleep(0.01)


def answered(path: Path, ledger: Path) -> None:
    with Child(PROGRAM, "answer", path, "none", ledger=ledger) as child:
        assert child.until("status") == ["completed"]
        child.rest()


@pytest.mark.parametrize("way", ["wait", "park"])
@pytest.mark.parametrize("point", [*(f"ask {at}" for at in COMMIT), *(f"park {at}" for at in COMMIT)])
def test_the_asking_process_is_killed(tmp_path: Path, way: str, point: str) -> None:
    if point.startswith("park") and way == "wait":
        pytest.skip("it does not park")
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    with Child(PROGRAM, "run", path, way, point, ledger=ledger) as child:
        child.until("point", *point.split())
        child.kill()
    # Before the commit nothing of it is stored; after it all is, although nobody was told.
    stored = {"a/q"} if point != "ask begin" and point != "ask before-commit" else set[str]()
    assert waits_for_answer(path) == stored | ({"a"} if point == "park after-commit" else set[str]())
    with Child(PROGRAM, "run", path, way, point, "again", ledger=ledger) as child:
        child.until("submitted")
        wait_until(path, "a/q", *(["a"] if way == "park" else []))
        answered(path, ledger)
        assert child.until("result") == ["answered", "yes"]
        child.rest()
    with closing(sqlite3.connect(path)) as connection:
        types = [row[0] for row in connection.execute("SELECT type FROM events WHERE job = 2 ORDER BY seq")]
    assert types == ["submitted", "asked", "completed"], "asked once, answered once"


@pytest.mark.parametrize("way", ["wait", "park"])
def test_it_is_killed_while_it_waits_and_answered_meanwhile(tmp_path: Path, way: str) -> None:
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    with Child(PROGRAM, "run", path, way, "none", ledger=ledger) as child:
        wait_until_asked(child, path, way)
        child.kill()
    answered(path, ledger)
    with Child(PROGRAM, "run", path, way, "none", "again", ledger=ledger) as child:
        assert child.until("result") == ["answered", "yes"]
        child.rest()


def wait_until_asked(child: Child, path: Path, way: str) -> None:
    child.until("submitted")
    wait_until(path, "a/q", *(["a"] if way == "park" else []))


@pytest.mark.parametrize("way", ["wait", "park"])
@pytest.mark.parametrize("at", COMMIT)
def test_the_answering_process_is_killed_and_the_answer_is_sent_again(tmp_path: Path, way: str, at: str) -> None:
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    with Child(PROGRAM, "run", path, way, "none", ledger=ledger) as asking:
        wait_until_asked(asking, path, way)
        with Child(PROGRAM, "answer", path, f"answer {at}", ledger=ledger) as child:
            child.until("point", "answer", at)
            child.kill()
        if at == "after-commit":
            assert asking.until("result") == ["answered", "yes"]
        else:
            assert "a/q" in waits_for_answer(path)
        answered(path, ledger)
        if at != "after-commit":
            assert asking.until("result") == ["answered", "yes"]
        asking.rest()
