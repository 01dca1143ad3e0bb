"""Fifty times SIGKILL: what clients were told, what really ran and what is stored never contradict each other."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from tests.faults.crash import crash_run

STOPS = {"begin": 5, "before-commit": 8, "after-commit": 12, "body": 12, "progress": 13}


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.first
@pytest.mark.timeout(240)
def test_fifty_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("ASYNCJOBS_TEST_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"ASYNCJOBS_TEST_SEED={seed} repeats this run")
    run = crash_run(tmp_path, seed, STOPS)
    print(
        f"{sum(run.kills.values())} kills {run.kills}, {run.jobs} jobs, {run.attempts} attempts, "
        f"{run.interruptions} interruptions, {run.seconds:.1f} s; until the file was open again (s): "
        f"median {statistics.median(run.openings):.3f}, longest {max(run.openings):.3f}; with the start of the "
        f"process: median {statistics.median(run.starts):.3f}, longest {max(run.starts):.3f}"
    )
    assert not run.problems, "\n".join(run.problems[:20])
    assert run.kills == STOPS
    assert run.jobs >= 500
    assert run.interruptions >= STOPS["body"]
