"""Spell writes as DynamoDB takes them: keys, expressions with placeholders, actions of transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncjobs.backends.sqs import values

if TYPE_CHECKING:
    from asyncjobs.backends.sqs.table import Item, Key, Update

MARK = "w"
"""The attribute that names the call which wrote an item last."""
ORIGIN = "w0"
"""The attribute that names the call which made an item: others may write it before a lost answer is noticed."""
_ACTIONS = {"delete_item": "Delete", "put_item": "Put", "update_item": "Update"}
_LAST = "\U0010ffff"
"""What no character comes after."""


def key(of: Key) -> dict[str, Any]:
    """Return the key of an item."""
    return {"pk": {"S": of[0]}, "sk": {"S": of[1]}}


def whole(update: Update, mark: str) -> Item:
    """Return the item that a write puts."""
    marks = {MARK: mark} if update.replace else {MARK: mark, ORIGIN: mark}
    return {"pk": update.key[0], "sk": update.key[1], **update.set, **(marks if update.marked else {})}


def write(update: Update, mark: str) -> tuple[str, dict[str, Any]]:
    """Return the operation of a write, and its arguments without the table."""
    names = _Placeholders()
    condition = names.condition(update)
    request: dict[str, Any] = {"Key": key(update.key), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if update.delete:
        return "delete_item", names.into(request, condition)
    if update.new:
        del request["Key"]
        return "put_item", names.into({"Item": values.item(whole(update, mark)), **request}, condition)
    if change := names.change(update, mark):
        request["UpdateExpression"] = change
    return "update_item", names.into(request, condition)


def action(update: Update, mark: str, table: str) -> dict[str, Any]:
    """Return a write as an action of a transaction."""
    operation, request = write(update, mark)
    return {_ACTIONS[operation]: {"TableName": table, **request}}


def check(update: Update, table: str) -> dict[str, Any]:
    """Return the conditions of a write as an action of a transaction."""
    names = _Placeholders()
    request = {"TableName": table, "Key": key(update.key), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    return {"ConditionCheck": names.into(request, names.condition(update))}


def bounds(begins: str, after: str | int | None, before: str | int | None) -> tuple[str, dict[str, Any]] | None:
    """Return the condition on a sort key, ``#r``, with its values; None if nothing can hold it.

    DynamoDB has one condition for two ends, and it includes both: ``before`` itself may be found then.
    """
    if begins and after is None and before is None:
        return "begins_with(#r, :a)", {":a": values.attribute(begins)}
    low: Any = begins or None
    if after is not None:
        low = max(begins, f"{after}\0") if isinstance(after, str) else after + 1
    high: Any = begins + _LAST if begins else None
    if before is not None:
        high = min(high or before, before) if isinstance(before, str) else before - 1
    given = {name: values.attribute(end) for name, end in ((":a", low), (":z", high)) if end is not None}
    if low is None:
        below = "#r < :z" if isinstance(before, str) else "#r <= :z"
        return (below, given) if given else ("", given)
    if high is None:
        return "#r >= :a", given
    return None if low > high else ("#r BETWEEN :a AND :z", given)


class _Placeholders:
    """The names and values of the expressions of one request: any name may be a word that DynamoDB reserves."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def name(self, path: str) -> str:
        """Return the placeholder of an attribute, or of an element of one."""
        attribute, bracket, rest = path.partition("[")
        placeholder = self._names.setdefault(attribute, f"#{len(self._names)}")
        return placeholder + bracket + rest

    def value(self, value: Any) -> str:
        """Return the placeholder of a value."""
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = values.attribute(value)
        return placeholder

    def condition(self, update: Update) -> str:
        """Return the condition of a write."""
        parts = [f"{self.name(path)} = {self.value(wanted)}" for path, wanted in update.equal.items()]
        parts += [f"attribute_not_exists({self.name(path)})" for path in update.absent]
        parts += [f"attribute_exists({self.name(path)})" for path in update.present]
        if update.new and not update.replace:
            parts.append(f"attribute_not_exists({self.name('pk')})")
        return " AND ".join(parts)

    def change(self, update: Update, mark: str) -> str:
        """Return the expression that changes an item."""
        given: dict[str, Any] = {**update.set, MARK: mark} if update.marked else {**update.set}
        sets = [f"{self.name(path)} = {self.value(value)}" for path, value in given.items()]
        for path, added in update.append.items():
            name = self.name(path)
            sets.append(f"{name} = list_append(if_not_exists({name}, {self.value([])}), {self.value(added)})")
        clauses = {
            "SET": sets,
            "REMOVE": [self.name(path) for path in update.remove],
            "ADD": [f"{self.name(path)} {self.value(number)}" for path, number in update.add.items()],
        }
        return " ".join(f"{clause} {', '.join(parts)}" for clause, parts in clauses.items() if parts)

    def into(self, request: Mapping[str, Any], condition: str) -> dict[str, Any]:
        """Complete a request."""
        more: dict[str, Any] = {
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {placeholder: name for name, placeholder in self._names.items()},
            "ExpressionAttributeValues": self._values,
        }
        return {**request, **{name: given for name, given in more.items() if given}}
