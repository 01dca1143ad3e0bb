"""Specify what a store does with its log: the events of all jobs, in one order, read by cursors.

It is a part of the contract of ``backends.base``. A cursor is the position of an event: the decimal digits of an
integer, at most 19, which grows along the log. Without the capability ``"dense_log"``:

- positions have holes;
- the events that listeners get have the cursor ``""``: the log has no position for them yet. It has one by the time
  that the next call of ``read_events`` or ``last_cursor`` on the same backend object returns, so it is enough to read
  the log once after a commit;
- a page of the whole log may end before the last events of other processes. They come in a later one, each once. Pages
  of a job or of a group end with what was stored when the call began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from asyncjobs.backends.values import Listener
from asyncjobs.models import EventPage


class EventStore(ABC):
    """The log of a store."""

    @abstractmethod
    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on the event loop with the events of every own commit, in order, before callers continue.

        They are a sequence of ``JobEvent``, which makes them when one is read, and knows before that what has changed.
        It must not block. A listener that raises is logged, and the others are called all the same. Listeners survive
        closing and opening. Commits of other processes are noticed by ``wait``.

        :returns: a function that removes the listener, effective at once, also while another listener runs.
        """

    @abstractmethod
    async def read_events(
        self,
        after: str | None = None,
        *,
        limit: int = 500,
        job_id: str | None = None,
        group: str | None = None,
    ) -> EventPage:
        """Return a page of the log behind a cursor (None: from the beginning), of one job, one group, or all.

        The page's ``cursor`` moves on even where filters left nothing. A cursor below the highest one that retention
        ever removed gives what is left, with ``lost`` True. Any position up to that of the newest event is a cursor,
        also in a hole.

        :raises ConfigurationError: ``after`` is not a cursor of this store.
        """

    @abstractmethod
    async def last_cursor(self) -> str:
        """Return the cursor of the newest stored event; reading after it gives only later ones."""
