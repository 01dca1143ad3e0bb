"""redis and PostgreSQL for the libraries that want one: started for one run, on a free port, in a temporary folder.

They are found on the machine, or installed with apt-get, as root or where sudo does not ask; else there is a hint.
Debian starts a server of its own for what it installs; nothing here uses that one.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 30.0
_POSTGRES_HOMES = "/usr/lib/postgresql/*/bin"
HINTS = {
    "redis": "redis-server is not installed: 'apt-get install redis-server' as root, or 'brew install redis' on a Mac",
    "postgres": (
        "PostgreSQL is not installed: 'apt-get install postgresql' as root, or 'brew install postgresql' on a Mac"
    ),
}
_PACKAGES = {"redis": "redis-server", "postgres": "postgresql"}


class NoServerError(Exception):
    """There is no such server, and none could be installed, or it does not start; the text is a hint."""


@contextmanager
def server(kind: str) -> Generator[str]:
    """A fresh server; its address.

    :raises NoServerError: there is none.
    """
    with (
        tempfile.TemporaryDirectory(prefix="asyncjobs-peers-", ignore_cleanup_errors=True) as folder,
        _KINDS[kind](Path(folder)) as address,
    ):
        yield address


# -- finding and installing


def find(name: str) -> str | None:
    """Return the path of a server's program; PostgreSQL's are not on the path of Debian's users."""
    found = shutil.which(name)
    if found is not None:
        return found
    beside = sorted(Path("/").glob(f"{_POSTGRES_HOMES.removeprefix('/')}/{name}"))
    return str(beside[-1]) if beside else None


def _needed(kind: str, name: str) -> str:
    path = find(name)
    if path is None:
        _install(_PACKAGES[kind])
        path = find(name)
    if path is None:
        raise NoServerError(HINTS[kind])
    return path


def _install(package: str) -> None:
    """Install Debian's package, as root or where sudo does not ask."""
    if shutil.which("apt-get") is None:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and (shutil.which("sudo") is None or subprocess.run([*sudo, "true"], capture_output=True).returncode):
        return
    print(f"installing {package} …", file=sys.stderr, flush=True)
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run([*apt, *command], capture_output=True, text=True)
        if done.returncode:
            print(done.stdout + done.stderr, file=sys.stderr)
            return


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# -- the kinds


@contextmanager
def _redis(folder: Path) -> Generator[str]:
    """In memory, as redis is for those who do not configure it otherwise: nothing is synced."""
    program, port = _needed("redis", "redis-server"), free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with _running([program, *options], folder, _listens(port)):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def _postgres(folder: Path) -> Generator[str]:
    """With its own defaults: each commit is synced. It refuses to run as root."""
    init, program, port = _needed("postgres", "initdb"), _needed("postgres", "postgres"), free_port()
    user = _other_user()
    data = folder / "data"
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)
    made = subprocess.run(
        [init, "-D", str(data), "--auth", "trust", "--username", "peers", "--encoding", "UTF8"],
        user=user,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise NoServerError(f"initdb failed: {made.stderr.strip().splitlines()[-1:]}")
    command = [program, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    with _running(command, folder, _listens(port), user=user):
        yield f"postgresql://peers@127.0.0.1:{port}/postgres"


_KINDS = {"redis": _redis, "postgres": _postgres}


def _other_user() -> str | None:
    """Return who a server runs as that refuses root; None if nobody here is root."""
    if os.geteuid() != 0:
        return None
    known = {account.pw_name for account in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return name
    raise NoServerError(f"PostgreSQL does not run as {getpass.getuser()}, and there is no other user")


def _listens(port: int) -> Callable[[], bool]:
    def there() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    return there


@contextmanager
def _running(
    command: Sequence[str], folder: Path, there: Callable[[], bool], user: str | None = None
) -> Generator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=user)
    try:
        _wait(process, there, folder / "log")
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], there: Callable[[], bool], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while not there():
        if process.poll() is not None or time.monotonic() > until:
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise NoServerError(f"it does not start: {' '.join(said) or 'it says nothing'}")
        time.sleep(0.05)
