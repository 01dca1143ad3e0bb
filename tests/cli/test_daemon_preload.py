"""``daemon start --preload``: the module is there before the daemon is ready, or the start ends with its name."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.cli.support import PATIENCE, Shell, until

pytestmark = pytest.mark.slow

STATE = """
import gc, sys

async def state():
    return ["library" in sys.modules, gc.get_freeze_count() > 1000]
"""
START = ("--db", "jobs.db", "daemon", "start")
HANGS = "import threading\nprint('importing', flush=True)\nthreading.Event().wait(60)\n"
KEEPS = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"


@pytest.fixture
def preloading(shell: Shell) -> Shell:
    (shell.folder / "state.py").write_text(STATE)
    (shell.folder / "library.py").write_text("print('a banner')\n")
    return shell


def state(shell: Shell) -> list[bool]:
    return shell.good("--db", "jobs.db", "jobs", "submit", "state:state", "--wait").json


@pytest.mark.parametrize("source", ["flag", "file", "environment", "nothing"])
def test_a_daemon_has_what_it_preloads_wherever_that_is_set(preloading: Shell, source: str) -> None:
    flags = ("--preload", "json", "--preload", "library") if source == "flag" else ()
    if source == "file":
        (preloading.folder / "asyncjobs.toml").write_text('[daemon]\npreload = ["json", "library"]\n')
    environment = {"ASYNCJOBS_DAEMON_PRELOAD": "json, library"} if source == "environment" else {}
    preloading.good(*START, "-d", "--allow", "state", *flags, **environment)
    try:
        assert state(preloading) == [source != "nothing", True]  # it excludes what is loaded from collections anyway
        log = preloading.good("--db", "jobs.db", "daemon", "logs").out
        assert ("a banner" in log) == ("preloaded json, library in" in log) == (source != "nothing")
    finally:
        preloading.good("--db", "jobs.db", "daemon", "stop", "--now")


def test_with_an_application_too_and_what_it_was_started_with_is_kept_by_a_restart(preloading: Shell) -> None:
    (preloading.folder / "shop.py").write_text(
        "from asyncjobs import JobProcessor, SQLiteConfig\nfrom state import state\n"
        "jp = JobProcessor(SQLiteConfig(db_path='jobs.db'), functions=[state])\n"
    )
    preloading.good("--app", "shop:jp", "daemon", "start", "-d", "--preload", "library")
    try:
        assert state(preloading) == [True, True]
        preloading.good("--app", "shop:jp", "daemon", "restart")
        assert state(preloading) == [True, True]
    finally:
        preloading.good("--db", "jobs.db", "daemon", "stop", "--now")


def test_threads_of_a_module_do_not_keep_the_daemon_from_ending(preloading: Shell) -> None:
    (preloading.folder / "keeps.py").write_text(KEEPS)
    daemon = preloading.start(*START, "--allow", "state", "--preload", "keeps")
    until(lambda: preloading.run("--db", "jobs.db", "daemon", "status", "--check").code == 0)
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=PATIENCE)
    assert daemon.returncode == 0


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "background"])
@pytest.mark.parametrize(
    ("source", "reason", "hint"),
    [
        (None, "ModuleNotFoundError: No module named 'broken'", "install it for this Python, or correct the name"),
        ("raise LookupError('no licence')", "LookupError: no licence", "python -c 'import broken'"),
        ("import sys; sys.exit(0)", "SystemExit: 0", "put that under 'if __name__ =="),
    ],
)
def test_an_import_that_fails_ends_the_start(
    preloading: Shell, source: str | None, reason: str, hint: str, detach: tuple[str, ...]
) -> None:
    if source is not None:
        (preloading.folder / "broken.py").write_text(source)
    ran = preloading.run(*START, *detach, "--allow", "state", "--preload", "library", "--preload", "broken")
    assert ran.code == 2
    assert f"preload: module 'broken' cannot be imported: {reason}" in " ".join(ran.err.split())
    assert hint in ran.err
    assert preloading.run("--db", "jobs.db", "daemon", "status").code == 3


@pytest.mark.parametrize("name", ["os.path:join", "a b", "", "a..b", "lib.py/"])
def test_what_is_no_name_of_a_module_is_refused_with_its_source(preloading: Shell, name: str) -> None:
    ran = preloading.run(*START, "--allow", "state", "--preload", name)
    assert ran.code == 2
    assert f"daemon.preload cannot be [{name!r}] (from the flag --preload)" in ran.err


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "background"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_start_while_a_module_hangs(
    preloading: Shell, number: signal.Signals, code: int, detach: tuple[str, ...]
) -> None:
    (preloading.folder / "hangs.py").write_text(KEEPS + HANGS)
    daemon = preloading.start(*START, *detach, "--allow", "state", "--preload", "hangs")
    if detach:
        log = until(lambda: next((preloading.folder / "state").rglob("*.log"), None))
        until(lambda: "importing" in log.read_text())
    else:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "importing\n"
    daemon.send_signal(number)
    try:
        _, err = daemon.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        daemon.kill()
        raise
    assert daemon.returncode == code, err
    assert preloading.run("--db", "jobs.db", "daemon", "status").code == 3


def test_a_signal_that_the_thread_of_the_import_receives_ends_the_start(preloading: Shell) -> None:
    (preloading.folder / "hangs.py").write_text(f"import signal\nsignal.raise_signal(signal.SIGTERM)\n{HANGS}")
    daemon = preloading.start(*START, "--allow", "state", "--preload", "hangs")
    try:
        daemon.communicate(timeout=PATIENCE)
    finally:
        daemon.kill()
    assert daemon.returncode == 143


def test_a_module_that_prints_while_it_is_imported_does_not_abort_the_end(preloading: Shell) -> None:
    (preloading.folder / "prints.py").write_text("print('importing', flush=True)\nwhile True:\n    print('.' * 99)\n")
    daemon = preloading.start(*START, "--allow", "state", "--preload", "prints")
    assert daemon.stdout is not None
    assert daemon.stderr is not None
    assert daemon.stdout.readline() == "importing\n"
    daemon.send_signal(signal.SIGTERM)
    try:
        code = daemon.wait(PATIENCE)  # nobody reads: the thread holds the lock of its stream, and the pipe is full
        assert (code, "Fatal" in daemon.stderr.read()) == (143, False)
    finally:
        daemon.kill()
        daemon.communicate()
