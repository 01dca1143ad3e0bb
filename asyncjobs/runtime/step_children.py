"""Number the children that the functions of steps submit without a key: separately for each step.

Children outside of steps are numbered as the attempt submits them. A later attempt does not call the functions of kept
steps; if their children shared those numbers, the next step would get the child of another one (ADR 36).
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from types import TracebackType

from asyncjobs.core.child_ids import step_child

_innermost: ContextVar[StepChildren | None] = ContextVar("asyncjobs_step_children", default=None)


class StepChildren:
    """Surrounds the function of a step, and all that it starts: tasks, and threads that have its context.

    :param owner: the attempt. A body may run another processor, whose jobs inherit this context.
    """

    def __init__(self, owner: object, key: str) -> None:
        self._owner = owner
        self._key = key
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> None:
        self._outer = _innermost.get()
        _innermost.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _innermost.set(self._outer)  # no token, which only the same context takes: a loop may end in another one

    def belongs_to(self, owner: object) -> bool:
        """Return whether this is a step of that attempt."""
        return self._owner is owner

    def next_name(self) -> str:
        """Return the name of the next child that has no key."""
        with self._lock:
            self._count += 1
            return step_child(self._key, self._count)


def children_of_step(owner: object) -> StepChildren | None:
    """Return the children of the innermost step of this attempt that the calling code is part of, None outside."""
    step = _innermost.get()
    return step if step is not None and step.belongs_to(owner) else None
