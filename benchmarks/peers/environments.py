"""An environment for each library, with exact versions, made on first use: ``.venv-peer-NAME`` beside the Makefile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.peers.catalogue import Peer

_LONGEST = 600.0


class NotInstalledError(Exception):
    """A library cannot be installed here; the text says why."""


def python_of(peer: Peer, base: str = sys.executable) -> str:
    """Return the Python that has this library; ours, if it needs nothing.

    :param base: the Python that an environment is made of.
    :raises NotInstalledError: it could not be made.
    """
    if not peer.requirements:
        return sys.executable
    folder = ROOT / f".venv-peer-{peer.name}"
    python, stamp = folder / "bin" / "python", folder / "requirements"
    wanted = "\n".join(peer.requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {' '.join(peer.requirements)} …", file=sys.stderr, flush=True)
        if not python.exists():
            _run([base, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements])
        stamp.write_text(wanted)
    return str(python)


def versions_of(python: str) -> tuple[str, ...]:
    """Return all that is installed there, as pip writes it."""
    command = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return tuple(line for line in done.stdout.splitlines() if "==" in line)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, cwd=Path("/"), capture_output=True, text=True, timeout=_LONGEST)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"{type(error).__name__} of {' '.join(command[1:4])}") from error
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise NotInstalledError(lines[0].removeprefix("ERROR: ")[:200])
