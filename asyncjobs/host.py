"""Identify the processes of this host: which have ended, and which holds a lock on the file.

Linux shows all of it in /proc. Elsewhere one can only check whether a process id is in use, and boots cannot be
distinguished, so leases alone decide.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct

_LOCK_BYTES = range(0x4000_0000, 0x4000_0000 + 512)
"""SQLite's lock bytes in the main file: pending, reserved, 510 shared ones."""
_WAL_WRITE_LOCK = range(120, 121)
"""SQLite's lock byte of the one writer, in the -shm file."""
_WAL_OPEN_LOCK = range(128, 129)
"""SQLite's lock byte of everybody who has the -shm file open."""
_LONGEST_COMMAND = 120


class ProcessIdentity(Struct, frozen=True):
    """The identity of a process, different from that of every other one.

    ``boot`` and ``pid_namespace`` are opaque; ``start`` is clock ticks from boot to its start. Each is "" where the
    system does not provide it.
    """

    host: str
    boot: str
    pid_namespace: str
    pid: int
    start: str


def this_process() -> ProcessIdentity:
    """Return the identity of the calling process. Not cached: a forked child has another one."""
    pid = os.getpid()
    state = _state_and_start(pid) if _proc_is_ours() else None
    return ProcessIdentity(
        host=socket.gethostname(),
        boot=_text("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_link("/proc/self/ns/pid"),
        pid=pid,
        start=state[1] if state else "",
    )


def boot_number(boot: str) -> int | None:
    """Return a boot id as an integer for storage, or None where the system provides none."""
    try:
        return UUID(boot).int & 0x7FFF_FFFF_FFFF_FFFF
    except ValueError:
        return None


def is_gone(identity: ProcessIdentity, me: ProcessIdentity) -> bool:
    """Return whether a process has certainly ended; False if unknown. ``me`` is ``this_process()``."""
    if identity.boot and me.boot and identity.boot != me.boot:
        return True
    # Containers share a boot: their host names differ, and so do their pid namespaces.
    if (identity.host, identity.boot, identity.pid_namespace) != (me.host, me.boot, me.pid_namespace):
        return False
    if identity.pid <= 0:
        return False
    found = _state_and_start(identity.pid) if _proc_is_ours() else None
    if found is None:
        return not _exists(identity.pid)
    state, start = found
    # A zombie no longer runs; its process id stays in use until its parent has waited for it.
    return state in ("Z", "X", "x") or (identity.start != "" and start != identity.start)


def lock_holder(path: str | os.PathLike[str]) -> str | None:
    """Return the holder of the write lock of the database at ``path``, as ``pid 4711 (python app.py)``, if known.

    Only stats the files: opening one would drop every lock this process has on it when it is closed again.
    """
    file = os.path.realpath(path)
    table = _text("/proc/locks")
    for suffix, lock_bytes in (("-shm", _WAL_WRITE_LOCK), ("", _LOCK_BYTES)):
        for pid in _holders(table, file + suffix, "WRITE", lock_bytes):
            return _describe(pid)
    return None


def find_openers(path: str | os.PathLike[str]) -> set[int]:
    """Return the ids of the processes that have the database at ``path`` open, as far as this system shows them.

    SQLite holds a shared lock on the index of the write-ahead log in each of them, also while they do nothing. Those
    of other containers are not shown. Nothing is opened here, either.
    """
    index = f"{os.path.realpath(path)}-shm"
    return {pid for pid in _holders(_text("/proc/locks"), index, "READ", _WAL_OPEN_LOCK) if pid > 0}


def _holders(table: str, target: str, kind: str, lock_bytes: range) -> Iterator[int]:
    """Yield the ids of the processes that hold a lock of this kind on these bytes of a file."""
    try:
        status = os.stat(target)
    except OSError:
        return
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    for pid, found_device, inode in _locks(table, kind, lock_bytes):
        # On overlay and btrfs the lock's device is not the one that stat() gives: then the holder must have the
        # very file open.
        if inode == status.st_ino and (found_device == device or _has_open(pid, target)):
            yield pid


def _locks(table: str, kind: str, lock_bytes: range) -> Iterator[tuple[int, str, int]]:
    """Yield pid, device and inode of the locks of a kind in /proc/locks that touch these bytes."""
    for line in table.splitlines():
        fields = line.split()
        # 1: POSIX  ADVISORY  WRITE 4711 08:01:131074 120 120     a waiting one has "->" as its second field
        if len(fields) != 8 or fields[1] not in ("POSIX", "OFDLCK") or fields[3] != kind:
            continue
        first = int(fields[6])
        last = lock_bytes.stop if fields[7] == "EOF" else int(fields[7])
        if first < lock_bytes.stop and last >= lock_bytes.start:
            device, _, inode = fields[5].rpartition(":")
            yield int(fields[4]), device, int(inode)


def _has_open(pid: int, file: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(_link(f"{folder}/{number}") == file for number in os.listdir(folder))
    except OSError:
        return False


def _describe(pid: int) -> str | None:
    if pid <= 0:
        return None  # a process of another pid namespace, or an open-file-description lock
    if pid == os.getpid():
        return f"pid {pid} (this process)"
    command = " ".join(_text(f"/proc/{pid}/cmdline").replace("\0", " ").split())
    if len(command) > _LONGEST_COMMAND:
        command = command[: _LONGEST_COMMAND - 1] + "…"
    return f"pid {pid} ({command})" if command else f"pid {pid}"


def _proc_is_ours() -> bool:
    """Return whether /proc shows this process's pid namespace: a container may see that of its host."""
    return _link("/proc/self") == str(os.getpid())


def _state_and_start(pid: int) -> tuple[str, str] | None:
    """Return state letter and start time (field 22 of stat, ticks since boot), or None if not visible."""
    stat = _text(f"/proc/{pid}/stat")
    # pid (comm) state ppid …: the command may hold spaces and parentheses, so count from the last one.
    fields = stat.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # another user's; or not a possible process id, about which nothing is known
    return True


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
