"""Leaving is announced, and SIGTERM leaves as Ctrl-C does: programs with a processor inside, and real signals.

The programs are the scenarios of ``signal_program``.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.web_server import ROOT

PROGRAM = ROOT / "tests" / "faults" / "signal_program.py"
PATIENCE = 60.0
SOON = 15.0
"""Seconds within which a program is gone that was told to be; its jobs would take a minute, its patience ten."""

pytestmark = pytest.mark.slow

HALF_A_MINUTE = "get up to 30 s to end"


class Program:
    """A scenario in a process of its own."""

    def __init__(self, folder: Path, scenario: str, how: str = "asyncio") -> None:
        self.store = folder / "jobs.db"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), scenario, str(self.store), how],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()) != "ready\n":
            assert line, self._process.communicate()[1]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def until(self, words: str) -> str:
        """Read what it logs until it logs this; the line."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if words in line:
                return line
        raise AssertionError(f"it ended without {words!r}")

    def has_ended(self, within: float) -> bool:
        """Wait for its end; False: it has not come by then."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, within: float = PATIENCE) -> tuple[int, str, str]:
        """Exit code, output, and what it has logged (since ``until``)."""
        out, log = self._process.communicate(timeout=within)
        return self._process.returncode, out, log

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def jobs(self, store: Path | None = None) -> dict[str, tuple[str, int, int]]:
        """Status, failures and interruptions of the jobs in its store."""
        names = ["pending", "in_progress", "completed", "failed"]
        with sqlite3.connect(store or self.store) as connection:
            rows = connection.execute("SELECT id, status, failures, interruptions FROM jobs").fetchall()
        connection.close()
        return {row[0]: (names[row[1]], row[2], row[3]) for row in rows}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    programs: list[Program] = []

    def start(scenario: str, how: str = "asyncio") -> Program:
        programs.append(Program(tmp_path, scenario, how))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


COMPLETED = ("completed", 0, 0)
BACK = ("pending", 0, 0)


# -- SIGTERM


@pytest.mark.parametrize("how", ["asyncio", "anyio", "loop"])
def test_sigterm_drains_and_then_the_process_dies_of_it(run: Any, how: str) -> None:
    program = run("jobs_that_end", how)
    program.send(signal.SIGTERM)
    assert HALF_A_MINUTE in program.until("leaving: 2 jobs still run")
    code, out, _ = program.end()
    assert code == -signal.SIGTERM
    assert "left the block around it" in out  # the program leaves what is around, and what it printed is not lost
    assert program.jobs() == {"nap": COMPLETED, "work": COMPLETED}


def test_what_does_not_end_in_time_goes_back_uncounted(run: Any) -> None:
    program = run("a_job_that_does_not_end")
    program.send(signal.SIGTERM)
    assert program.end()[0] == -signal.SIGTERM
    assert program.jobs() == {"nap": BACK}


def test_a_second_sigterm_hands_back_at_once(run: Any) -> None:
    program = run("patient")
    program.send(signal.SIGTERM)
    assert "a second SIGTERM hands back at once" in program.until("leaving: 2 jobs still run")
    program.send(signal.SIGTERM)
    code, _, log = program.end(SOON)
    assert code == -signal.SIGTERM
    assert "handing back 2 running jobs now" in log
    assert program.jobs() == {"nap": BACK, "work": BACK}


def test_a_third_sigterm_ends_the_process(run: Any) -> None:
    program = run("patient")
    program.send(signal.SIGTERM)
    program.until("leaving")
    program.send(signal.SIGTERM)
    program.until("handing back")
    program.send(signal.SIGTERM)
    began = time.monotonic()
    assert program.end(SOON)[0] == -signal.SIGTERM
    assert time.monotonic() - began < 5


def test_nested_processors_are_both_left(run: Any) -> None:
    program = run("nested")
    program.send(signal.SIGTERM)
    assert program.end()[0] == -signal.SIGTERM
    assert program.jobs() == program.jobs(Path(f"{program.store}.second")) == {"nap": COMPLETED}


def test_processors_of_several_tasks_are_all_left_before_the_process_dies(run: Any) -> None:
    program = run("in_two_tasks")
    program.send(signal.SIGTERM)
    assert program.end()[0] == -signal.SIGTERM
    assert program.jobs() == program.jobs(Path(f"{program.store}.second")) == {"nap": COMPLETED}


def test_entered_by_a_task_that_has_ended_it_drains_by_itself(run: Any) -> None:
    program = run("entered_by_a_task_that_has_ended")
    program.send(signal.SIGTERM)
    assert program.end(SOON)[0] == -signal.SIGTERM
    assert program.jobs() == {"nap": COMPLETED}


def test_a_program_that_swallows_the_cancellation_does_not_live_on(run: Any) -> None:
    program = run("a_task_that_swallows_its_cancellation")
    program.send(signal.SIGTERM)
    code, out, _ = program.end(SOON)
    assert (code, out) == (-signal.SIGTERM, "swallowed\n")
    assert program.jobs() == {"nap": COMPLETED}


def test_a_server_inside_the_block_stops_first(run: Any) -> None:
    """uvicorn takes the signal, and passes it on when it has stopped."""
    program = run("uvicorn_within")
    program.send(signal.SIGTERM)
    assert program.end()[0] == -signal.SIGTERM
    assert program.jobs() == {"nap": COMPLETED}


@pytest.mark.parametrize("scenario", ["a_handler_of_the_programs_own", "a_handler_installed_later"])
def test_a_handler_of_the_program_stays_in_charge(run: Any, scenario: str) -> None:
    program = run(scenario)
    program.send(signal.SIGTERM)
    code, out, _ = program.end()
    assert (code, out) == (0, "the program was told\nand goes on\n")
    assert program.jobs() == {"nap": COMPLETED}


def test_the_handler_goes_with_the_last_processor(run: Any) -> None:
    program = run("restored")
    program.send(signal.SIGTERM)
    assert program.end(SOON)[0] == -signal.SIGTERM


def test_a_forked_child_dies_of_sigterm_as_ever(run: Any) -> None:
    program = run("a_forked_child")
    code, out, log = program.end()
    assert (code, out) == (0, f"the child ended with {-signal.SIGTERM}\n"), log
    assert program.jobs() == {"nap": COMPLETED}


def test_on_trio_too(run: Any) -> None:
    program = run("on_trio", "trio")
    program.send(signal.SIGTERM)
    assert HALF_A_MINUTE.replace("get", "gets") in program.until("leaving: 1 job still runs")
    code, out, _ = program.end()
    assert (code, out) == (-signal.SIGTERM, "slept\n")


# -- Ctrl-C


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
def test_the_second_ctrl_c_hands_back_at_once(run: Any, how: str) -> None:
    program = run("patient", how)
    program.send(signal.SIGINT)
    assert "a second Ctrl-C hands back at once" in program.until("leaving: 2 jobs still run and get up to 600 s")
    program.send(signal.SIGINT)
    code, _, log = program.end(SOON)
    assert code == -signal.SIGINT
    assert "handing back 2 running jobs now" in log
    assert log.rstrip().endswith("KeyboardInterrupt")
    assert program.jobs() == {"nap": BACK, "work": BACK}


def test_a_loop_that_ctrl_c_stops_for_good_leaves_no_thread_that_keeps_the_process(run: Any) -> None:
    """Without ``asyncio.run`` nobody leaves the block; the jobs are those of a process that is dead."""
    program = run("jobs_that_end", "loop")
    program.send(signal.SIGINT)
    code, _, log = program.end(SOON)
    assert (code, "KeyboardInterrupt" in log) == (-signal.SIGINT, True)


def test_a_loop_that_is_run_again_after_ctrl_c_leaves_in_order(run: Any) -> None:
    program = run("patient", "loop in order")
    program.send(signal.SIGINT)
    program.until("leaving: 2 jobs still run")
    program.send(signal.SIGINT)
    program.end(SOON)
    assert program.jobs() == {"nap": BACK, "work": BACK}


def test_ctrl_c_hands_back_what_an_error_waits_for(run: Any) -> None:
    program = run("an_error")
    assert "; Ctrl-C hands back at once" in program.until("leaving: 1 job still runs and gets up to 600 s")
    program.send(signal.SIGINT)
    code, _, log = program.end(SOON)
    assert code == -signal.SIGINT
    assert "ValueError: of the program" in log  # it is not lost
    assert program.jobs() == {"nap": BACK}


def test_a_block_left_in_peace_says_what_it_waits_for_and_ctrl_c_is_raised_when_it_is_left(run: Any) -> None:
    program = run("left_in_peace")
    assert "; Ctrl-C hands back at once" in program.until("leaving: 1 job still runs")
    program.send(signal.SIGINT)
    code, out, _ = program.end(SOON)
    assert (code, out) == (-signal.SIGINT, "")  # it does not go on
    assert program.jobs() == {"nap": BACK}


def test_the_second_ctrl_c_of_a_server_around_the_block_hands_back(run: Any) -> None:
    """uvicorn handles both; the second one sets a flag of its own."""
    program = run("uvicorn_around")
    program.send(signal.SIGINT)
    program.until("leaving: 1 job still runs")
    program.send(signal.SIGINT)
    assert program.end(SOON)[0] != 0
    assert program.jobs() == {"nap": BACK}


# -- jobs that are run at their submit


def test_sigterm_drains_what_submits_run(run: Any) -> None:
    program = run("fallback_jobs_that_end")
    program.send(signal.SIGTERM)
    assert "a second SIGTERM hands back at once" in program.until("leaving: 2 jobs still run")
    assert program.end()[0] == -signal.SIGTERM
    assert program.jobs() == {"nap": COMPLETED, "work": COMPLETED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_hands_back_what_a_submit_runs(run: Any, number: signal.Signals) -> None:
    program = run("fallback_patient")
    program.send(number)
    program.until("leaving: 1 job still runs")
    program.send(number)
    assert program.end(SOON)[0] == -number
    assert program.jobs() == {"nap": BACK}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_cancels_a_submit_hands_its_job_back_at_once(run: Any, number: signal.Signals) -> None:
    program = run("fallback_in_the_submit")
    program.send(number)
    assert program.end(SOON)[0] == -number
    assert program.jobs() == {"nap": BACK}


def test_ctrl_c_in_a_plain_program_hands_back_what_its_submit_runs(run: Any) -> None:
    program = run("sync_fallback_nap", "sync")
    program.send(signal.SIGINT)
    code, _, log = program.end(SOON)
    assert (code, "outcomes could not be stored" in log) == (-signal.SIGINT, False)
    assert program.jobs() == {"job": BACK}


def test_in_a_plain_program_a_thread_is_waited_for_and_the_second_ctrl_c_hands_it_back(run: Any) -> None:
    program = run("sync_fallback_work", "sync")
    program.send(signal.SIGINT)
    assert "a second Ctrl-C hands back at once" in program.until("leaving: 1 job still runs")
    program.send(signal.SIGINT)
    assert program.end(SOON)[0] == -signal.SIGINT
    assert program.jobs() == {"job": BACK}


# -- the third one


def end_by_the_third(program: Any, number: signal.Signals) -> int:
    """Send it three times, each after the last one has been handled: Python takes several at once for one."""
    for _ in range(2):
        program.send(number)
        if program.has_ended(0.7):  # what handles it is as silent as what keeps the program
            break
    else:
        program.send(number)
    code: int = program.end(SOON)[0]
    return code


THIRD = [
    ("a_body_that_blocks_the_loop", "asyncio"),
    ("a_body_that_blocks_the_loop", "anyio"),
    ("a_clean_up_that_blocks_the_loop", "asyncio"),
    ("a_body_that_heeds_no_cancellation", "asyncio"),
    ("a_shielded_clean_up_around_the_block", "asyncio"),
    ("a_shielded_clean_up_inside_of_the_block", "asyncio"),
    ("a_thread_of_the_loops_executor", "asyncio"),
    ("a_thread_of_the_program", "asyncio"),
    ("a_body_that_blocks_the_loop_of_trio", "trio"),
    ("sync_body_that_blocks_the_loop", "sync"),
    ("sync_patient", "sync"),
    ("sync_thread_of_the_program", "sync"),
]
"""What keeps a program that is to end, on which event loop."""


@pytest.mark.parametrize(("scenario", "how"), THIRD)
def test_the_third_ctrl_c_ends_the_process_whatever_keeps_it(run: Any, scenario: str, how: str) -> None:
    assert end_by_the_third(run(scenario, how), signal.SIGINT) == -signal.SIGINT


@pytest.mark.parametrize(("scenario", "how"), THIRD[:6])
def test_so_does_the_third_sigterm(run: Any, scenario: str, how: str) -> None:
    assert end_by_the_third(run(scenario, how), signal.SIGTERM) == -signal.SIGTERM


def test_a_program_that_goes_on_after_ctrl_c_is_ended_by_none(run: Any) -> None:
    code, out, log = run("goes_on", "anyio").end(SOON)
    assert (code, out) == (0, "and goes on\n"), log
