"""A number agrees with its noun: "1 job", "2 jobs"."""

from __future__ import annotations

import pytest

from asyncjobs.plurals import counted, times


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((0, "job"), "0 jobs"),
        ((1, "job"), "1 job"),
        ((2, "job"), "2 jobs"),
        ((1234, "job"), "1,234 jobs"),
        ((1, "more job"), "1 more job"),
        ((1, "dependency", "dependencies"), "1 dependency"),
        ((3, "dependency", "dependencies"), "3 dependencies"),
        ((1, "job is", "jobs are"), "1 job is"),
        ((0, "job is", "jobs are"), "0 jobs are"),
    ],
)
def test_a_number_agrees_with_its_noun(given: tuple[int, str, str], text: str) -> None:
    assert counted(*given) == text


@pytest.mark.parametrize(("number", "text"), [(1, "once"), (2, "2 times"), (1500, "1,500 times")])
def test_one_time_is_once(number: int, text: str) -> None:
    assert times(number) == text
