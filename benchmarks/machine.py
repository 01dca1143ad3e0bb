"""Facts about the machine and the code, without which figures mean nothing; and the memory of this process."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parent.parent


class Machine(Struct, frozen=True):
    """Where the figures come from."""

    system: str
    cores: int
    python: str
    sqlite: str
    load: tuple[float, float, float]
    revision: str
    processor: str = ""


def machine() -> Machine:
    """This machine, now."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        load=os.getloadavg(),
        revision=_revision(),
        processor=_processor(),
    )


def _processor() -> str:
    """Return the name of the processor, as Linux has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _revision() -> str:
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{revision}, changed" if changed else revision


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Memory(Struct, frozen=True):
    """Bytes of memory of this process: all that is resident, and what of it belongs to no file.

    The engine maps the database for reading: those pages are the system's cache, not the process's, and go when memory
    is short; so the memory that a job costs is counted without them.
    """

    resident: int
    own: int


def memory() -> Memory:
    """This process, now; on macOS the peak, because nothing else is told there without a foreign library."""
    try:
        fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        peak = peak_memory()
        return Memory(peak, peak)
    page = os.sysconf("SC_PAGE_SIZE")
    return Memory(int(fields[1]) * page, (int(fields[1]) - int(fields[2])) * page)


def processor_seconds(pid: int) -> float:
    """Seconds of processor time that another process has taken; 0 where nothing tells that."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory() -> int:
    """The most that was ever resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
