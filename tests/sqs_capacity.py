"""A client of DynamoDB that counts what its calls cost, and refuses what the emulator lets pass.

What a call costs is computed from the items, by the rules of AWS: a write costs by the KB of the larger of the old and
the new item, twice that in a transaction; an index costs 1 for each entry that appears or goes, 2 for one that moves;
a read costs by 4 KB, half of that if it is not consistent. To know the items, it reads them before and after: between
two of its calls no other process must write them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tests.sqs_faults import Wrapped, answer_of

_INDEXES = {"work": ("wp", "ws"), "list": ("lp", "n"), "log": ("gp", "n")}
_LARGEST_KEYS = {"pk": 2048, "sk": 1024, "wp": 2048, "ws": 1024, "lp": 2048, "gp": 2048}
_LARGEST_ITEM = 400 * 1024
_MOST = {"transact_write_items": 100, "batch_write_item": 25, "batch_get_item": 100}
_SET = re.compile(r"(#\d+) = (:\d+)")

Stored = Mapping[str, Any]
_ItemKey = tuple[str, str]


def size_of(value: Mapping[str, Any]) -> int:
    """Return the bytes of an attribute value."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            digits = content.lstrip("-").strip("0") or "0"
            return 1 + (len(digits) + 1) // 2 + content.startswith("-")
        case "L":
            return 3 + sum(1 + size_of(element) for element in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + size_of(element) for name, element in content.items())
        case _:
            return 1


def item_size(item: Stored) -> int:
    """Return the bytes of an item."""
    return sum(len(name.encode()) + size_of(value) for name, value in item.items())


def _units(size: int, unit: int) -> int:
    return max(1, -(-size // unit))


def write_units(old: Stored | None, new: Stored | None) -> Counter[str]:
    """Return what a write costs, by where: the table, and each index."""
    cost = Counter({"table": _units(max(item_size(old or {}), item_size(new or {})), 1024)})
    for name, keys in _INDEXES.items():
        before, after = (_entry(item, keys) for item in (old, new))
        if before == after:
            continue
        entries = [entry for entry in (before, after) if entry is not None]
        cost[name] = sum(_units(item_size(entry), 1024) for entry in entries)
    return cost


def _entry(item: Stored | None, keys: tuple[str, str]) -> Stored | None:
    if item is None or not all(key in item for key in keys):
        return None
    return {name: item[name] for name in ("pk", "sk", *keys)}


class CountingClient(Wrapped):
    """A client that counts calls by operation, ``written`` capacity by table and index, and ``read`` capacity."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.calls: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.read = 0.0

    @property
    def write_units(self) -> int:
        """All that was written."""
        return self.written.total()

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call, and count it."""
        _check(operation, request)
        self.calls[operation] += 1
        keys = written(operation, request)
        if not keys:
            answer = await super().call(operation, **request)
            shown = answer
            if operation == "query" and "Items" not in answer:  # it was only counted, which costs as much
                shown = await super().call(
                    operation, **{key: value for key, value in request.items() if key != "Select"}
                )
            self._count_read(operation, request, shown)
            return answer
        before = await self._items(keys)
        factor = 2 if operation == "transact_write_items" else 1
        try:
            answer = await super().call(operation, **request)
        except ClientError:
            for key in keys:  # a refusal costs what the item has
                self.written["table"] += factor * _units(item_size(before.get(key, {})), 1024)
            raise
        after = await self._items(keys)
        for key in keys:
            cost = write_units(before.get(key), after.get(key))
            cost["table"] *= factor
            self.written += cost
        return answer

    async def _items(self, keys: Iterable[tuple[str, _ItemKey]]) -> dict[tuple[str, _ItemKey], Stored]:
        found: dict[tuple[str, _ItemKey], Stored] = {}
        for table, (pk, sk) in keys:
            key = {"pk": {"S": pk}, "sk": {"S": sk}}
            answer = await self.client.get_item(TableName=table, Key=key, ConsistentRead=True)
            if "Item" in answer:
                found[table, (pk, sk)] = answer["Item"]
        return found

    def _count_read(self, operation: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        if operation == "get_item":
            size = _units(item_size(answer.get("Item", {})), 4096)
            self.read += size if request.get("ConsistentRead") else size / 2
        if operation == "query":
            size = _units(sum(map(item_size, answer["Items"])), 4096)
            self.read += size if request.get("ConsistentRead") else size / 2
        if operation == "batch_get_item":
            for table, asked in request["RequestItems"].items():
                left = answer.get("UnprocessedKeys", {}).get(table, {"Keys": ()})["Keys"]
                items = answer["Responses"].get(table, ())
                missing = len(asked["Keys"]) - len(left) - len(items)  # to find that there is none costs, too
                size = sum(_units(item_size(item), 4096) for item in items) + missing
                self.read += size if asked.get("ConsistentRead") else size / 2


def written(operation: str, request: Mapping[str, Any]) -> list[tuple[str, _ItemKey]]:
    """Return the table and the key of each item that a call writes, or checks in a transaction."""
    if operation == "batch_write_item":
        return [
            (table, _key(next(iter(write.values()))))
            for table, writes in request["RequestItems"].items()
            for write in writes
        ]
    if operation == "transact_write_items":
        actions = [next(iter(action.values())) for action in request["TransactItems"]]
        return [(action["TableName"], _key(action)) for action in actions]
    if operation in ("put_item", "update_item", "delete_item"):
        return [(request["TableName"], _key(request))]
    return []


def _key(write: Mapping[str, Any]) -> _ItemKey:
    named = write.get("Item") or write["Key"]
    return named["pk"]["S"], named["sk"]["S"]


def _check(operation: str, request: Mapping[str, Any]) -> None:
    """Refuse what AWS refuses: too many items, too long keys, an item twice, an item that is too large."""
    keys = written(operation, request)
    asked = [
        key for content in request.get("RequestItems", {}).values() if "Keys" in content for key in content["Keys"]
    ]
    if max(len(keys), len(asked)) > _MOST.get(operation, 1000):
        raise _invalid(operation, f"more than {_MOST[operation]} items")
    if len(set(keys)) < len(keys):
        raise _invalid(operation, "an item twice")
    for write in _writes(operation, request):
        given = {**write.get("Item", {}), **write.get("Key", {}), **_assigned(write)}
        for name, most in _LARGEST_KEYS.items():
            if name in given and not 0 < len(given[name]["S"].encode()) <= most:
                raise _invalid(operation, f"the key {name} has {len(given[name]['S'].encode())} bytes")
        if item_size(write.get("Item", {})) > _LARGEST_ITEM:
            raise _invalid(operation, "an item of more than 400 KB")


def _writes(operation: str, request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if operation == "batch_write_item":
        writes = [write for found in request["RequestItems"].values() for write in found]
    elif operation == "transact_write_items":
        writes = request["TransactItems"]
    else:
        return [request] if operation in ("put_item", "update_item", "delete_item") else []
    return [next(iter(write.values())) for write in writes]


def _assigned(write: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an update expression assigns to whole attributes."""
    names, given = write.get("ExpressionAttributeNames", {}), write.get("ExpressionAttributeValues", {})
    text = write.get("UpdateExpression", "")
    return {names[name]: given[value] for name, value in _SET.findall(text) if name in names and value in given}


def _invalid(operation: str, why: str) -> ClientError:
    error = answer_of("ValidationException", operation)
    error.response["Error"]["Message"] = why
    return error
