"""What ``import asyncjobs`` costs: processor time, the best of several fresh interpreters, beside ``import asyncio``.

Processor time, because the time on the wall is also that of whatever else the machine does. Beside asyncio, because
machines differ by a factor of two and more: 150 ms are promised where asyncio alone takes 30.
"""

from __future__ import annotations

import os
import subprocess
import sys

LIMIT = 5.0
"""Times as long as ``import asyncio``."""
_CODE = "import time; t = time.process_time(); import {module}; print((time.process_time() - t) * 1000)"


def as_users_have_it() -> dict[str, str]:
    """The environment of an interpreter that imports what a user's does, and no more.

    Some machines forbid to keep what the first run compiles, and would measure the compiler; and where the coverage of
    child processes is measured, that brings in modules of its own, and takes its time.
    """
    ours = {"PYTHONDONTWRITEBYTECODE", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _measure_once(module: str) -> float:
    command = [sys.executable, "-c", _CODE.format(module=module)]
    return float(subprocess.run(command, env=as_users_have_it(), capture_output=True, text=True, check=True).stdout)


def measure(runs: int = 12) -> tuple[float, float]:
    """Milliseconds of the fastest of ``runs`` fresh interpreters each, in turns: of asyncjobs, and of asyncio."""
    pairs = [(_measure_once("asyncjobs"), _measure_once("asyncio")) for _ in range(runs)]
    return min(ours for ours, _ in pairs), min(theirs for _, theirs in pairs)


if __name__ == "__main__":
    ours, theirs = measure()
    print(f"import asyncjobs: {ours:.0f} ms, {ours / theirs:.1f} times import asyncio (limit {LIMIT:.0f} times)")
    sys.exit(ours > LIMIT * theirs)
