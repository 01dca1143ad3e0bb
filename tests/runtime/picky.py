"""A module that takes its time to load, and does so in one process only: if the environment says so."""

from __future__ import annotations

import os
import time

if os.environ.get("ASYNCJOBS_TEST_PICKY") not in (None, str(os.getpid())):
    raise ModuleNotFoundError("No module named 'numpi'", name="numpi")
time.sleep(float(os.environ.get("ASYNCJOBS_TEST_SLOW", "0")))


def work() -> str:
    return "done"
