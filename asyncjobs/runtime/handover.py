"""Hand the result of a function from its thread to the waiting task, unless that task has left."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """One outcome, and whether the task still waits for it. Thread and task may use it at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = False
        self._given: list[T] = []

    def begin(self) -> bool:
        """Return, in the thread, whether to call the function: not if the task has already left."""
        with self._lock:
            return not self._left

    def give(self, outcome: T) -> bool:
        """Hand an outcome over, in the thread; return whether the task waits for it."""
        with self._lock:
            if not self._left:
                self._given.append(outcome)
            return not self._left

    def leave(self) -> bool:
        """Stop waiting, in the task; return False if the outcome is already there."""
        with self._lock:
            self._left = not self._given
            return self._left

    @property
    def outcome(self) -> T:
        """The result that was handed over."""
        return self._given[0]
