"""The rules of the SQS store, each by a directed history, and the seeded defects that these histories catch."""

from __future__ import annotations

import anyio
import pytest

from asyncjobs.backends.sqs import batches
from tests.properties import sqs_defects, sqs_directed
from tests.properties.sqs_defects import Patch
from tests.properties.sqs_directed import HISTORIES, History, processes

pytestmark = [pytest.mark.untraced, pytest.mark.usefixtures("tables_in_second")]

DEFECTS: dict[sqs_defects.Defect, History] = {
    sqs_defects.written_down_before_it_is_read: sqs_directed.a_claim_stands_still_once_it_is_written_down,
    sqs_defects.no_version_in_a_verdict: sqs_directed.a_dependent_is_cancelled_before_its_verdict,
    sqs_defects.a_page_before_the_notes_of_the_last_one: sqs_directed.an_appender_dies_before_its_notes,
    sqs_defects.parents_are_not_settled_after_a_commit: sqs_directed.a_parent_ends_before_a_staged_batch_is_committed,
    sqs_defects.a_missing_batch_was_committed: sqs_directed.a_row_arrives_when_its_batch_is_forgotten,
    sqs_defects.a_settled_edge_is_not_looked_at: sqs_directed.two_that_counted_die_before_the_verdict,
    sqs_defects.counted_over_a_retry: sqs_directed.a_parent_is_retried_before_its_edge_is_counted,
    sqs_defects.a_large_retry_is_not_noticed: (
        sqs_directed.a_process_that_slept_settles_in_the_middle_of_a_large_retry
    ),
    sqs_defects.retried_before_it_is_settled: sqs_directed.a_parent_is_retried_before_its_edge_is_counted,
    sqs_defects.off_the_list_before_it_is_settled: sqs_directed.a_worker_dies_before_it_has_settled_what_it_ended,
    sqs_defects.left_to_a_sweep: sqs_directed.what_a_worker_has_ended_cannot_be_settled_for_a_while,
    sqs_defects.left_to_nobody: sqs_directed.a_parent_ends_in_the_middle_of_a_large_retry,
}
"""By the defect, the history that catches it."""


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process knows of batches, another one does not."""
    monkeypatch.setattr(batches, "_REMEMBERED", 0)


async def play(history: History) -> None:
    async with processes() as (one, other):
        await history(one, other)


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_the_rule_holds(history: History) -> None:
    anyio.run(play, history)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_history_catches(defect: sqs_defects.Defect, monkeypatch: Patch) -> None:
    with monkeypatch.context() as planted:
        defect(planted)
        with pytest.raises(AssertionError):
            anyio.run(play, DEFECTS[defect])
