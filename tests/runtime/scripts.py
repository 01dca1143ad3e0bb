"""Python programs that tests run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path, cwd: Path, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run ``python *arguments`` in ``cwd``, with this project importable."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output(*arguments: str | Path, cwd: Path, timeout: float = 30.0) -> str:
    """What it prints; a failure with its traceback if it does not end well."""
    done = run(*arguments, cwd=cwd, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
