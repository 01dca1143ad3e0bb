"""The kill storm: daemons die and are frozen at any moment, and the three witnesses never contradict each other.

``ASYNCJOBS_STORM=long`` lets it rage for some minutes, ``ASYNCJOBS_TEST_SEED=n`` repeats a run.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.faults.storm import Weather, storm
from tests.faults.storm_stores import InFile

pytestmark = [pytest.mark.slow, pytest.mark.first, pytest.mark.untraced]

SHORT = Weather(kills=20, freezes=2, client_kills=2, graphs=2, size=120)
LONG = Weather(kills=200, freezes=16, client_kills=8, graphs=8, size=500, longest=1500)
WEATHER = LONG if os.environ.get("ASYNCJOBS_STORM") == "long" else SHORT

CALM = Weather(kills=0, freezes=0, size=60, daemons=2, lease=6)
DEFECTS = {
    "reaps_the_living": ("was taken from a living worker",),
    "remembers_rows": ("the events tell", "is pending at the end"),
}


def seed() -> int:
    number = int(os.environ.get("ASYNCJOBS_TEST_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"ASYNCJOBS_TEST_SEED={number} repeats this run")
    return number


@pytest.mark.timeout(WEATHER.longest + 120)
def test_the_storm(tmp_path: Path) -> None:
    came = storm(InFile(tmp_path / "storm.db"), tmp_path, seed(), WEATHER)
    print(came)
    assert not came.problems, "\n".join(came.problems[:20])
    assert sum(came.kills.values()) >= WEATHER.kills
    assert came.freezes == WEATHER.freezes
    assert came.jobs >= WEATHER.graphs * WEATHER.size
    assert came.interruptions >= WEATHER.kills
    assert came.stale > 0, "what frozen daemons brought late was to be refused"


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_storm_shows_what_one_process_cannot(tmp_path: Path, defect: str) -> None:
    """Nobody is even killed: it is enough that there are two."""
    came = storm(InFile(tmp_path / "storm.db"), tmp_path, 1, replace(CALM, defect=defect, patience=10, longest=40))
    print(f"{len(came.problems)} contradictions: {came.problems[:3]}")
    assert any(sentence in problem for problem in came.problems for sentence in DEFECTS[defect]), came.problems


def test_a_calm_sea(tmp_path: Path) -> None:
    """The same without a defect."""
    came = storm(InFile(tmp_path / "storm.db"), tmp_path, 1, CALM)
    print(came)
    assert not came.problems, "\n".join(came.problems[:20])
    assert came.interruptions == 0
