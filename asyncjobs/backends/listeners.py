"""Notify every listener of a commit, so that one that raises does not affect the others."""

from __future__ import annotations

from collections.abc import Callable

from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.backends.values import Listener
from asyncjobs.safe_logging import SafeLogger


class Listeners:
    """The listeners of one backend object, in the order in which they were added."""

    def __init__(self, logger: SafeLogger) -> None:
        self._logger = logger
        self._kept: dict[object, Listener] = {}

    def add(self, listener: Listener) -> Callable[[], None]:
        """Add a listener, and return a function that removes it; one that is added twice is notified twice."""
        key = object()
        self._kept[key] = listener
        return lambda: self._remove(key)

    def _remove(self, key: object) -> None:
        self._kept.pop(key, None)

    def notify(self, events: CommittedEvents) -> None:
        """Call every listener with the events of a commit.

        A listener that another one removes meanwhile is skipped; one added meanwhile begins with the next commit.
        """
        for key, listener in tuple(self._kept.items()):
            if key not in self._kept:
                continue
            try:
                listener(events)
            except Exception:  # border: the events are stored, and the other listeners and the caller must continue
                self._logger.exception("a listener failed")
