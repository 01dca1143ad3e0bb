"""What a body said and is not stored yet: order, merging, the rate of progress, bounds."""

from __future__ import annotations

import random
import threading
from itertools import pairwise

import pytest

from asyncjobs.clock import SystemClock
from asyncjobs.models import BodyEvent
from asyncjobs.runtime import body_events
from asyncjobs.runtime.body_events import MOST_UNSTORED, MOST_UNSTORED_BYTES, BodyEvents, WithBodyEvents
from asyncjobs.testing import ManualClock

MANY = 1_000


def log(n: int, size: int = 0) -> BodyEvent:
    return BodyEvent("log", {"message": n, "padding": "x" * size}, n)


def output(n: int) -> BodyEvent:
    return BodyEvent("output", {"message": n}, n)


def progress(n: int) -> BodyEvent:
    return BodyEvent("progress", {"done": n}, n)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def said(clock: ManualClock) -> BodyEvents:
    return BodyEvents(clock)


def add(said: BodyEvents, *events: BodyEvent) -> None:
    for event in events:
        said.add(event)


def test_all_is_taken_in_the_order_it_was_said(said: BodyEvents) -> None:
    events = (log(1), output(2), progress(3), output(4), log(5))
    add(said, *events)
    assert said.take(MANY) == events
    assert said.take(MANY) == ()
    assert not said


def test_only_the_first_word_after_a_silence_has_to_wake_somebody(said: BodyEvents) -> None:
    assert [said.add(event) for event in (log(1), progress(2), progress(3), output(4))] == [True, False, False, False]
    said.take(MANY)
    assert said.add(log(5)) is True


def test_progress_that_is_not_stored_gives_way_to_newer_which_stands_where_it_was_said(said: BodyEvents) -> None:
    add(said, progress(1), log(2), progress(3), output(4), progress(5), progress(6), log(7))
    assert said.take(MANY) == (log(2), output(4), progress(6), log(7))


def test_progress_is_taken_five_times_a_second(said: BodyEvents, clock: ManualClock) -> None:
    taken: list[BodyEvent] = []
    for look in range(41):  # two seconds, a look every 50 ms, ten words between two looks
        add(said, *(progress(look * 10 + i) for i in range(10)))
        taken += said.take(MANY)
        clock.advance(0.05)
    assert [event.data["done"] for event in taken] == [look * 10 + 9 for look in range(0, 41, 4)]


def test_what_is_said_before_held_back_progress_is_not_held_back(said: BodyEvents, clock: ManualClock) -> None:
    add(said, progress(1))
    assert said.take(MANY) == (progress(1),)
    add(said, log(2), progress(3), log(4))
    assert said.take(MANY) == (log(2),)
    assert said.take(MANY) == ()
    add(said, progress(5))  # the newest is behind log 4, which need not wait any more
    assert said.take(MANY) == (log(4),)
    clock.advance(0.199)
    assert said.take(MANY) == ()
    clock.advance(0.001)
    assert said.take(MANY) == (progress(5),)


def test_nothing_said_after_held_back_progress_waits_longer_than_it(said: BodyEvents, clock: ManualClock) -> None:
    add(said, progress(1))
    said.take(MANY)
    add(said, progress(2), log(3), output(4))
    assert said.take(MANY) == ()
    clock.advance(0.2)
    assert said.take(MANY) == (progress(2), log(3), output(4))


def test_at_the_end_everything_is_taken(said: BodyEvents) -> None:
    add(said, progress(1))
    said.take(MANY)
    add(said, log(2), progress(3), log(4))
    assert said.take() == (log(2), progress(3), log(4))


def test_no_more_than_asked_for(said: BodyEvents) -> None:
    add(said, *(log(n) for n in range(5)))
    assert said.take(2) == (log(0), log(1))
    assert said.take(2) == (log(2), log(3))
    assert said


def test_what_is_put_back_comes_before_what_was_said_since(said: BodyEvents, clock: ManualClock) -> None:
    add(said, log(1), progress(2), output(3))
    said.take(MANY)
    add(said, output(4), log(5))
    said.put_back()
    clock.advance(0.2)
    assert said.take(MANY) == (log(1), progress(2), output(3), output(4), log(5))


def test_progress_that_is_put_back_gives_way_to_newer(said: BodyEvents) -> None:
    add(said, progress(1), log(2))
    said.take(MANY)
    add(said, progress(3))
    said.put_back()
    assert said.take() == (log(2), progress(3))


def test_after_the_end_nothing_is_heard(said: BodyEvents) -> None:
    add(said, log(1))
    said.closed = True
    assert said.add(log(2)) is False
    assert said.take() == (log(1),)


# -- bounds


def dropped(event: BodyEvent) -> int:
    assert (event.type, event.data["level"], event.data["logger"]) == ("log", "warning", "asyncjobs")
    assert f"{event.data['dropped']:,} earlier events left out here" in event.data["message"]
    return event.data["dropped"]


def test_the_oldest_log_events_make_room_and_one_event_says_how_many(said: BodyEvents) -> None:
    add(said, log(0), output(1), progress(2))
    add(said, *(log(n) for n in range(3, MOST_UNSTORED + 1_003)))
    taken = said.take()
    assert taken[:2] == (output(1), progress(2))
    assert dropped(taken[2]) == 1_002  # log 0, and those from 3 on
    assert taken[2].at == 1_003
    assert taken[3:] == tuple(log(n) for n in range(1_004, MOST_UNSTORED + 1_003))
    add(said, log(1))
    assert said.take() == (log(1),)


