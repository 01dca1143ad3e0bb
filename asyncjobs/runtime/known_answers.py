"""Keep the types of the answers that this process asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asyncjobs.checks import is_a
from asyncjobs.runtime.answer_types import AnswerType

_MOST_GATES = 10_000
_MOST_TYPES = 256


class KnownAnswers:
    """The types of answers by gate id; the oldest are dropped first. Without one, the stored schema decides."""

    def __init__(self) -> None:
        self._by_gate: dict[str, AnswerType] = {}
        self._described: dict[int, tuple[Any, AnswerType]] = {}

    def describe(self, answer_type: Any) -> AnswerType:
        """Return the description of a type, which is built once for each type object.

        :raises ConfigurationError: an answer cannot be of this type.
        """
        if is_a(answer_type, AnswerType):
            return answer_type
        known = self._described.get(id(answer_type))  # equal types may differ: ``int | str`` in the order of its schema
        if known is not None:
            return known[1]
        described = AnswerType(answer_type)
        if len(self._described) >= _MOST_TYPES:
            self._described.clear()
        self._described[id(answer_type)] = (answer_type, described)  # keeps the object alive, and so its ``id()``
        return described

    def note(self, job_id: str, answer_type: AnswerType) -> None:
        """Record the answer type of a stored gate."""
        self._by_gate.pop(job_id, None)
        self._by_gate[job_id] = answer_type
        if len(self._by_gate) > _MOST_GATES:
            del self._by_gate[next(iter(self._by_gate))]

    def find(self, job_id: str) -> AnswerType | None:
        """Return the answer type of a gate, or None if this process did not ask, or asked long ago."""
        return self._by_gate.get(job_id)

    def forget(self, job_ids: Iterable[str]) -> None:
        """Forget gates that were removed: their ids may be used again."""
        for job_id in job_ids:
            self._by_gate.pop(job_id, None)
