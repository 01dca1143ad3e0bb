"""Which workers are dead, as far as their rows tell: a row that cannot be read keeps nobody from being reaped.

A lease that is none (text, or a moment that no lease can reach) says nothing. Its worker, if it lives, writes it anew
with its next beat; if the same stands there for as long as a lease takes, nobody does.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from asyncjobs.core.state import SECOND
from asyncjobs.host import ProcessIdentity, is_gone

_LEASE = 15 * SECOND
"""µs: of a worker of which it cannot be read."""


class PresentWorker(Struct, frozen=True):
    """A row of a worker that was not buried. ``expires`` and ``lease`` are whatever is stored."""

    n: int
    expires: object
    lease: object
    identity: ProcessIdentity


class Suspect(Struct, frozen=True):
    """A worker to be buried, unless its lease is another by then. ``certain``: whatever its lease is."""

    n: int
    expires: object
    certain: bool


class Suspects:
    """Finds them, and remembers leases that are none from one look to the next."""

    def __init__(self) -> None:
        self._odd: dict[int, tuple[object, int]] = {}

    def among(
        self, present: Iterable[PresentWorker], me: ProcessIdentity, monotonic: int, *, expired: bool
    ) -> list[Suspect]:
        """Return those whose process is gone, and if ``expired`` those whose lease has run out."""
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
    """Return whether its process has ended; of one whose identity cannot be read nothing is certain."""
    texts = (identity.host, identity.boot, identity.pid_namespace, identity.start)
    if not isinstance(identity.pid, int) or not all(isinstance(text, str) for text in texts):
        return False
    return is_gone(identity, me)


def is_alive(expires: object, monotonic: int) -> bool:
    """Return whether a lease runs; of one that is none nothing is known yet: its worker may live."""
    return not isinstance(expires, int) or expires >= monotonic
