"""State files of daemons: held is running, free is not, whatever the file says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from msgspec import json
from msgspec.structs import replace

from asyncjobs.cli.state_files import DaemonState, StateFile, is_alive
from asyncjobs.host import this_process


def state(name: str = "default", store: str = "jobs.db") -> DaemonState:
    return DaemonState(name=name, store=store, process=this_process(), version="1", started_at=1.0, arguments=[])


def test_the_lock_tells_who_runs(tmp_path: Path) -> None:
    file = StateFile("default", "jobs.db", tmp_path)
    assert file.look() is None
    assert file.acquire(state()) is None
    assert file.path.stat().st_mode & 0o777 == 0o600
    found = StateFile("default", "jobs.db", tmp_path).look()
    assert found is not None
    assert (found.running, found.state) == (True, state())
    second = StateFile("default", "jobs.db", tmp_path)
    held = second.acquire(state())
    assert held is not None
    assert held.running
    file.release()
    assert second.look() is None
    assert second.acquire(state()) is None
    second.release()


def test_two_projects_may_name_theirs_alike(tmp_path: Path) -> None:
    one, other = StateFile("default", "/a/jobs.db", tmp_path), StateFile("default", "/b/jobs.db", tmp_path)
    assert one.acquire(state()) is None
    assert other.acquire(state(store="/b/jobs.db")) is None
    assert len(list(tmp_path.iterdir())) == 2
    one.release()
    other.release()


def test_what_a_dead_daemon_left_says_so(tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from asyncjobs.cli.state_files import StateFile; from tests.unit.test_state_files import state\n"
        "StateFile('default', 'jobs.db', Path(sys.argv[1])).acquire(state()); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), os.getcwd()], check=False)
    file = StateFile("default", "jobs.db", tmp_path)
    found = file.look()
    assert found is not None
    assert found.state is not None
    assert (found.running, is_alive(found.state)) == (False, False)
    assert file.acquire(state()) is None  # the next one simply takes it
    file.release()


def test_news_replace_what_was_said(tmp_path: Path) -> None:
    file = StateFile("default", "jobs.db", tmp_path)
    assert file.acquire(replace(state(), log="x" * 500)) is None
    file.write(replace(state(), ready=True))
    found = file.look()
    assert found is not None
    assert found.state == replace(state(), ready=True)
    file.release()


def test_a_damaged_file_is_no_state(tmp_path: Path) -> None:
    file = StateFile("default", "jobs.db", tmp_path)
    tmp_path.joinpath(file.path.name).write_bytes(b"{")
    found = file.look()
    assert found is not None
    assert (found.state, found.running) == (None, False)


def test_waiting_for_the_end(tmp_path: Path) -> None:
    file = StateFile("default", "jobs.db", tmp_path)
    assert file.acquire(state()) is None
    other = StateFile("default", "jobs.db", tmp_path)
    assert not other.wait_released(0.01)
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(other.wait_released(20)))
    waiting.start()
    file.release()
    waiting.join(20)
    assert results == [True]
    assert file.wait_released(0)  # there is nothing to wait for


def test_a_number_that_another_process_has_now_says_nothing(tmp_path: Path) -> None:
    file = StateFile("default", "jobs.db", tmp_path)
    left = replace(state(), process=replace(this_process(), pid=os.getppid()))  # lives, and is none of ours
    tmp_path.joinpath(file.path.name).write_bytes(json.encode(left))
    found = file.look()
    assert found is not None
    assert (found.running, found.state) == (False, left)
    assert file.acquire(state()) is None
    file.release()


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    file = StateFile("default", "jobs.db", tmp_path)
    file.path.symlink_to(precious)
    assert file.look() is None
    with pytest.raises(OSError, match="symbolic links"):
        file.acquire(state())
    assert precious.read_text() == "precious"
