"""Keep the state of a daemon in a file that it locks for its life.

A process id in a file proves nothing: processes die without removing it, and ids are reused. The system releases a
lock when its process ends, however it ends. So a held lock means running, and a free lock means not running, whatever
the file contains.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path

from msgspec import DecodeError, Struct, ValidationError, json

from asyncjobs.host import ProcessIdentity, is_gone, this_process

_LOOK = 0.002
_LOOKS = 20
_RELEASED_EVERY = 0.05


class DaemonState(Struct, frozen=True):
    """The state that a daemon publishes. ``process`` distinguishes it from a later process with the same id;
    ``arguments`` is the command that started it, without its program; ``http_token``: its HTTP interface has a token,
    which is in no file."""

    name: str
    store: str
    process: ProcessIdentity
    version: str
    started_at: float
    arguments: list[str]
    worker: str = ""
    log: str | None = None
    http: str | None = None
    http_token: bool = False
    ready: bool = False
    draining: bool = False
    handing_back: bool = False


class Found(Struct, frozen=True):
    """The contents of a state file. ``running``: its lock is held."""

    state: DaemonState | None
    running: bool


class StateFile:
    """The state of the daemon ``name`` on ``store``.

    :param store: the identity of the store: daemons of two projects may have the same name.
    """

    def __init__(self, name: str, store: str, folder: Path | None = None) -> None:
        self.name = name
        key = hashlib.sha256(store.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        self._key = key
        self.path = (folder or state_folder()) / f"{name}-{key}.json"
        self.last_lines = self.path.with_suffix(".last")
        """Path of the last lines of its log, which outlive the daemon."""
        self.default_log = self.path.with_suffix(".log")
        """Path of its log in the background, unless ``logging.file`` is set."""
        self._descriptor: int | None = None

    def acquire(self, state: DaemonState) -> Found | None:
        """Take the lock and write the state. Return the state of the present holder, or None if the lock was taken.

        :raises OSError: the file cannot be created; ELOOP: it is a symbolic link, which is never followed.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for patience in range(_LOOKS):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                held = _parse(self.path)
                if held is not None and is_alive(held):
                    return Found(held, running=True)
                time.sleep(_LOOK * (patience + 1))  # another process is reading it, or has not written it yet
                continue
            if _same_file(descriptor, self.path):
                self._descriptor = descriptor
                self.write(state)
                return None
            os.close(descriptor)  # its owner has just removed it: the locked file no longer exists
        return Found(_parse(self.path), running=True)

    def write(self, state: DaemonState) -> None:
        """Write the state. Only the holder of the lock may call it."""
        assert self._descriptor is not None
        data = json.encode(state)
        os.pwrite(self._descriptor, data, 0)
        os.ftruncate(self._descriptor, len(data))

    def release(self) -> None:
        """Remove the file and release the lock."""
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def look(self) -> Found | None:
        """Return the contents of the file, or None if there is none."""
        return look(self.path)

    def find_workers(self) -> set[str]:
        """Return the ids of the workers of all daemons on this store that have a state file in this folder."""
        found = (look(path) for path in self.path.parent.glob(f"*-{self._key}.json"))
        return {one.state.worker for one in found if one is not None and one.running and one.state is not None}

    def wait_released(self, timeout: float) -> bool:
        """Wait until the lock is free. Return False if that takes longer than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            found = look(self.path)
            if found is None or not found.running:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _RELEASED_EVERY))  # the system has no lock with a time limit


def look(path: Path) -> Found | None:
    """Return the contents of a state file, or None if there is none; links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        state = _parse(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return Found(state, running=True)
        return Found(state, running=False)
    finally:
        os.close(descriptor)


def is_alive(state: DaemonState) -> bool:
    """Return whether the very process that wrote the state still runs."""
    return not is_gone(state.process, this_process())


def state_folder() -> Path:
    """Return this user's folder for state files and logs."""
    named = os.environ.get("XDG_STATE_HOME")
    return Path(named or Path.home() / ".local" / "state") / "asyncjobs"


def _parse(path: Path) -> DaemonState | None:
    try:
        return json.decode(path.read_bytes(), type=DaemonState)
    except (OSError, DecodeError, ValidationError):
        return None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
