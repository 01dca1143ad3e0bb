"""The cost of ``import asyncjobs``."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.machine import ROOT
from benchmarks.result import Place, Result, lower

_IMPORT = "import time; t = time.perf_counter(); import asyncjobs; print(time.perf_counter() - t)"
_BARE = "import time; t = time.perf_counter(); import asyncio, sqlite3; print(time.perf_counter() - t)"
_TRIES = 5


def run(place: Place) -> Result:
    """Milliseconds, the best of five fresh interpreters; beside it what the standard library's share is."""
    return Result((lower("import", _best(_IMPORT), "ms"), lower("import_stdlib_share", _best(_BARE), "ms")))


def _best(code: str) -> float:
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(_TRIES)
    ]
    return 1e3 * min(seconds)
