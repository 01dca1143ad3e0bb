"""Remember what a worker has seen of the index of ready jobs, and how messages come to it."""

from __future__ import annotations

import random
from collections.abc import Iterable

from asyncjobs.core.state import SECOND

LEFT_TO_MESSAGES = 3 * SECOND
"""µs for which a job is left to its message, beyond the time that messages take to arrive."""
LOOK_EVERY = SECOND
"""µs between two looks at the head of the index while a claim has enough: it has jobs of high priority, too."""
_LOOK_AGAIN = 5 * SECOND
"""µs after which a worker with free slots looks again, though nothing has happened."""
_REMEMBERED = 10 * SECOND
"""µs after which what was not seen again is forgotten: some looks."""

Place = tuple[str, str]
"""Where a ready job stands in the order of claims, and its id."""


class Outlook:
    """What a worker has seen. Moments are µs of the store's lease time.

    It is *hungry* from the first claim that left slots free, until one is filled.
    """

    def __init__(self) -> None:
        self.again_at: int | None = None
        """When to claim again, though nothing happens before."""
        self.first: Place | None = None
        """The first job that the last look left to its message."""
        self._hungry_since: int | None = None
        self._looked_at: int | None = None
        self._left: int | None = None  # when the first of those was first seen that the last look left
        self._message_at: int | None = None
        self._delay = 0  # that the last message took to arrive
        self._seen: dict[Place, int] = {}
        self._before: dict[Place, int] = {}  # as the last one, of some looks before
        self._turned = 0

    def note_messages(self, delays: Iterable[float | None], now: int) -> None:
        """Note that messages have arrived, and how many seconds each took; None: it was received before."""
        for delay in delays:
            if delay is not None:
                self._message_at, self._delay = now, round(delay * SECOND)

    def may_look(self, now: int) -> bool:
        """Return whether the last look was some time ago."""
        return self._looked_at is None or not 0 <= now - self._looked_at < LOOK_EVERY

    def note_look(self, now: int) -> None:
        """Note a look of a process that is alone, and leaves nothing to messages."""
        self._looked_at = now

    def look(self, places: Iterable[Place], now: int) -> list[Place]:
        """Note that these jobs stand in the index; return those that have lost their messages, by all appearances."""
        if not 0 <= now - self._turned < _REMEMBERED:
            self._before, self._seen, self._turned = self._seen, {}, now
        found = {place: self._seen.get(place, self._before.get(place, now)) for place in places}
        self._seen |= found
        self._looked_at = now
        hungry = self._hungry_since is not None and now - self._hungry_since >= LEFT_TO_MESSAGES
        lost = [place for place, since in found.items() if hungry and now - since >= self._patience(now)]
        left = found.keys() - set(lost)
        self.first = min(left, default=None)
        self._left = min((found[place] for place in left), default=None)
        return lost

    def _patience(self, now: int) -> int:
        comes = self._message_at is not None and now - self._message_at < LEFT_TO_MESSAGES
        return LEFT_TO_MESSAGES + (self._delay if comes else 0)

    def note_claim(self, free: int, now: int) -> None:
        """Note how many slots a claim has left free, and decide when to claim again."""
        if not free:
            self._hungry_since = None
            return
        if self._hungry_since is None:
            self._hungry_since = now
        at = now + _LOOK_AGAIN
        if self._left is not None and self._looked_at is not None:
            due = max(self._left + self._patience(now), self._hungry_since + LEFT_TO_MESSAGES)
            # Not at the same moment as other processes, which have seen the same.
            at = min(at, max(due, self._looked_at + LOOK_EVERY) + round(random.random() * SECOND))
        if self.again_at is None or self.again_at <= now or at < self.again_at:
            self.again_at = at
