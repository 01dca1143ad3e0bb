"""A client whose indexes lag behind, and which counts what it is asked."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asyncjobs.backends.sqs import values
from asyncjobs.backends.sqs.table import Index, Item

_KEYS: dict[str, tuple[str, str]] = {index.value[0]: index.value[1:] for index in Index}


class LaggingClient:
    """Answers Queries of an index from the items as they were when ``freeze`` was called; until ``thaw``.

    ``calls`` are the operations that were asked for, with the number of keys of each read of rows. ``before`` is called
    before the next update of an item.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table
        self._frozen: list[Item] | None = None
        self.calls: list[tuple[str, int]] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self._reads = 0
        self._after: Callable[[], Awaitable[None]] | None = None

    async def freeze(self) -> None:
        found: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            page = await self._client.scan(TableName=self._table, ConsistentRead=True, **start)
            found += map(values.plain_item, page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        self._frozen = found

    def thaw(self) -> None:
        self._frozen = None

    def after_reads(self, reads: int, act: Callable[[], Awaitable[None]]) -> None:
        """Act once so many reads of rows and other items were answered from now on."""
        self._reads, self._after = reads, act

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.calls)

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name)

    async def _call(self, name: str, **request: Any) -> Any:
        keys = len(request["RequestItems"][self._table]["Keys"]) if name == "batch_get_item" else 1
        self.calls.append((name, keys))
        if name == "update_item" and self.before is not None:
            before, self.before = self.before, None
            await before()
        if name == "query" and "IndexName" in request and self._frozen is not None:
            return self._query(self._frozen, request)
        answer = await getattr(self._client, name)(**request)
        if name in ("get_item", "batch_get_item") and self._after is not None:
            self._reads -= 1
            if not self._reads:
                act, self._after = self._after, None
                await act()
        return answer

    def _query(self, items: list[Item], request: Mapping[str, Any]) -> dict[str, Any]:
        partition, order = _KEYS[request["IndexName"]]
        given = {name: values.plain(value) for name, value in request["ExpressionAttributeValues"].items()}
        condition = request["KeyConditionExpression"]
        low, high = given.get(":a"), given.get(":z")
        at_least, at_most = "BETWEEN" in condition or ">=" in condition, "BETWEEN" in condition or "<=" in condition
        found = [
            item
            for item in items
            if item.get(partition) == given[":h"]
            and (low is None or (item[order] >= low if at_least else item[order] > low))
            and (high is None or (item[order] <= high if at_most else item[order] < high))
        ]
        found.sort(key=lambda item: item[order], reverse=not request.get("ScanIndexForward", True))
        if (start := request.get("ExclusiveStartKey")) is not None:
            found = found[int(start["place"]["N"]) :]
        limit = request.get("Limit", len(found))
        answer: dict[str, Any] = {"Count": len(found[:limit])}
        if request.get("Select") != "COUNT":
            answer["Items"] = [
                values.item({name: item[name] for name in ("pk", "sk", partition, order)}) for item in found[:limit]
            ]
        if len(found) > limit:
            place = limit + (0 if start is None else int(start["place"]["N"]))
            answer["LastEvaluatedKey"] = {"place": {"N": str(place)}}
        return answer
