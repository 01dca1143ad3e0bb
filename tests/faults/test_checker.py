"""The checker is worth something: it catches each seeded defect, and finds nothing without one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults import checker
from tests.faults.children import Child
from tests.faults.crash import crash_run
from tests.faults.try_lock import attempt

SEED = 20_261
SCENARIOS = "tests.faults.scenarios"

KILLS = {
    "": {"begin": 1, "before-commit": 1, "after-commit": 1, "body": 1},
    "release_before_commit": {"before-commit": 25},  # it stops at the first one that shows it
    "event_outside_the_transaction": {"after-commit": 5},
    "double_release": {"progress": 3},
}
SENTENCES = {
    "release_before_commit": ("was acknowledged", "its claim is not stored"),
    "event_outside_the_transaction": ("the events tell",),
    "double_release": ("cannot follow status",),
}


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize("defect", KILLS)
def test_a_crash_run_with_a_defect(tmp_path: Path, defect: str) -> None:
    run = crash_run(tmp_path, SEED, KILLS[defect], size=60, defect=defect, earliest=8, give_up_at_once=True)
    if not defect:
        assert not run.problems
    else:
        assert any(sentence in problem for problem in run.problems for sentence in SENTENCES[defect]), run.problems


def freeze(child: Child, path: Path) -> None:
    """SIGSTOP, outside of a transaction: inside of one, a stopped process stops every writer."""
    while True:
        child.process.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)  # it has stopped
        if attempt(str(path)) == "free":
            return
        child.process.send_signal(signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize("defect", ["", "no_fencing"])
def test_a_frozen_worker_that_goes_on(tmp_path: Path, defect: str) -> None:
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    first, second = Path(f"{tmp_path}/pipe1"), Path(f"{tmp_path}/pipe2")
    os.mkfifo(first)
    os.mkfifo(second)
    arguments = ("run", path, 0.9)
    with Child(SCENARIOS, *arguments, "read_line", "job", f"{tmp_path}/pipe", ledger=ledger, defect=defect) as frozen:
        assert frozen.until("started") == ["job", "1"]
        with Child(SCENARIOS, *arguments, ledger=ledger, defect=defect) as other:
            other.until("opened")
            freeze(frozen, path)
            assert other.until("started") == ["job", "2"]  # its lease ran out, and the job is another's
            frozen.process.send_signal(signal.SIGCONT)
            with open(first, "w"):  # its body ends, while the other still has the job
                pass
            assert frozen.until("recorded") == ["job", "1", "JobStatus" if defect else "Stale"]
            if not defect:  # with it, the second end would be an error: the damage is done
                with open(second, "w"):
                    pass
                assert other.until("recorded") == ["job", "2", "JobStatus"]
                for child in (frozen, other):
                    child.say("end")
                    child.rest()
                    assert child.end() == 0, child.errors()
    problems = checker.check_everything(checker.read_store(path), checker.read_ledger(ledger))
    assert bool(problems) == bool(defect), problems


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize("defect", ["", "forgotten_second_broken_parent"])
def test_a_retry_with_a_second_broken_parent(tmp_path: Path, defect: str) -> None:
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    with Child(SCENARIOS, "two_broken_parents", path, ledger=ledger, defect=defect) as child:
        child.rest()
        assert child.end() == 0, child.errors()
    problems = checker.check_everything(checker.read_store(path), checker.read_ledger(ledger))
    assert bool(problems) == bool(defect), problems
