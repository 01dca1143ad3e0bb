"""A terminal in which the lines of a page are typed as they stand: servers get a port that is free."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.architecture.pages import ROOT, Block, fits, lines_of, place
from tests.uvicorn_program import serving

PRINTED = "http://127.0.0.1:8000"
"""The address of a server on the pages: the one that uvicorn has unless another is asked for."""
SERVED = re.compile(r"uvicorn (?P<app>\w+:\w+)(?P<options>( --workers \d+)?)")
STAYS = re.compile(r"asyncjobs .*(\bweb\b|\bdaemon start\b(?!.* (-d|--detach)\b))")
"""A command that serves, or runs jobs, until it gets a signal."""


class Terminal:
    """A shell in a folder, with a home of its own. What it starts is ended when its stack is left.

    :param variables: of the environment, besides those of this process that are not about asyncjobs or AWS.
    """

    def __init__(self, folder: Path, stack: ExitStack, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.address = PRINTED
        self._stack = stack
        self._server = stack.enter_context(ExitStack())
        self._files: dict[str, str] = {}
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ASYNCJOBS_", "AWS_"))},
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **(variables or {}),
        }
        (folder / "home").mkdir()
        (folder / "home" / ".curlrc").write_text("silent\nshow-error\n")

    def walk(self, blocks: Collection[Block], ends: Mapping[str, set[int]] | None = None) -> None:
        """Do what the blocks of a page say, in their order: write its files, type its lines, compare what they print.

        :param ends: exit codes of lines that end otherwise than with 0.
        """
        for block in blocks:
            script = block.kind == "sh" and block.name is not None and block.name.endswith(".sh")
            if (block.kind in ("python", "toml") or script) and block.name is not None:
                self.save(block.name, block.text)
            elif block.kind == "toml":
                (self.folder / "given.toml").write_text(block.text, "utf-8")
                self.type("asyncjobs --config given.toml config validate", {0})
            elif block.kind == "python":
                raise AssertionError(f"{place(block)}: the name of the file is missing")
            elif block.kind == "sh" and block.not_run is None:
                lines = [(line, (ends or {}).get(line.partition("#")[0].strip(), {0})) for line in lines_of(block)]
                printed = "\n".join(filter(None, (self.type(line, codes) for line, codes in lines)))
                if block.printed is None:
                    assert '"code":' not in printed, f"{place(block)}\n{printed}"
                elif not fits(block.printed.strip(), printed):
                    assert printed == block.printed.strip(), place(block)  # shows the difference

    def save(self, name: str, text: str) -> None:
        """Write a file; what a page adds to one comes behind what is there."""
        self._files[name] = self._files.get(name, "") + text

    def type(self, line: str, codes: Collection[int]) -> str:
        """Type a line that ends with one of these codes; return what it prints, without what goes to standard error.

        A server takes the place of the one before it, and keeps running.
        """
        for name, text in self._files.items():
            (self.folder / name).write_text(text.replace(PRINTED, self.address), "utf-8")
        if served := SERVED.fullmatch(line):
            self._server.close()
            options = served["options"].split()
            server = serving(served["app"], self.folder, *options, **self._variables)
            self.address = self._server.enter_context(server)
            return ""
        if STAYS.match(line):
            self._start(line)
            return ""
        if " daemon start " in line:
            self._stack.callback(self.type, f"{line.partition(' start')[0]} stop --now", {0, 3})
        if line.startswith("export "):
            exported = self._run(f"{line} && env -0", codes)
            self._variables = dict(entry.split("=", 1) for entry in exported.split("\0") if entry)
            return ""
        return self._run(line, codes).strip()

    def _run(self, line: str, codes: Collection[int]) -> str:
        done = subprocess.run(
            ["sh", "-c", _ours(line).replace(PRINTED, self.address)], cwd=self.folder, env=self._variables,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert done.returncode in codes, f"{line}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _start(self, line: str) -> None:
        """Start a command that keeps running, on any port; wait until it is ready."""
        line = re.sub(r" :\d+\b", " :0", line) + (" --port 0" if " web" in line else "")
        process = self._stack.enter_context(
            subprocess.Popen(
                ["sh", "-c", f"exec {_ours(line)}"], cwd=self.folder, env=self._variables,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        self._stack.callback(process.terminate)
        assert process.stderr is not None
        log = ""
        for text in process.stderr:
            log += text
            if re.search(r" is ready: |✔ http://", text):
                return
        raise AssertionError(f"{line}\n{log}")


def _ours(line: str) -> str:
    """Return a line that calls this package, and not the script of another installation."""
    return re.sub(r"^asyncjobs ", f"{sys.executable} -m asyncjobs ", line)
