"""Measure steps of DBOS on SQLite: a program for an environment that has it, and not this package.

Arguments: file, count. The last line that it prints is a list of the seconds of each step.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any


def main(path: str, count: int) -> None:
    """Run a workflow of so many steps, each of which returns a number at once."""
    dbos: Any = importlib.import_module("dbos").DBOS
    dbos(config={"name": "steps", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"})

    @dbos.step()
    def number(n: int) -> int:
        return n

    @dbos.workflow()
    def steps() -> list[float]:
        seconds: list[float] = []
        for n in range(count):
            began = time.perf_counter()
            number(n)
            seconds.append(time.perf_counter() - began)
        return seconds

    dbos.launch()
    try:
        print(json.dumps(steps()))
    finally:
        dbos.destroy()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