def test_long_texts_count_by_their_bytes(said: BodyEvents) -> None:
    size = 16_000
    add(said, *(log(n, size) for n in range(2_000)))
    taken = said.take()
    assert dropped(taken[0]) + len(taken) - 1 == 2_000
    assert taken[-1] == log(1_999, size)
    assert MOST_UNSTORED_BYTES * 0.99 < (len(taken) - 1) * size <= MOST_UNSTORED_BYTES


def test_output_makes_room_only_when_no_log_is_left(said: BodyEvents) -> None:
    add(said, log(0))
    add(said, *(output(n) for n in range(1, MOST_UNSTORED + 6)))
    taken = said.take()
    assert dropped(taken[0]) == 6
    assert taken[1:] == tuple(output(n) for n in range(6, MOST_UNSTORED + 6))


def test_progress_stays_whatever_is_dropped(said: BodyEvents) -> None:
    add(said, progress(0))
    add(said, *(output(n) for n in range(MOST_UNSTORED + 5)))
    assert said.take()[0] == progress(0)


def test_progress_that_gave_way_takes_no_room(said: BodyEvents) -> None:
    add(said, log(0))
    add(said, *(BodyEvent("progress", {"done": n, "message": "x" * 16_000}, n) for n in range(1, 1_000)))
    first, newest = said.take()
    assert (first, newest.at) == (log(0), 999)


def test_a_count_that_is_put_back_goes_on(said: BodyEvents) -> None:
    add(said, *(log(n) for n in range(MOST_UNSTORED + 10)))
    assert dropped(said.take(3)[0]) == 10
    said.put_back()
    add(said, *(log(n) for n in range(5)))
    taken = said.take()
    assert dropped(taken[0]) == 15
    assert len(taken) == MOST_UNSTORED + 1


# -- from everywhere


def test_every_thread_is_heard_in_its_own_order() -> None:
    said = BodyEvents(SystemClock())
    taken: list[BodyEvent] = []

    def talk(who: int) -> None:
        for n in range(500):
            said.add(BodyEvent("log" if n % 2 else "output", {"who": who, "n": n}, 0))

    threads = [threading.Thread(target=talk, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += said.take(100)
    taken += said.take()
    assert len(taken) == 8 * 500
    for who in range(8):
        assert [event.data["n"] for event in taken if event.data["who"] == who] == list(range(500))


def test_a_finalizer_that_logs_while_we_hold_the_lock_does_not_hang(said: BodyEvents) -> None:
    with said.lock:  # the collector runs it in the very thread
        said.add(log(1))
    assert said.take() == (log(1),)


SAY = {"log": log, "output": output, "progress": progress}


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_between_it_is_stored_once_and_in_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random words, looks, failures of the store and moments, against what must come of them."""
    chance = random.Random(seed)
    monkeypatch.setattr(body_events, "MOST_UNSTORED", chance.choice([5, 20, 1_000]))
    clock = ManualClock()
    said = BodyEvents(clock)
    words: list[str] = []
    stored: list[BodyEvent] = []
    shown: list[int] = []  # when progress was taken and stored

    def say(kind: str) -> None:
        said.add(SAY[kind](len(words)))
        words.append(kind)

    for _ in range(500):
        match chance.choice(["log", "log", "output", "progress", "progress", "look", "fail", "time"]):
            case "look":
                taken = said.take(chance.choice([1, 3, MANY]))
                shown += [clock.monotonic() for event in taken if event.type == "progress"]
                stored += taken
            case "fail":
                said.take(chance.choice([1, 3, MANY]))
                for _ in range(chance.randrange(3)):
                    say(chance.choice(list(SAY)))
                said.put_back()
            case "time":
                clock.advance(chance.choice([0.01, 0.05, 0.3]))
            case word:
                say(word)
    stored += said.take()
    order = [event.at for event in stored]
    assert order == sorted(set(order)), "each once, in the order it was said"
    lost = sum(event.data.get("dropped", 0) for event in stored)
    kept = [event for event in stored if event.type != "progress" and "dropped" not in event.data]
    assert len(kept) + lost == len(words) - words.count("progress")
    assert all(event.type == words[event.at] for event in kept)
    assert [event.at for event in stored if event.type == "progress"][-1] == len(words) - 1 - words[::-1].index(
        "progress"
    )
    assert all(later - sooner >= 200_000 for sooner, later in pairwise(shown))


# -- made by the first report


class Attempt(WithBodyEvents):
    def __init__(self) -> None:
        self._clock = ManualClock()


def test_an_attempt_whose_body_reports_nothing_has_no_place_for_reports() -> None:
    attempt = Attempt()
    assert attempt.reported is None
    attempt.close_body_events()
    assert attempt.reported is None


def test_the_first_report_makes_it_for_all_that_follow() -> None:
    attempt = Attempt()
    attempt.body_events.add(log(1))
    attempt.body_events.add(log(2))
    assert attempt.reported is attempt.body_events
    assert attempt.body_events.take() == (log(1), log(2))


@pytest.mark.parametrize("before", [True, False])
def test_what_is_reported_after_the_end_of_the_body_is_dropped(before: bool) -> None:
    attempt = Attempt()
    if before:
        attempt.body_events.add(log(1))
    attempt.close_body_events()
    assert attempt.is_over
    assert not attempt.body_events.add(log(2))
    assert attempt.body_events.take() == ((log(1),) if before else ())


def test_threads_that_report_first_at_the_same_time_lose_nothing() -> None:
    for _ in range(200):
        attempt, begin = Attempt(), threading.Barrier(4)

        def report(n: int, attempt: Attempt = attempt, begin: threading.Barrier = begin) -> None:
            begin.wait()
            attempt.body_events.add(log(n))

        threads = [threading.Thread(target=report, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {event.data["message"] for event in attempt.body_events.take()} == {0, 1, 2, 3}
