"""A store in SQS and DynamoDB that announces each of its writes: just before it, and when it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.config import SQSConfig
from tests.sqs_faults import WRITES, Wrapped


class HookedBackend(SQSBackend):
    """Calls ``hook`` with ``before-commit`` and ``after-commit`` around each write of the table."""

    def __init__(self, config: SQSConfig, hook: Callable[[str], None]) -> None:
        super().__init__(config)
        self._hook = hook

    async def open(self) -> None:
        """Open, and announce what is written from now on."""
        await super().open()
        table: Any = self._parts.transitions.table
        if not isinstance(table._client, _Announcing):
            table._client = _Announcing(table._client, self._hook)


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
