"""Start one child process, exchange frames with it and end it, as its parent. Never blocks the event loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any, cast

import anyio

from asyncjobs.daemon_threads import in_thread
from asyncjobs.runtime.isolation.protocol import Setup, frame
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

CHUNK = 1 << 16
"""Bytes that one read returns at most: as many as a pipe holds."""
_LAST_WORDS = 1.0
"""Seconds that a process has to shut down in order: exit handlers, temporary files."""
_GONE = 5.0
"""Seconds to wait after SIGKILL: a process can hang in the kernel, for example on a dead network disk."""
_POLL = 0.02
"""Seconds between two polls, where the system cannot notify of an exit (no pidfd)."""


class Process:
    """A running ``asyncjobs.runtime.isolation.child``.

    :param down: the descriptor to write to it. :param up: the one to read from it.
    """

    def __init__(self, popen: subprocess.Popen[bytes], down: int, up: int) -> None:
        assert popen.stdout is not None
        assert popen.stderr is not None
        self.pid: int = popen.pid
        self.up = up
        self.stdout: int = popen.stdout.fileno()
        self.stderr: int = popen.stderr.fileno()
        self.jobs = 0
        """Bodies that succeeded in this process."""
        self.idle_since = 0
        self._popen = popen
        self._down = down
        self._lock = anyio.Lock()
        self._torn = False
        self._left = memoryview(b"")
        for descriptor in (down, up, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        try:
            self._exit: int | None = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._exit = None

    # -- speaking

    async def send(self, data: bytes) -> None:
        """Write a frame, unless the process is gone.

        A started frame is written completely, even if the caller is cancelled: half a frame would make the rest of the
        pipe unreadable. If the process does not read for a second then, nothing more is written to it.
        """
        async with self._lock:
            if self._torn:
                return
            self._left = memoryview(data)
            try:
                await self._write()
            except anyio.get_cancelled_exc_class():
                if len(self._left) < len(data):
                    with anyio.move_on_after(_LAST_WORDS, shield=True):
                        await self._write()
                raise
            finally:
                self._torn = 0 < len(self._left) < len(data)

    async def _write(self) -> None:
        while self._left:
            try:
                self._left = self._left[os.write(self._down, self._left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._down)
            except BrokenPipeError:
                return

    def read(self, most: int = CHUNK) -> bytes | None:
        """Return the bytes that the process has sent; None: none at the moment; empty: it has closed its end."""
        return read_now(self.up, most)

    # -- ending

    def has_exited(self) -> bool:
        """Return whether the process has exited."""
        if self._popen.returncode is not None:
            return True
        if not hasattr(os, "waitid"):
            if self._popen.poll() is None:
                return False
            self._kill_session()  # at once: later, another process may have its id
            return True
        try:  # WNOWAIT: until the process is reaped, no other process gets its id, which ``kill`` needs
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    async def exited(self) -> None:
        """Wait until the process has exited."""
        if self._exit is not None:
            await anyio.wait_readable(self._exit)
            return
        while not self.has_exited():  # noqa: ASYNC110 - there is nothing to wait for
            await anyio.sleep(_POLL)

    def kill(self) -> None:
        """Send SIGKILL to the process and to all processes in its session."""
        if self._popen.returncode is None:
            self._kill_session()

    def _kill_session(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # PermissionError: macOS raises it for exited processes
            pass

    async def end(self, *, politely: bool) -> None:
        """Close the pipe, wait until the process has exited, and kill the rest of its session.

        :param politely: give the process a second to exit before it is killed.
        """
        with anyio.CancelScope(shield=True):
            os.close(self._down)
            if politely:
                with anyio.move_on_after(_LAST_WORDS):
                    await self.exited()
            self.kill()
            with anyio.move_on_after(_GONE) as scope:
                await self.exited()
            if scope.cancelled_caught:
                logger.error("child process %d does not end, although it was killed", self.pid)
        self._popen.poll()

    def close(self) -> None:
        """Close the descriptors, once everything was read."""
        os.close(self.up)
        if self._exit is not None:
            os.close(self._exit)
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()

    @property
    def how_it_ended(self) -> str:
        """Return how the process ended, for people."""
        code = self._popen.returncode
        if code is None:
            return "does not end"
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was killed by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")


async def start(setup: Setup, limiter: anyio.CapacityLimiter) -> Process:
    """Start a process, in a thread.

    :raises OSError: the system cannot start it.
    """
    async with limiter:
        popen, down, up = await in_thread(_start, setup)
    return Process(popen, down, up)


def _start(setup: Setup) -> tuple[subprocess.Popen[bytes], int, int]:
    flags: list[str] = cast("Any", subprocess)._args_from_interpreter_flags()  # as multiprocessing does
    down_end, down = os.pipe()
    up, up_end = os.pipe()
    try:
        popen = subprocess.Popen(
            [
                sys.executable,
                *flags,
                "-P",  # do not import from the working directory, unless this process does
                "-m",
                "asyncjobs.runtime.isolation.child",
                str(down_end),
                str(up_end),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=(down_end, up_end),
            start_new_session=True,
            # The child has our sys.path; the original PYTHONPATH is for programs that the child starts.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(setup.path)},
        )
    except BaseException:
        os.close(down)
        os.close(up)
        raise
    finally:
        os.close(down_end)
        os.close(up_end)
    left = memoryview(frame(setup))
    try:
        while left:
            left = left[os.write(down, left) :]
    except BrokenPipeError:
        pass  # it has exited already, which the next read or write will notice
    return popen, down, up


def read_now(descriptor: int, most: int = CHUNK) -> bytes | None:
    """Return the available bytes; None: none at the moment; empty: closed."""
    try:
        return os.read(descriptor, most)
    except BlockingIOError:
        return None
