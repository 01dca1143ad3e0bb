"""Run commands in forks of a process that has imported the command line, without the half second of an interpreter.

A fork is a process as any other: it has its own folder, environment, streams and exit code. What is not as after
``python -m asyncjobs`` is what happens before that, so whatever is about the interpreter itself is not run this way.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

ENOUGH = 1 << 20
"""Bytes that a request may have."""
NEARLY_ALWAYS = (
    "anyio._backends._asyncio",
    "asyncjobs.backends.sqlite.backend",
    "asyncjobs.cli.jobs",
    "asyncjobs.processor",
    "importlib.metadata",
)
"""What commands come to import, whatever they do."""


class Forks:
    """The process that forks, and runs one command at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> tuple[int, bytes, bytes]:
        """Run ``asyncjobs …`` to its end, and until nobody holds its streams.

        :returns: the exit code, and what it printed.
        """
        streams = [os.pipe(), os.pipe()]
        request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        socket.send_fds(self._socket, [request], [write for _, write in streams])
        for _, write in streams:
            os.close(write)
        pid = int(self._socket.recv(100))
        try:
            printed = read_all([read for read, _ in streams], timeout)
            self._socket.settimeout(timeout)
            return int(self._socket.recv(100)), printed[0], printed[1]
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._socket.settimeout(None)
            self._socket.recv(100)
            raise subprocess.TimeoutExpired(["asyncjobs", *arguments], timeout) from None
        finally:
            for read, _ in streams:
                os.close(read)

    def close(self) -> None:
        self._socket.close()
        assert self._process.wait(30) == 0


def read_all(streams: Sequence[int], timeout: float) -> list[bytes]:
    """Read what comes out of all of them, to their ends."""
    read = {stream: bytearray() for stream in streams}
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            if not (ready := selector.select(end - time.monotonic())):
                raise TimeoutError
            for key, _ in ready:
                if data := os.read(key.fd, 65536):
                    read[key.fd] += data
                else:
                    selector.unregister(key.fd)
    return [bytes(read[stream]) for stream in streams]


# -- what follows runs in that process


def serve(connection: socket.socket) -> bool:
    """Fork for each request.

    :returns: True in each fork, and False once no more requests come.
    """
    while True:
        request, streams, *_ = socket.recv_fds(connection, ENOUGH, 2)
        if not request:
            return False
        pid = os.fork()
        if pid == 0:
            connection.close()
            arguments, folder, environment = json.loads(request)
            for target, stream in zip((1, 2), streams, strict=True):
                os.dup2(stream, target)
                os.close(stream)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv[1:] = arguments
            sys.path[0] = os.getcwd()  # as python -m does
            return True
        for stream in streams:
            os.close(stream)
        connection.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


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
        if not serve(connection):
            return
    if measured is not None:
        measured.process_startup(force=True)
    runpy.run_module("asyncjobs", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
