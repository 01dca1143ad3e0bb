"""A terminal in which the lines of a page are typed as they stand: servers get a port that is free."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.architecture.pages import ROOT, words_of
from tests.uvicorn_program import serving

PRINTED = "http://127.0.0.1:8000"
"""The address of a server on the pages: the one that uvicorn has unless another is asked for."""

SERVING = re.compile(r"^asyncjobs .*(\bweb\b|\bdaemon start\b(?!.* (-d|--detach)\b))")
"""A command that serves, or runs jobs, until it gets a signal."""


class Terminal:
    """A shell in a folder, with a home of its own. What it starts is ended when its stack is left."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.address = PRINTED
        self._servers = stack
        self._files: dict[str, str] = {}
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ASYNCJOBS_", "AWS_"))},
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        (folder / "home").mkdir()
        (folder / "home" / ".curlrc").write_text("silent\nshow-error\n")

    def save(self, name: str, text: str) -> None:
        """Write a file; what a page adds to one comes behind what is there."""
        self._files[name] = self._files.get(name, "") + text

    def type(self, line: str) -> str:
        """Type a line; return what it prints, without what goes to standard error.

        A server takes the place of the one before it, and keeps running.
        """
        for name, text in self._files.items():
            (self.folder / name).write_text(text.replace(PRINTED, self.address), "utf-8")
        if line.startswith("uvicorn "):
            self._serve(line)
            return ""
        if SERVING.search(line):
            self._serve_store(line)
            return ""
        if line.startswith("asyncjobs "):  # the script of another installation is none of ours
            line = shlex.join([sys.executable, "-m", "asyncjobs", *words_of(line)])
        if line.startswith("export "):
            line += " && env -0"
        done = subprocess.run(
            ["sh", "-c", line.replace(PRINTED, self.address)], cwd=self.folder, env=self._variables,
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if line.startswith("export "):
            self._variables = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
            return ""
        return done.stdout.strip()

    def _serve(self, line: str) -> None:
        found = re.fullmatch(r"uvicorn (\w+:\w+)(?: --workers \d+)?", line)
        assert found is not None, line
        self._servers.close()
        self.address = self._servers.enter_context(serving(found[1], self.folder, **self._variables))

    def _serve_store(self, line: str) -> None:
        """Start a command that keeps running, on any port; wait until it is ready."""
        words = [re.sub(r"^:\d+$", ":0", word) for word in words_of(line)]
        if "web" in words:
            words += ["--port", "0"]
        process = self._servers.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "asyncjobs", *words], cwd=self.folder, env=self._variables,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        self._servers.callback(process.terminate)
        assert process.stderr is not None
        log = ""
        for text in process.stderr:
            log += text
            if re.search(r" is ready: |✔ http://", text):
                return
        raise AssertionError(f"{line}\n{log}")
