"""Clients of DynamoDB and SQS that fail as AWS does: seldom, at any time, and in ways that the emulator does not know.

Each wraps a client and is used as one. Which call fails is drawn from a seed, and each kind has a rate of its own.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError
from msgspec import Struct

WRITES = frozenset({"put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item"})
_ALONE = frozenset({"put_item", "update_item", "delete_item"})
_BATCHES = {
    "batch_write_item": ("RequestItems", "UnprocessedItems"),
    "batch_get_item": ("RequestItems", "UnprocessedKeys"),
}
_ATTRIBUTES = frozenset({"meta", "exceptions", "close", "get_waiter", "get_paginator", "can_paginate"})
"""What a client has that is no call."""


class Faults(Struct, frozen=True, kw_only=True):
    """How often each kind of fault comes: from 0 to 1.

    ``before`` and ``lost`` are what the caller of botocore sees after its last try; all others pass by themselves, or
    must be seen through, so a store behaves with them as without.
    """

    before: float = 0.0
    """The server failed, and nothing was written."""
    lost: float = 0.0
    """What was to be written was written, and no answer came."""
    repeated: float = 0.0
    """As ``lost``, but the next try of botocore was answered."""
    throttled: float = 0.0
    """Refused for the moment: too many calls."""
    conflict: float = 0.0
    """Refused for the moment: a transaction of others holds the item."""
    half: float = 0.0
    """Half of a batch was left undone."""
    forgetful: float = 0.0
    """A refusal does not bring the old item."""
    stale: int = 0
    """Calls by which what an index shows is old, at most."""


def answer_of(code: str, operation: str, *, status: int = 400, retries: int = 0, **more: Any) -> ClientError:
    """Return an error as botocore raises it for an answer."""
    about: dict[str, Any] = {"HTTPStatusCode": status, "RetryAttempts": retries, "HTTPHeaders": {}}
    response: Any = {"Error": {"Code": code, "Message": "a fault of the test"}, "ResponseMetadata": about, **more}
    return ClientError(response, operation)


class Wrapped:
    """A client whose calls go through ``call``."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        if name in _ATTRIBUTES:
            return getattr(self.client, name)
        return functools.partial(self.call, name)

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call of the client."""
        return await getattr(self.client, operation)(**request)


class ReadOnly(Wrapped):
    """A client of DynamoDB or SQS whose policy permits no writes. ``refused`` are those that were tried."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.refused: list[str] = []

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call, if it only reads."""
        if not operation.startswith(("batch_get", "describe", "get", "list", "query")):
            self.refused.append(operation)
            raise answer_of("AccessDeniedException", operation)
        return await super().call(operation, **request)


class FaultyClient(Wrapped):
    """A client of DynamoDB with faults. ``happened`` counts them by kind."""

    def __init__(self, client: Any, faults: Faults, seed: int = 0) -> None:
        super().__init__(client)
        self._faults = faults
        self._random = Random(seed)
        self._indexes = _StaleIndexes(client, self._random, faults.stale) if faults.stale else None
        self.happened: Counter[str] = Counter()

    def _draw(self, kind: str) -> bool:
        if self._random.random() >= getattr(self._faults, kind):
            return False
        self.happened[kind] += 1
        return True

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call, or have it fail."""
        self._fail_before(operation, request)
        if self._indexes is not None and operation == "query" and "IndexName" in request:
            self.happened["stale"] += 1
            return await self._indexes.query(request)
        if operation in _BATCHES and self._draw("half"):
            return await self._half(operation, request)
        try:
            answer = await super().call(operation, **request)
            if operation in WRITES and self._draw("repeated"):
                answer = await self._repeat(operation, request)
        except ClientError as error:
            if self._draw("forgetful"):
                _forget(error)
            raise
        if operation in WRITES and self._draw("lost"):
            raise ReadTimeoutError(endpoint_url="the test")
        return answer

    def _fail_before(self, operation: str, request: Mapping[str, Any]) -> None:
        if self._draw("throttled"):
            raise answer_of("ProvisionedThroughputExceededException", operation, retries=2)
        if operation in _ALONE and self._draw("conflict"):
            raise answer_of("TransactionConflictException", operation)
        if operation == "transact_write_items" and self._draw("conflict"):
            reasons: list[Any] = [{"Code": "None"} for _ in request["TransactItems"]]
            reasons[self._random.randrange(len(reasons))] = {"Code": "TransactionConflict", "Message": "a test"}
            raise answer_of("TransactionCanceledException", operation, CancellationReasons=reasons)
        if operation in WRITES and self._draw("before"):
            raise answer_of("InternalServerError", operation, status=500, retries=2)

    async def _repeat(self, operation: str, request: Mapping[str, Any]) -> Any:
        try:
            return await super().call(operation, **request)
        except ClientError as error:
            error.response["ResponseMetadata"]["RetryAttempts"] = 1
            raise

    async def _half(self, operation: str, request: Mapping[str, Any]) -> Any:
        name, undone = _BATCHES[operation]
        table: str
        content: Any
        ((table, content),) = request[name].items()
        writes = isinstance(content, list)
        every: list[Any] = list(content) if writes else content["Keys"]

        def of(part: list[Any]) -> dict[str, Any]:
            return {table: part if writes else {**content, "Keys": part}}

        middle = len(every) // 2
        answer: Any = {"Responses": {}}
        if middle:
            answer = await super().call(operation, **{**request, name: of(every[:middle])})
        return {**answer, undone: of(every[middle:])}


