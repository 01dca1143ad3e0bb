"""SIGINT and SIGTERM at any moment of a command: one line, and an exit code that says what was ended."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from asyncjobs import JobProcessor
from asyncjobs.cli.daemon_process import DaemonProcess
from asyncjobs.cli.state_files import DaemonState, StateFile
from asyncjobs.host import this_process
from tests.cli.support import PATIENCE, Shell
from tests.cli.test_daemon import APP, state_of, until

pytestmark = pytest.mark.slow

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP

SLOW_IMPORT = """
import sys, threading

print("importing", file=sys.stderr, flush=True)
threading.Event().wait(30)


async def f():
    pass
"""

HELD = """
import pathlib, threading, time


async def f():
    pass


def hold():
    threading.main_thread().join()  # the interpreter waits for this thread once everything else has been done
    while not pathlib.Path("go").exists():
        time.sleep(0.01)


threading.Thread(target=hold).start()
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a job that waits for a worker."""
    shell = Shell(tmp_path_factory.mktemp("stored"))
    shell.good("--db", "jobs.db", "jobs", "submit", "app:add", "--arg", "a=1", "--id", "waits")
    return shell.folder / "jobs.db"


@pytest.fixture
def waiting(shell: Shell, stored: Path) -> Shell:
    """The same in a folder of its own: a command less in each test."""
    shutil.copy2(stored, shell.folder)
    return shell


def line_with(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    return next(line for line in process.stderr if text in line)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    rest = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, rest


def held(shell: Shell) -> subprocess.Popen[str]:
    (shell.folder / "held.py").write_text(HELD)
    daemon = shell.start("--db", "jobs.db", "daemon", "start", "--allow", "held")
    line_with(daemon, "is ready")
    return daemon


# -- a daemon that is ready


@pytest.mark.parametrize(
    ("first", "late", "code"),
    [
        (TERM, [TERM], 0),
        (INT, [INT], 0),
        (INT, [TERM], 0),
        (TERM, [HUP], 0),
        (TERM, [TERM, TERM], 143),
        (INT, [INT, INT], 130),
    ],
)
def test_signals_after_all_has_been_done_change_nothing_until_the_third_one(
    shell: Shell, first: signal.Signals, late: Sequence[signal.Signals], code: int
) -> None:
    daemon = held(shell)
    daemon.send_signal(first)
    line_with(daemon, "stopped")
    until(lambda: not list((shell.folder / "state" / "asyncjobs").glob("*.json")))
    for number in late[:-1]:
        daemon.send_signal(number)
        until(lambda: not pending(daemon.pid))
    daemon.send_signal(late[-1])
    if code == 0:
        until(lambda: not pending(daemon.pid))
        (shell.folder / "go").touch()
    else:  # Python takes two that come at once for one
        until(lambda: daemon.poll() is not None or daemon.send_signal(late[-1]))
    assert ended(daemon)[0] == code


@pytest.mark.anyio
async def test_a_second_signal_between_the_drain_and_the_end_of_the_loop_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    jp = JobProcessor(tmp_path / "jobs.db")  # left already, as far as signals see it: it has no daemon
    initial = DaemonState("default", "jobs.db", this_process(), "1", 0.0, [])
    process = DaemonProcess(jp, cast("StateFile", None), initial)
    process._stop(TERM)
    process._stop(TERM)
    assert codes == []
    process._stop(TERM)
    assert codes == [143]


def pending(pid: int) -> bool:
    """Whether signals have been sent to a process that its kernel has not delivered."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return any(int(fields[name], 16) for name in ("SigPnd", "ShdPnd"))


@pytest.mark.parametrize("command", [("stop",), ("stop", "--now")])
def test_a_daemon_that_is_stopped_ends_with_0(shell: Shell, command: tuple[str, ...]) -> None:
    daemon = shell.start(*APP, "daemon", "start")
    line_with(daemon, "is ready")
    shell.good(*APP, "daemon", *command)
    code, said = ended(daemon)
    assert (code, "stopped" in said, "Traceback" in said) == (0, True, False)


def test_stop_now_after_a_stop_that_took_too_long_hands_back_and_interrupts_nothing(shell: Shell) -> None:
    daemon = shell.start(*APP, "daemon", "start")
    line_with(daemon, "is ready")
    shell.good(*APP, "jobs", "submit", "app:slow", "--id", "nap")
    until(lambda: shell.stored("nap") == "in_progress")
    for _ in range(2):  # the second one does not hand back, either: it is not the second signal
        assert shell.run(*APP, "daemon", "stop", "--timeout", "0.3s").code == 5
    assert shell.stored("nap") == "in_progress"
    shell.good(*APP, "daemon", "stop", "--now")
    code, said = ended(daemon)
    assert (code, "exiting immediately" in said) == (0, False)
    job = shell.good("--json", *APP, "jobs", "show", "nap").json
    assert (job["status"], job["interruptions"], job["failures"]) == ("pending", 0, 0)


# -- a command that is not ready, or that waits


