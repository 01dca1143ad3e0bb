"""A store of SQS whose clients have one kind of fault, for the conformance suite.

``ASYNCJOBS_TEST_FAULTS`` names the kinds, or ``all``: the suite then runs on such stores alone, once for each kind.
``ASYNCJOBS_TEST_SEED`` draws other faults.
"""

from __future__ import annotations

import os
from zlib import crc32

import pytest

from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.clock import Clock
from asyncjobs.config import SQSConfig
from tests.sqs_faults import Faults, FaultyClient, MessageFaults
from tests.sqs_wrapped_store import WrappedSQSBackend, break_messages

TABLE: dict[str, Faults] = {
    "before": Faults(before=0.1),
    "repeated": Faults(repeated=0.3),
    "throttled": Faults(throttled=0.1),
    "conflict": Faults(conflict=0.2),
    "half": Faults(half=0.3),
    "stale": Faults(stale=5),
    # A refusal is rare in the suite, so all are so.
    "forgetful": Faults(forgetful=1.0, repeated=0.1),
}
"""The kinds of faults of DynamoDB that the store sees through: none of them reaches the caller."""
MESSAGES: dict[str, MessageFaults] = {
    "messages": MessageFaults(duplicated=0.3, late=0.3, reordered=0.5, unsent=0.3),
    "expired": MessageFaults(expired=0.5),
}
"""The kinds of faults of SQS."""
KINDS = (*TABLE, *MESSAGES)


def asked_for() -> tuple[str, ...]:
    """Return the kinds of faults with which the suite is to run; none: it runs without."""
    given = os.environ.get("ASYNCJOBS_TEST_FAULTS", "")
    kinds = KINDS if given == "all" else tuple(kind for kind in given.split(",") if kind)
    if unknown := set(kinds) - set(KINDS):
        raise pytest.UsageError(f"ASYNCJOBS_TEST_FAULTS: no kind {', '.join(sorted(unknown))}; {', '.join(KINDS)}")
    return kinds


class FaultySQSBackend(WrappedSQSBackend):
    """A store whose calls fail in ways that it must see through.

    :param name: draws the faults, together with the seed of the run.
    """

    def __init__(self, config: SQSConfig, *, clock: Clock, kind: str, name: str) -> None:
        super().__init__(config, clock=clock, wrap=self._break)
        self._kind = kind
        self._seed = crc32(name.encode()) + int(os.environ.get("ASYNCJOBS_TEST_SEED", "0"))

    def _break(self, clients: Clients) -> None:
        self._seed += 1  # opened again, it fails elsewhere
        if (of_table := TABLE.get(self._kind)) is not None:
            clients.dynamodb = FaultyClient(clients.dynamodb, of_table, self._seed)
            return
        break_messages(clients, MESSAGES[self._kind], self._seed)
