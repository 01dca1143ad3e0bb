"""The ledger: one line for every time that the body of a job really starts, so that nobody has to be believed."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

NAME = "ledger.jsonl"


def enter(folder: Path, job: str, attempt: int) -> None:
    """Append one line, in one write, so that lines of several threads and processes never mix."""
    line = json.dumps({"job": job, "attempt": attempt, "pid": os.getpid()}) + "\n"
    handle = os.open(folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def starts(folder: Path) -> Counter[str]:
    """Return how often each job's body was started."""
    return Counter(line["job"] for line in _lines(folder))


def processes(folder: Path) -> list[int]:
    """Return the process of each start of a body, in order."""
    return [line["pid"] for line in _lines(folder)]


def _lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / NAME
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
