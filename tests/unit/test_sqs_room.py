"""For how many more jobs there is room, as far as claims tell that overlap."""

from __future__ import annotations

from asyncjobs.backends.sqs.room import Room


def free(room: Room) -> dict[str, int]:
    return {worker: count for worker, count, _ in room}


def test_a_claim_leaves_what_it_did_not_fill() -> None:
    room = Room()
    room.begin("a", 5, None)
    room.end("a", 3)
    assert list(room) == [("a", 3, None)]
    room.begin("a", 3, ("x",))
    assert free(room) == {}, "meanwhile they are the claim's"
    room.end("a", 1)
    assert list(room) == [("a", 1, ("x",))]


def test_each_worker_has_its_own() -> None:
    room = Room()
    for worker, left in (("a", 5), ("b", 2), ("c", 0)):
        room.begin(worker, 5, None)
        room.end(worker, left)
    assert free(room) == {"a": 5, "b": 2}
    room.forget("a")
    room.forget("unknown")
    assert free(room) == {"b": 2}


def test_a_claim_for_no_slot_takes_no_room() -> None:
    room = Room()
    room.begin("a", 5, None)
    room.end("a", 5)
    room.begin("a", 0, None)
    room.end("a", 0)
    assert free(room) == {"a": 5}


def test_what_overlapping_claims_left_adds_up() -> None:
    """The second one asks for the slot that became free while the first one was on its way."""
    room = Room()
    room.begin("a", 3, None)
    room.begin("a", 1, None)
    room.end("a", 3)
    room.end("a", 0)
    assert free(room) == {"a": 3}
    room.begin("a", 3, None)
    room.end("a", 2)
    assert free(room) == {"a": 2}, "the third asks for all of them"


def test_a_claim_of_a_worker_that_is_gone_leaves_nothing() -> None:
    room = Room()
    room.begin("a", 3, None)
    room.forget("a")
    room.end("a", 3)
    assert free(room) == {}
