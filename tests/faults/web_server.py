"""uvicorn as a real process, and clients that hold streams of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0
FOLDER = "ASYNCJOBS_TEST_FOLDER"
RATE = "ASYNCJOBS_TEST_RATE"


class Uvicorn:
    """``uvicorn tests.faults.web_program:APP`` in a process group of its own, on a free port."""

    def __init__(self, folder: Path, app: str, *options: str, rate: int = 0) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._log = folder / "uvicorn.log"
        environment = {**os.environ, FOLDER: str(folder), RATE: str(rate)}
        environment["PYTHONPATH"] = str(ROOT)
        with self._log.open("ab") as log:
            self._from = log.tell()
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", f"tests.faults.web_program:{app}"),
                    *("--host", "127.0.0.1", "--port", str(self.port), "--no-access-log", *options),
                ],
                cwd=folder,  # what --reload watches
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Uvicorn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()

    def log(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")

    def until(self, words: str, times: int = 1) -> None:
        """Wait until it has said this so often."""
        deadline = time.monotonic() + PATIENCE
        while self.log().count(words) < times:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"uvicorn did not say {words!r}:\n{self.log()[-4000:]}")
            time.sleep(0.02)

    def terminate(self) -> float:
        """SIGTERM; returns the seconds until it was gone."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"uvicorn hangs:\n{self.log()[-4000:]}") from None
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL, for all of its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


class Watcher:
    """A client of one stream; a thread reads it until it ends. ``deaf``: nobody reads it."""

    def __init__(self, port: int, path: str, *, after: str | None = None, deaf: bool = False) -> None:
        self.data = b""
        self._socket = socket.socket()
        if deaf:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", port))
        last = "" if after is None else f"Last-Event-ID: {after}\r\n"
        self._socket.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{last}\r\n".encode())
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        if not deaf:
            self._thread.start()
            assert self._opened.wait(PATIENCE)

    def _read(self) -> None:
        try:
            while data := self._socket.recv(65_536):
                self.data += data
                self._opened.set()
        except OSError:
            pass  # the server was killed
        finally:
            self._opened.set()
            self._socket.close()

    def end(self) -> bytes:
        """All that came, once the server has ended it."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the stream is still open"
        return self.data

    def close(self) -> None:
        self._socket.close()
