"""A store in SQS and DynamoDB that announces each of its writes: just before it, and when it is there.

Its clients may have faults, of all kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.config import SQSConfig
from tests.sqs_faults import WRITES, Faults, FaultyClient, MessageFaults, Wrapped
from tests.sqs_wrapped_store import WrappedSQSBackend, break_messages

FAULTS = Faults(
    before=0.01, lost=0.002, repeated=0.05, throttled=0.01, conflict=0.02, half=0.05, forgetful=0.2, stale=3
)
MESSAGE_FAULTS = MessageFaults(duplicated=0.1, late=0.1, reordered=0.3, unsent=0.1, expired=0.1)


class HookedBackend(WrappedSQSBackend):
    """Calls ``hook`` with ``before-commit`` and ``after-commit`` around each write of the table.

    :param seed: draws faults of all kinds; None: there are none. ``faults`` counts them.
    """

    def __init__(self, config: SQSConfig, hook: Callable[[str], None], seed: int | None = None) -> None:
        super().__init__(config, wrap=self._change)
        self._hook = hook
        self._seed = seed
        self.faults: Counter[str] = Counter()

    def _change(self, clients: Clients) -> None:
        clients.dynamodb = _Announcing(clients.dynamodb, self._hook)
        if self._seed is not None:
            self._seed += 1_000_000  # opened again, it fails elsewhere; seeds of processes differ by their pids
            clients.dynamodb = FaultyClient(clients.dynamodb, FAULTS, self._seed)
            self.faults = clients.dynamodb.happened
            break_messages(clients, MESSAGE_FAULTS, self._seed)


class _Announcing(Wrapped):
    def __init__(self, client: Any, hook: Callable[[str], None]) -> None:
        super().__init__(client)
        self._hook = hook

    async def call(self, operation: str, **request: Any) -> Any:
        if operation not in WRITES:
            return await super().call(operation, **request)
        self._hook("before-commit")
        answer = await super().call(operation, **request)
        self._hook("after-commit")
        return answer
