"""The types of answers that a process asked for: bounded, and of the gates that it has now."""

from __future__ import annotations

from asyncjobs.runtime import known_answers
from asyncjobs.runtime.known_answers import KnownAnswers


def test_a_type_is_described_once_for_each_object() -> None:
    known, kind = KnownAnswers(), list[int]
    assert known.describe(kind) is known.describe(kind)
    assert known.describe(known.describe(kind)) is known.describe(kind)
    assert known.describe(int | str).schema != known.describe(str | int).schema, "equal types, other schemas"


def test_types_are_kept_by_gate_and_the_oldest_go_first() -> None:
    known, most = KnownAnswers(), known_answers._MOST_GATES
    kind = known.describe(int)
    for i in range(most + 10):
        known.note(f"g{i}", kind)
    assert [known.find(f"g{i}") is None for i in (0, 9, 10, most + 9)] == [True, True, False, False]
    known.forget(["g10", "unknown"])
    assert known.find("g10") is None


def test_descriptions_are_bounded() -> None:
    known = KnownAnswers()
    for _ in range(1000):
        known.describe(list[int])
    assert len(known._described) <= known_answers._MOST_TYPES
