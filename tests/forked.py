"""Start ``python -m MODULE …`` as a fork of a process that has imported the package: 20 ms instead of 300.

A fork is a process as any other, and a child of the process of the test, which may kill it and wait for it: it has its
own folder, environment, streams, session and exit code. What is not as in a new interpreter is what happens before the
module runs, and what is about the interpreter: tests of that start one.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import inspect
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, TextIO

ENOUGH = 1 << 20
"""Bytes that a request may have."""
NEARLY_ALWAYS = (
    "anyio._backends._asyncio",
    "asyncjobs.backends.sqlite.backend",
    "asyncjobs.cli.jobs",
    "asyncjobs.processor",
    "importlib.metadata",
    "pytest",
    "trio",
)
"""What most of these programs come to import, whatever they do."""
ADOPTS = 36
"""PR_SET_CHILD_SUBREAPER: whether orphans among the descendants of this process become its children."""


def forked(arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start ``python -m`` with these arguments, the first of which is a module. ``options``: of ``Popen``."""
    if sys.platform != "linux":  # no other system gives orphans to another process than the first one
        return subprocess.Popen([sys.executable, "-m", *arguments], **options)
    return Forked(arguments, **options)


class Forked(subprocess.Popen[Any]):
    """A ``Popen`` that has its process forked, and is in all else as others."""

    def _execute_child(self, *arguments: Any) -> None:
        given = _PARAMETERS.bind(self, *arguments).arguments
        environment = dict(os.environ if given["env"] is None else given["env"])
        interpreter = {name: value for name, value in environment.items() if name.startswith("PYTHON")}
        interpreter.pop("PYTHONPATH", None)  # that of this process has all that theirs could have
        self.pid = forks_of(json.dumps(interpreter, sort_keys=True)).start(
            given["args"],
            os.fspath(given["cwd"] or "."),
            environment,
            [given["p2cread"], given["c2pwrite"], given["errwrite"], *given["pass_fds"]],
            given["start_new_session"],
        )
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[name] for name in pipes))


_PARAMETERS = inspect.signature(subprocess.Popen._execute_child)


@cache
def forks_of(interpreter: str) -> Forks:
    """Return the process that forks, one for all tests of this process, and for each setting of the interpreter."""
    made = Forks(json.loads(interpreter))
    atexit.register(made.close)
    return made


class Forks:
    """The process that forks."""

    def __init__(self, interpreter: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                env={**others, **interpreter, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(
        self,
        arguments: Sequence[str],
        folder: str,
        environment: Mapping[str, str],
        streams: Sequence[int],
        new_session: bool,
    ) -> int:
        """Start a child of this process.

        :param streams: its standard ones, -1 for that of this process; then others, which have the same numbers there.

        :returns: its id.
        """
        own = [i if stream == -1 else stream for i, stream in enumerate(streams)]
        targets = [*range(3), *streams[3:]]
        request = json.dumps([[*arguments], os.path.abspath(folder), {**environment}, targets, new_session]).encode()
        libc = ctypes.CDLL(None)
        with self._lock:
            libc.prctl(ADOPTS, 1, 0, 0, 0)
            try:
                socket.send_fds(self._socket, [request], own)
                return int(self._socket.recv(100))
            finally:
                libc.prctl(ADOPTS, 0, 0, 0, 0)  # daemons that detach themselves are not meant

    def close(self) -> None:
        self._socket.close()
        assert self._process.wait(30) == 0


# -- what follows runs in that process


def serve(connection: socket.socket) -> list[str] | None:
    """Fork for each request.

    :returns: in each fork, the module and its arguments; None once no more requests come.
    """
    while True:
        request, streams, *_ = socket.recv_fds(connection, ENOUGH, 16)
        if not request:
            return None
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)  # its child is an orphan now, and the test's
            connection.close()
            os.close(read)
            return prepare(json.loads(request), streams, write)
        for descriptor in (*streams, write):
            os.close(descriptor)
        os.waitpid(between, 0)
        connection.send(os.read(read, 100))
        os.close(read)


def prepare(request: Any, streams: Sequence[int], ready: int) -> list[str]:
    """Make a fork what was asked for, and then write its id to ``ready``."""
    arguments, folder, environment, targets, new_session = request
    if new_session:
        os.setsid()
    beyond = max(targets) + 1  # where none of them is in the way of another
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, beyond) for descriptor in (*streams, ready)]
    for descriptor in (*streams, ready):
        os.close(descriptor)
    *moved, ready = moved
    for stream, target in zip(moved, targets, strict=True):
        os.dup2(stream, target)
        os.close(stream)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        new = open_again(descriptor, getattr(sys, name))
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = os.getcwd()  # as python -m does
    os.write(ready, str(os.getpid()).encode())
    os.close(ready)
    return arguments


def open_again(descriptor: int, stream: TextIO) -> TextIO:
    """Open a standard stream as a new interpreter does: those of this process remember that they could be sought."""
    buffering = 1 if descriptor == 2 else -1
    how = {"encoding": stream.encoding, "errors": stream.errors}
    return open(descriptor, "w" if descriptor else "r", buffering, closefd=False, **how)


def main() -> None:
    for name in NEARLY_ALWAYS:
        import_module(name)
    measured = sys.modules.get("coverage")
    if measured is not None:  # what was imported, once, and not by each fork
        current = measured.Coverage.current()
        current.stop()
        current.save()
    gc.freeze()  # what the collector does not touch is not copied for each fork
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        arguments = serve(connection)
    if arguments is None:
        return
    if measured is not None:
        measured.process_startup(force=True)
    sys.argv[1:] = arguments[1:]
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
