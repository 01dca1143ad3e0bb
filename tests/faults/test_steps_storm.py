"""Three processes, jobs of many steps, SIGKILL after SIGKILL: every job ends right, and nothing committed runs again.

``ASYNCJOBS_STORM=long`` has 20 jobs of 10 steps and 30 kills, ``ASYNCJOBS_TEST_SEED=n`` draws the same moments.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.step_storm import Weather, storm
from tests.faults.test_storm import seed

pytestmark = [pytest.mark.slow, pytest.mark.first, pytest.mark.untraced]

SHORT = Weather(jobs=8, steps=6, kills=10)
LONG = Weather(jobs=20, steps=10, kills=30, pause=0.1, isolation=True, longest=240)
WEATHER = LONG if os.environ.get("ASYNCJOBS_STORM") == "long" else SHORT


@pytest.mark.timeout(WEATHER.longest * 2)
def test_a_storm_repeats_no_step_whose_value_was_committed(tmp_path: Path) -> None:
    came = storm(tmp_path, seed(), WEATHER)
    print(came)
    assert came.problems == []
    assert came.again == []
    assert came.kills == WEATHER.kills
    assert came.attempts > WEATHER.jobs, "nobody was interrupted"
    # At most what was under way in the two slots of a process that was killed, and not committed, has run again.
    assert came.repeated <= 2 * WEATHER.kills


def test_the_storm_finds_attempts_that_do_not_ask_what_was_kept(tmp_path: Path) -> None:
    came = storm(tmp_path, 1, Weather(jobs=4, steps=4, kills=3, defect="forgets"))
    assert came.again