@pytest.mark.parametrize(("number", "code", "line"), [(INT, 130, "✖ interrupted"), (TERM, 143, "✖ ended by SIGTERM")])
class TestEnded:
    @pytest.mark.parametrize(
        "command", [("daemon", "start", "--allow", "late"), ("jobs", "submit", "late:f", "--wait")]
    )
    def test_while_it_imports_the_program(
        self, shell: Shell, number: signal.Signals, code: int, line: str, command: tuple[str, ...]
    ) -> None:
        (shell.folder / "late.py").write_text(SLOW_IMPORT)
        process = shell.start("--db", "jobs.db", *command)
        line_with(process, "importing")
        began = time.monotonic()
        process.send_signal(number)
        assert ended(process) == (code, f"{line}\n")
        assert time.monotonic() - began < 20, "it does not wait for the import, which takes half a minute"

    def test_while_a_daemon_is_started_in_the_background(
        self, shell: Shell, number: signal.Signals, code: int, line: str
    ) -> None:
        (shell.folder / "late.py").write_text(SLOW_IMPORT.replace("print(", "open('importing', 'w'); print("))
        process = shell.start("--db", "jobs.db", "daemon", "start", "-d", "--allow", "late")
        until((shell.folder / "importing").exists)
        process.send_signal(number)
        assert ended(process) == (code, f"{line}\n  → daemon 'default' was not started\n")
        assert shell.run("--db", "jobs.db", "daemon", "status").code == 3

    @pytest.mark.parametrize(
        "command",
        [
            ("web", "--port", "0"),
            ("daemon", "start", "--app", "app:jp"),
            ("jobs", "list"),
            ("jobs", "submit", "app:add", "--arg", "a=1"),
        ],
    )
    def test_while_another_program_has_the_store_for_itself(
        self, waiting: Shell, number: signal.Signals, code: int, line: str, command: tuple[str, ...]
    ) -> None:
        """Opening the store waits for it, half a minute if nothing ends that."""
        with locked(waiting, "EXCLUSIVE"):
            process = waiting.start("--db", "jobs.db", *command)
            until(lambda: opened(process.pid, "jobs.db"))
            self._ended_soon(process, number, code, line)

    @pytest.mark.parametrize(
        "command", [("daemon", "start", "--app", "app:jp"), ("jobs", "submit", "app:add", "--arg", "a=1")]
    )
    def test_while_another_program_writes_to_the_store(
        self, waiting: Shell, number: signal.Signals, code: int, line: str, command: tuple[str, ...]
    ) -> None:
        """The store is open, and the first thing to be stored waits."""
        with locked(waiting, "NORMAL"):
            process = waiting.start("--db", "jobs.db", *command)
            until(lambda: opened(process.pid, "jobs.db-wal"))
            time.sleep(0.5)  # what waits then is silent
            self._ended_soon(process, number, code, line)

    @staticmethod
    def _ended_soon(process: subprocess.Popen[str], number: signal.Signals, code: int, line: str) -> None:
        began = time.monotonic()
        process.send_signal(number)
        ended_with, said = ended(process)
        assert (ended_with, said.splitlines()[-1], "Traceback" in said) == (code, line, False)
        assert time.monotonic() - began < 5, "a second, on a machine that has nothing else to do"

    @pytest.mark.parametrize(
        "command",
        [
            ("jobs", "watch", "waits"),
            ("jobs", "result", "waits", "--wait"),
            ("jobs", "submit", "app:add", "--arg", "a=1", "--wait", "--id", "mine"),
        ],
    )
    def test_while_it_waits_for_a_job(
        self, waiting: Shell, number: signal.Signals, code: int, line: str, command: tuple[str, ...]
    ) -> None:
        process = waiting.start("--db", "jobs.db", *command)
        line_with(process, "no worker is alive")
        line_with(process, "daemon start")
        process.send_signal(number)
        goes_on = "  → the job continues: asyncjobs --db jobs.db jobs watch mine\n" if "mine" in command else ""
        assert ended(process) == (code, f"{line}\n{goes_on}")

    def test_in_the_demo_whose_jobs_run_in_it(self, shell: Shell, number: signal.Signals, code: int, line: str) -> None:
        process = shell.start("demo", "--jobs", "500")
        assert process.stdout is not None
        line_with(process, "A comic of")
        next(line for line in process.stdout if "started" in line)
        process.send_signal(number)
        ended_with, said = ended(process)
        assert (ended_with, said.splitlines()[-1], "Traceback" in said) == (code, line, False)


@contextmanager
def locked(shell: Shell, mode: str = "EXCLUSIVE") -> Generator[None]:
    """Another program holds the store: against all others, or (NORMAL) against those who write."""
    lock = sqlite3.connect(shell.folder / "jobs.db", isolation_level=None)
    lock.execute(f"PRAGMA locking_mode = {mode}")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        lock.close()


def opened(pid: int, name: str) -> bool:
    targets: list[str] = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            targets.append(os.readlink(path))
    return any(Path(target).name == name for target in targets)


def test_what_is_asked_for_as_json_ends_with_json(waiting: Shell) -> None:
    process = waiting.start("--db", "jobs.db", "--json", "jobs", "watch", "waits")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(TERM)
    code, said = ended(process)
    assert (code, '{"code":"interrupted","detail":"ended by SIGTERM","exit_code":143}' in said) == (143, True)


@pytest.mark.parametrize("number", [INT, TERM])
def test_the_web_is_ended_by_signals_as_it_should_be(shell: Shell, number: signal.Signals) -> None:
    web = shell.start("--db", "jobs.db", "web", "--port", "0")
    line_with(web, "/v1/")
    web.send_signal(number)
    web.send_signal(number)
    code, said = ended(web)
    assert (code, "Traceback" in said) == (0, False)


def test_a_daemon_that_is_not_ready_is_stopped_too(waiting: Shell) -> None:
    with locked(waiting):
        process = waiting.start("--db", "jobs.db", "daemon", "start", "--app", "app:jp")
        until(lambda: opened(process.pid, "jobs.db"))
        assert state_of(waiting).exists()
        waiting.good("--db", "jobs.db", "daemon", "stop", "--now")
        code, said = ended(process)
    assert (code, said.splitlines()[-1]) == (143, "✖ ended by SIGTERM")
