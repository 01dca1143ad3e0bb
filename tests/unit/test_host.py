"""Who is who, who is gone, who holds the lock: asked of real processes, ready when their pipe says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from asyncjobs.backends.sqlite.errors import locked_message
from asyncjobs.backends.sqlite.files import open_connection, prepare_file
from asyncjobs.backends.sqlite.ids import worker_id, worker_number
from asyncjobs.backends.sqlite.mounts import filesystem, network_filesystem
from asyncjobs.config import SQLiteConfig
from asyncjobs.host import is_gone, lock_holder, this_process

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told by /proc")

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = " + sys.argv[2])
connection.execute("BEGIN " + sys.argv[3])
print("holding", flush=True)
sys.stdin.read()
"""
WAIT = "import sys; print('there', flush=True); sys.stdin.read()"


@contextmanager
def python(code: str, *arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    """A process that has said that it is ready, and ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.kill()


def test_this_process_is_there() -> None:
    me = this_process()
    assert me.pid == os.getpid()
    assert not is_gone(me, me)


@linux
def test_linux_tells_boot_namespace_and_start() -> None:
    me = this_process()
    assert len(me.boot) == 36
    assert me.pid_namespace.startswith("pid:[")
    assert int(me.start) > 0


@linux
def test_another_boot_is_gone() -> None:
    me = this_process()
    assert is_gone(replace(me, boot="another"), me)


def test_of_another_container_nothing_can_be_told() -> None:
    me = this_process()
    assert not is_gone(replace(me, pid_namespace="pid:[1]", pid=2**22 + 1), me)
    assert not is_gone(replace(me, host="container", pid=2**22 + 1), me)


@linux
def test_a_number_used_by_a_later_process_is_gone() -> None:
    me = this_process()
    assert is_gone(replace(me, start=str(int(me.start) - 1)), me)


def test_a_process_without_a_known_start_is_there() -> None:
    me = this_process()
    assert not is_gone(replace(me, start=""), me)


@pytest.mark.parametrize("pid", [0, -1, 10**12])
def test_a_number_no_process_can_have_tells_nothing(pid: int) -> None:
    me = this_process()
    assert not is_gone(replace(me, pid=pid), me)


def test_a_process_that_ended_is_gone() -> None:
    me = this_process()
    with python(WAIT) as process:
        other = replace(me, pid=process.pid, start="")
        assert not is_gone(other, me)
    assert is_gone(other, me)


@linux
def test_a_zombie_is_gone() -> None:
    me = this_process()
    with python(WAIT) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note
        assert is_gone(replace(me, pid=process.pid, start=""), me)


@linux
def test_a_command_may_hold_spaces_and_parentheses(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to(sys.executable)
    code = "import sys; sys.path[:] = [p for p in sys.argv[1].split(':')]\n" + WAIT.replace(
        "'there'", "open('/proc/self/stat').read().strip()"
    )
    process = subprocess.Popen(
        [odd, "-S", "-c", code, ":".join(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHOME": sys.base_prefix},
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "a) S 1 (b" in line
        me = this_process()
        start = line.rsplit(")", 1)[1].split()[19]
        assert not is_gone(replace(me, pid=process.pid, start=start), me)
        assert is_gone(replace(me, pid=process.pid, start=start + "0"), me)
        process.kill()


@linux
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_the_holder_of_the_lock_is_named(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "jobs.db"
    with python(HOLD, str(path), mode, "IMMEDIATE") as process:
        holder = lock_holder(path)
        assert holder is not None
        assert holder.startswith(f"pid {process.pid} ({sys.executable} -c")
        assert len(holder) < 150
        assert locked_message(path, 30) == f"{path} is locked for 30 s by {holder}"
    assert lock_holder(path) is None
    assert locked_message(path, None) == f"{path} is locked by another process"


@linux
def test_a_reader_holds_no_write_lock(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with python(HOLD.replace("IMMEDIATE", "DEFERRED"), str(path), "WAL", "DEFERRED"):
        assert lock_holder(path) is None


@linux
def test_this_process_is_named_as_such(tmp_path: Path) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db")
    connection = open_connection(config, prepare_file(config), busy_timeout=0)
    connection.execute("BEGIN IMMEDIATE")
    assert lock_holder(config.file) == f"pid {os.getpid()} (this process)"
    connection.close()


def test_of_a_missing_file_there_is_no_holder(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "nothing.db") is None


# -- small neighbours


def test_worker_ids() -> None:
    assert worker_id(7) == "w7"
    assert worker_number("w7") == 7
    assert [worker_number(text) for text in ("", "w", "7", "x7", "w-1", "w1.5", "w²", "w" + "9" * 19)] == [0] * 8


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:40 / /home rw,relatime shared:5 master:2 - nfs4 server:/home rw,vers=4.2
41 40 8:1 / /home/local rw - xfs /dev/sda1 rw
42 27 0:42 / /mnt/with\040space rw - fuse.sshfs me@host:/ rw
43 27 0:43 / /mnt/twice rw - ext4 /dev/sdb rw
44 43 0:44 / /mnt/twice rw - cifs //server/share rw
45 27 0:45 / /mnt/overlay rw - fuse.mergerfs a:b rw
46 27 0:46 / /mnt/windows rw - 9p drvfs rw
47 27 0:47 / /mnt/bucket rw - fuse.gcsfuse bucket rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/jobs.db", None),
        ("/home/me/jobs.db", "nfs4"),
        ("/home/local/jobs.db", None),
        ("/homes/jobs.db", None),
        ("/mnt/with space/jobs.db", "fuse.sshfs"),
        ("/mnt/twice/jobs.db", "cifs"),
        ("/mnt/overlay/jobs.db", None),
        ("/mnt/windows/jobs.db", "9p"),
        ("/mnt/bucket/jobs.db", "fuse.gcsfuse"),
    ],
)
def test_network_file_systems_are_told_by_the_longest_mount_point(path: str, kind: str | None) -> None:
    assert network_filesystem(path, MOUNTS) == kind


def test_without_mounts_nothing_is_refused() -> None:
    assert network_filesystem("/jobs.db", "") is None


def test_the_type_of_any_file_system_is_told() -> None:
    assert filesystem("/mnt/twice/jobs.db", MOUNTS) == "cifs"
    assert filesystem("/srv/jobs.db", MOUNTS) not in ("", None)
    assert filesystem("/jobs.db", "") == ""
