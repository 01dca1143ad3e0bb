"""Find the dead workers by their rows: an unreadable row does not keep a worker from being reaped.

An impossible lease (text, or a moment that no lease can reach) proves nothing. A live worker replaces it with its next
heartbeat; if it stays for the length of a lease, the worker is dead.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from asyncjobs.core.state import SECOND
from asyncjobs.host import ProcessIdentity, is_gone

_LEASE = 15 * SECOND
"""µs, for a worker whose lease cannot be read."""


class PresentWorker(Struct, frozen=True):
    """A row of a worker that is not marked as gone. ``expires`` and ``lease`` may be of any type, as stored."""

    n: int
    expires: object
    lease: object
    identity: ProcessIdentity


class Suspect(Struct, frozen=True):
    """A worker to mark as gone, unless its lease has changed by then; if ``certain``, even if it has."""

    n: int
    expires: object
    certain: bool


class Suspects:
    """The search for dead workers, which remembers impossible leases from one call to the next."""

    def __init__(self) -> None:
        self._odd: dict[int, tuple[object, int]] = {}

    def among(
        self, present: Iterable[PresentWorker], me: ProcessIdentity, monotonic: int, *, expired: bool
    ) -> list[Suspect]:
        """Return the workers whose process is gone, and if ``expired`` those whose lease has run out."""
        odd: dict[int, tuple[object, int]] = {}
        found: list[Suspect] = []
        for worker in present:
            certain = is_certainly_gone(worker.identity, me)
            lease = worker.lease if isinstance(worker.lease, int) and worker.lease > 0 else _LEASE
            ends = worker.expires
            if not isinstance(ends, int) or ends > monotonic + lease:
                before = self._odd.get(worker.n)
                since = before[1] if before is not None and before[0] == ends else monotonic
                odd[worker.n] = (ends, since)
                over = monotonic - since > lease
            else:
                over = ends < monotonic
            if certain or (expired and over):
                found.append(Suspect(worker.n, ends, certain))
        self._odd = odd
        return found


def is_certainly_gone(identity: ProcessIdentity, me: ProcessIdentity) -> bool:
    """Return whether a process has certainly ended; False if its identity cannot be read."""
    texts = (identity.host, identity.boot, identity.pid_namespace, identity.start)
    if not isinstance(identity.pid, int) or not all(isinstance(text, str) for text in texts):
        return False
    return is_gone(identity, me)


def is_alive(expires: object, monotonic: int) -> bool:
    """Return whether a lease is still running; True for an unreadable one, whose worker may be alive."""
    return not isinstance(expires, int) or expires >= monotonic