def _forget(error: ClientError) -> None:
    response: Any = error.response
    response.pop("Item", None)
    for reason in response.get("CancellationReasons", ()):
        reason.pop("Item", None)


class _StaleIndexes:
    """The indexes of a table as they were some calls ago.

    What is copied are the partitions that are asked for: an index of thousands of jobs would take all of the emulator.
    """

    def __init__(self, client: Any, random: Random, age: int) -> None:
        self._client = client
        self._random = random
        self._age = age
        self._left = 0
        self._entries: dict[tuple[str, str], list[Any]] = {}

    async def query(self, request: Mapping[str, Any]) -> Any:
        """Answer a query of an index by what it was."""
        if self._left <= 0:
            self._left = self._random.randint(1, self._age)
            self._entries.clear()
        self._left -= 1
        partition = request["IndexName"], request["ExpressionAttributeValues"][":h"]["S"]
        if partition not in self._entries:
            self._entries[partition] = await self._copy(request)
        return _answer(self._entries[partition], request)

    async def _copy(self, request: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = []
        start: dict[str, Any] = {}
        whole = {
            "KeyConditionExpression": "#h = :h",
            "ExpressionAttributeNames": {"#h": request["ExpressionAttributeNames"]["#h"]},
            "ExpressionAttributeValues": {":h": request["ExpressionAttributeValues"][":h"]},
        }
        while True:
            table, index = request["TableName"], request["IndexName"]
            page = await self._client.query(TableName=table, IndexName=index, **whole, **start)
            found += page["Items"]
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _answer(entries: Sequence[Any], request: Mapping[str, Any]) -> Any:
    names, given = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
    condition = request["KeyConditionExpression"].partition(" AND ")[2]
    partition = names["#h"]
    order = {"wp": "ws"}.get(partition, "n")

    def place(entry: Any) -> tuple[Any, str, str]:
        return _plain(entry[order]), entry["pk"]["S"], entry["sk"]["S"]

    chosen = [entry for entry in entries if _holds(condition, _plain(entry[order]), given)]
    chosen.sort(key=place, reverse=not request.get("ScanIndexForward", True))
    if (start := request.get("ExclusiveStartKey")) is not None:
        forward = request.get("ScanIndexForward", True)
        chosen = [
            entry for entry in chosen if (place(entry) > place(start) if forward else place(entry) < place(start))
        ]
    page = chosen[: request.get("Limit", 1000)]
    more = {"LastEvaluatedKey": page[-1]} if len(page) < len(chosen) else {}
    return {"Count": len(page), **({} if request.get("Select") == "COUNT" else {"Items": page}), **more}


def _plain(value: Mapping[str, str]) -> Any:
    return int(value["N"]) if "N" in value else value["S"]


def _holds(condition: str, value: Any, given: Mapping[str, Any]) -> bool:
    low, high = (_plain(given[name]) if name in given else None for name in (":a", ":z"))
    if condition.startswith("begins_with"):
        return value.startswith(low)
    above = low is None or value >= low
    below = high is None or (value < high if "<" in condition and "<=" not in condition else value <= high)
    return above and below


class MessageFaults(Struct, frozen=True, kw_only=True):
    """How often each kind of fault of messages comes: from 0 to 1."""

    duplicated: float = 0.0
    """A message is received once more, though it is hidden, or was deleted."""
    late: float = 0.0
    """A message is received by a later poll."""
    reordered: float = 0.0
    """A poll brings messages in another order."""
    expired: float = 0.0
    """A receipt handle is not valid any more."""
    unsent: float = 0.0
    """An entry of a batch is not sent."""


class _Queues:
    """The faults of messages, whatever client they come through."""

    def __init__(self, faults: MessageFaults, seed: int) -> None:
        self._faults = faults
        self._random = Random(seed)
        self._again: dict[str, list[Any]] = {}
        self._late: dict[str, list[Any]] = {}
        self.happened: Counter[str] = Counter()

    def _draw(self, kind: str) -> bool:
        if self._random.random() >= getattr(self._faults, kind):
            return False
        self.happened[kind] += 1
        return True

    def before(self, operation: str, request: dict[str, Any]) -> list[Any]:
        """Take out of a call what fails of it; return the entries that do."""
        if operation == "change_message_visibility" and self._draw("expired"):
            raise answer_of("InvalidParameterValue", operation)
        if operation == "delete_message" and self._draw("expired"):
            raise answer_of("ReceiptHandleIsInvalid", operation)
        kind = {
            "send_message_batch": "unsent",
            "delete_message_batch": "expired",
            "change_message_visibility_batch": "expired",
        }.get(operation)
        if kind is None:
            return []
        failed = [entry for entry in request["Entries"] if self._draw(kind)]
        request["Entries"] = [entry for entry in request["Entries"] if entry not in failed]
        code = "InternalError" if kind == "unsent" else "ReceiptHandleIsInvalid"
        return [{"Id": entry["Id"], "SenderFault": kind != "unsent", "Code": code} for entry in failed]

    def received(self, request: Mapping[str, Any], answer: Any) -> Any:
        """Change what a poll brought."""
        queue, most = request["QueueUrl"], request.get("MaxNumberOfMessages", 1)
        waiting = self._again.pop(queue, []) + self._late.pop(queue, []) + list(answer.get("Messages", ()))
        found: list[Any] = []
        for message in waiting:
            if len(found) == most or self._draw("late"):
                self._late.setdefault(queue, []).append(message)
                continue
            found.append(message)
            if self._draw("duplicated"):
                self._again.setdefault(queue, []).append(message)
        if self._draw("reordered"):
            self._random.shuffle(found)
        return {**answer, "Messages": found}


def _joined(answer: Any, failed: list[Any]) -> Any:
    return {**answer, "Failed": [*answer.get("Failed", ()), *failed]} if failed else answer


class FaultyQueue(Wrapped):
    """A client of aiobotocore for SQS with faults."""

    def __init__(self, client: Any, faults: MessageFaults, seed: int = 0) -> None:
        super().__init__(client)
        self._queues = _Queues(faults, seed)
        self.happened = self._queues.happened

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call, of which a part may fail."""
        failed = self._queues.before(operation, request)
        answer: Any = {}
        if request.get("Entries") != []:
            answer = await super().call(operation, **request)
        if operation == "receive_message":
            return self._queues.received(request, answer)
        return _joined(answer, failed)


class FaultyPolls:
    """A client of botocore for SQS with faults, as a thread uses it that polls."""

    def __init__(self, client: Any, faults: MessageFaults, seed: int = 0) -> None:
        self.client = client
        self._queues = _Queues(faults, seed)
        self.happened = self._queues.happened

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name) if name in _ATTRIBUTES else functools.partial(self.call, name)

    def call(self, operation: str, **request: Any) -> Any:
        """Make a call, of which a part may fail."""
        failed = self._queues.before(operation, request)
        answer: Any = getattr(self.client, operation)(**request) if request.get("Entries") != [] else {}
        if operation == "receive_message":
            return self._queues.received(request, answer)
        return _joined(answer, failed)
