"""A job that stands in the index is left to its message, for as long as messages take, and not for longer."""

from __future__ import annotations

import pytest

from asyncjobs.backends.sqs import outlook
from asyncjobs.backends.sqs.outlook import LEFT_TO_MESSAGES, LOOK_EVERY, Outlook
from asyncjobs.core.state import SECOND

A, B = ("0#1", "a"), ("0#2", "b")
SWEEP = 15 * SECOND


def hungry(since: int = 0) -> Outlook:
    """One that has had a free slot for a while."""
    made = Outlook()
    made.note_claim(1, since)
    return made


def test_what_is_seen_for_the_first_time_is_left_to_its_message() -> None:
    seen = hungry()
    assert seen.look([A], 100 * SECOND) == []
    assert seen.look([A, B], 100 * SECOND + LEFT_TO_MESSAGES - 1) == []
    assert seen.look([A, B], 100 * SECOND + LEFT_TO_MESSAGES) == [A]
    assert seen.first == B


def test_where_messages_fill_the_slots_the_index_is_left_alone() -> None:
    seen = Outlook()
    for at in range(0, 60, 2):
        assert seen.look([A], at * SECOND) == []
        seen.note_claim(0, at * SECOND)
    seen.note_claim(1, 60 * SECOND)
    assert seen.look([A], 61 * SECOND) == [], "the messages of a long queue are about to come"
    assert seen.look([A], 60 * SECOND + LEFT_TO_MESSAGES) == [A]


def test_while_messages_take_long_jobs_are_left_to_them_for_as_long() -> None:
    seen = hungry()
    now = 0
    for now in range(0, 12 * SECOND, SECOND):
        seen.note_messages([8.0], now)
        assert (A in seen.look([A], now)) == (now >= LEFT_TO_MESSAGES + 8 * SECOND)
    assert seen.look([B], now) == []
    # None has come since.
    assert seen.look([B], now + LEFT_TO_MESSAGES - 1) == []
    assert seen.look([B], now + LEFT_TO_MESSAGES) == [B]


def test_a_message_that_was_received_before_says_nothing_of_how_long_they_take() -> None:
    seen = hungry()
    seen.look([A], 0)
    seen.note_messages([None, 0.5, None], LEFT_TO_MESSAGES)
    assert seen.look([A], LEFT_TO_MESSAGES) == []
    assert seen.look([A], LEFT_TO_MESSAGES + SECOND // 2) == [A]


def test_a_few_messages_do_not_hold_up_a_job_that_has_lost_its_own() -> None:
    seen = hungry()
    for at in range(15):
        seen.note_messages([0.01], at * SECOND)
        seen.note_claim(1, at * SECOND)
        if seen.look([A], at * SECOND):
            break
    assert at <= 4


def test_what_has_not_been_seen_for_long_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = hungry()
    seen.look([A, B], 0)
    for at in range(2, 31, 2):
        seen.look([B], at * SECOND)
    assert seen.look([A, B], 31 * SECOND) == [B]
    assert len(seen._seen) + len(seen._before) <= 3


def test_it_looks_once_a_second() -> None:
    seen = Outlook()
    assert seen.may_look(0)
    seen.look([], 0)
    assert not seen.may_look(LOOK_EVERY - 1)
    assert seen.may_look(LOOK_EVERY)
    assert seen.may_look(-1), "the clock was set"


def test_nothing_waits_for_longer_than_a_sweep_for_a_message_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ``random`` draws: claims come by themselves when they are due."""
    for drawn in (0.0, 0.5, 1.0):
        monkeypatch.setattr(outlook.random, "random", lambda drawn=drawn: drawn)
        seen, now, ready_at = Outlook(), 0, 20 * SECOND
        while True:
            lost = seen.look([A] if now >= ready_at else [], now)
            if lost:
                break
            seen.note_claim(1, now)
            assert seen.again_at is not None
            assert seen.again_at > now
            now = seen.again_at
        assert now - ready_at <= SWEEP


def test_a_moment_that_was_named_stays_unless_an_earlier_one_comes() -> None:
    """A claim that goes with each outcome must not name another one each time, which would be news."""
    seen = hungry()
    first = seen.again_at
    assert first is not None
    seen.note_claim(2, SECOND)
    assert seen.again_at == first
    seen.note_claim(0, 2 * SECOND)
    assert seen.again_at == first
    seen.look([A], 2 * SECOND)
    seen.note_claim(2, 2 * SECOND)
    assert seen.again_at <= first
    seen.note_claim(1, first)
    assert seen.again_at > first
