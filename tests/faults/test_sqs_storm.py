"""The kill storm over a store in SQS and DynamoDB: daemons die and are frozen between any two of their calls.

Their clients have faults of every kind, too: calls fail, or their answers are lost, and indexes and messages are late.

``ASYNCJOBS_STORM=long`` lets it rage for 200 kills, ``ASYNCJOBS_TEST_SEED=n`` repeats a run.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import sqs_server
from tests.faults.storm import Weather, storm
from tests.faults.storm_stores import InTable
from tests.faults.test_storm import seed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.serial,
    pytest.mark.untraced,
    pytest.mark.usefixtures("tables_in_second"),
]

SHORT = Weather(kills=20, freezes=2, client_kills=1, graphs=1, size=80, patient=True, longest=600)
LONG = Weather(kills=200, freezes=16, client_kills=8, graphs=4, size=500, patient=True, longest=2400)
"""Few large graphs: at the end of each there is little to do, and what no message tells of waits for the next sweep."""
WEATHER = LONG if os.environ.get("ASYNCJOBS_STORM") == "long" else SHORT


@pytest.mark.timeout(WEATHER.longest + 120)
def test_the_storm(tmp_path: Path) -> None:
    drawn = seed()
    store = InTable(sqs_server.config(wait_time=1, visibility_timeout=5), faults=drawn)
    came = storm(store, tmp_path, drawn, WEATHER)
    print(came)
    assert not came.problems, "\n".join(came.problems[:20])
    assert sum(came.kills.values()) >= WEATHER.kills
    assert came.freezes == WEATHER.freezes
    assert came.jobs >= WEATHER.graphs * WEATHER.size
    assert came.interruptions >= WEATHER.kills // 2  # a daemon may die with nothing in hand
    assert sum(came.faults.values()) > came.jobs
    if WEATHER is LONG:  # of two frozen daemons, perhaps none had a body that ended meanwhile
        assert came.stale > 0, "what frozen daemons brought late was to be refused"
