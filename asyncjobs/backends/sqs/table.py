"""Make the calls on the table: conditional writes, transactions, batches, pages.

Every write carries a mark of its own. A call whose answer was lost is repeated by botocore, and its condition fails
then because of the first try: a refusal that brings our own mark is a success.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from secrets import token_urlsafe
from typing import Any

import anyio
from msgspec import Struct

from asyncjobs.backends.sqs import expressions, values
from asyncjobs.backends.sqs.bucket import Bucket
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.errors import REFUSED_KEYS, code_of, failure, translated
from asyncjobs.exceptions import BackendConnectionError

Key = tuple[str, str]
"""The partition and the sort key of an item."""
Item = dict[str, Any]
"""The attributes of an item by name; its keys, ``pk`` and ``sk``, are among them."""

_READ_AT_ONCE = 50
"""Items of a read: the answer to one of 100 takes 5 ms of the event loop to read."""
_WRITE_AT_ONCE = 25
LARGEST_BODY = 600_000
"""Bytes of values that are sent in one call, if it can be cut: more than 1 MiB would keep the event loop busy."""
_PATIENCE = 8.0
"""Seconds for which a call is tried that was not done, because of other writers, or of too many calls."""
_REFUSED = "ConditionalCheckFailedException"
_CONFLICT = "TransactionConflictException"
_CANCELED = "TransactionCanceledException"
_AGAIN = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)
"""Codes of calls that are tried again here, after the tries of botocore; as failures of the server are."""
_PASSING = frozenset({"None", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
"""Reasons of a transaction that was cancelled to do it again."""


class Index(Enum):
    """An index of the table: its name, and the names of its partition and sort keys."""

    WORK = ("work", "wp", "ws")
    LIST = ("list", "lp", "n")
    LOG = ("log", "gp", "n")


WORK, LIST, LOG = Index


class Update(Struct, frozen=True):
    """One conditional write of one item.

    ``set`` gives attributes, or elements of lists (``"e[3]"``), values. ``append`` adds to lists, which need not be
    there yet; ``add`` adds to numbers. ``remove`` removes attributes. ``equal``, ``absent`` and ``present`` are
    conditions on attributes, which must all hold; ``("pk",)`` stands for the item. With ``delete``, the item is
    deleted. With ``new``, ``set`` is the whole item, and it must not exist yet, unless it ``replace``s another.

    A write that is not ``marked`` leaves the mark of the one before, whose answer may still be under way. It must be
    one that may be done twice.
    """

    key: Key
    set: Mapping[str, Any] = {}
    append: Mapping[str, list[Any]] = {}
    add: Mapping[str, int] = {}
    remove: tuple[str, ...] = ()
    equal: Mapping[str, Any] = {}
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    delete: bool = False
    new: bool = False
    replace: bool = False
    marked: bool = True


class Refused(Struct, frozen=True):
    """The answer to a write whose condition did not hold, with the item as it was then; None: there was none."""

    item: Item | None


class _Answer(Struct, frozen=True):
    """The answer to a call. ``code`` is that of an expected error, ``repeated`` whether there were earlier tries."""

    content: Mapping[str, Any]
    code: str = ""
    repeated: bool = False


class Page(Struct, frozen=True):
    """A page of items. ``next`` is where the next one begins, None at the end. A page may be short, or empty."""

    items: list[Item]
    next: Mapping[str, Any] | None = None


class Table:
    """The table, by its client. After the errors of AWS that pass by themselves come those of ``errors``.

    ``bucket`` is where the values are that are too large for it.
    """

    def __init__(self, client: Any, name: str, bucket: Bucket | None = None) -> None:
        self._client = client
        self.name = name
        self.decided: OrderedDict[str, bool] = OrderedDict()
        """Whether batches were committed, as far as this store knows: see ``batches``."""
        self.bucket = bucket or Bucket(None, None, name)

    # -- reading

    async def get(self, keys: Sequence[Key], *, consistent: bool = True) -> dict[Key, Item]:
        """Read items by their keys; what does not exist is left out."""
        found: dict[Key, Item] = {}
        distinct = list(dict.fromkeys(keys))
        if len(distinct) == 1:
            answer = await self._call("get_item", Key=expressions.key(distinct[0]), ConsistentRead=consistent)
            if "Item" in answer:
                found[distinct[0]] = values.plain_item(answer["Item"])
            return found
        for start in range(0, len(distinct), _READ_AT_ONCE):
            await self._get_page(distinct[start : start + _READ_AT_ONCE], consistent, found)
        return found

    async def _get_page(self, keys: Sequence[Key], consistent: bool, found: dict[Key, Item]) -> None:
        wanted: list[Any] = [expressions.key(key) for key in keys]
        patience = _Patience()
        while wanted:
            request = {self.name: {"Keys": wanted, "ConsistentRead": consistent}}
            answer = (await self._expect("batch_get_item", RequestItems=request)).content
            for stored in answer.get("Responses", {}).get(self.name, ()):
                item = values.plain_item(stored)
                found[item["pk"], item["sk"]] = item
            wanted = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if wanted:
                await patience.wait(self._what("batch_get_item"))

    async def query(
        self,
        pk: str,
        *,
        index: Index | None = None,
        begins: str = "",
        after: str | int | None = None,
        before: str | int | None = None,
        start: Mapping[str, Any] | None = None,
        limit: int | None = None,
        forward: bool = True,
        consistent: bool = True,
    ) -> Page:
        """Read a page of a partition, or of a partition of an index, in the order of its sort key.

        :param begins: only sort keys that begin so.
        :param after: only sort keys above this one; ``before``: below it.
        :param start: ``Page.next`` of the page before.
        :param consistent: see what was written before. An index is never read so.
        """
        condition = expressions.bounds(begins, after, before)
        if condition is None:
            return Page([])
        request = _query(pk, index, condition, start)
        request["ScanIndexForward"] = forward
        if index is None:
            request["ConsistentRead"] = consistent
        if limit is not None:
            request["Limit"] = limit
        answer = await self._call("query", **request)
        order = "sk" if index is None else index.value[2]
        items = [values.plain_item(stored) for stored in answer["Items"]]
        return Page([item for item in items if item[order] != before], answer.get("LastEvaluatedKey"))

    async def query_all(self, pk: str, **how: Any) -> list[Item]:
        """Read a whole partition, page by page."""
        items: list[Item] = []
        start: Mapping[str, Any] | None = None
        while True:
            page = await self.query(pk, start=start, **how)
            items += page.items
            start = page.next
            if start is None:
                return items

    async def count(self, pk: str, *, index: Index, after: int | None = None, before: int | None = None) -> int:
        """Count the entries of a partition of an index, or of its part between two sort keys."""
        condition = expressions.bounds("", after, before)
        total, start = 0, None
        while condition is not None:
            answer = await self._call("query", **_query(pk, index, condition, start), Select="COUNT")
            total += answer["Count"]
            start = answer.get("LastEvaluatedKey")
            if start is None:
                break
        return total

    # -- writing

    async def write(self, update: Update) -> Item | Refused:
        """Do one write; return the item as it is then, or that it was refused."""
        mark = token_urlsafe(9)
        operation, request = expressions.write(update, mark)
        if operation == "update_item":
            request["ReturnValues"] = "ALL_NEW"
        patience, repeated = _Patience(), False
        expected = frozenset({_REFUSED, _CONFLICT})
        while True:
            answer = await self._expect(operation, expected, TableName=self.name, **request)
            if not answer.code:
                break
            repeated |= answer.repeated
            if answer.code == _REFUSED:
                return await self._refused(update, answer.content.get("Item"), mark, repeated)
            await patience.wait(self._what(operation))
        if operation == "update_item":
            return values.plain_item(answer.content["Attributes"])
        return {} if update.delete else expressions.whole(update, mark)

    async def _refused(self, update: Update, stored: Any, mark: str, repeated: bool) -> Item | Refused:
        """Return what is true after a refusal: that it was refused, or that an earlier try had done it already.

        :param repeated: whether there was an earlier try.
        """
        item = (await self.get([update.key])).get(update.key) if stored is None else values.plain_item(stored)
        if item is None:
            return {} if update.delete and repeated else Refused(None)
        ours = item.get(expressions.MARK) == mark or (update.new and item.get(expressions.ORIGIN) == mark)
        return item if ours else Refused(item)

    async def write_all(self, updates: Sequence[Update]) -> list[Item | Refused]:
        """Do writes, each for itself and several at the same time; return the answers in order.

        :raises BackendError: that of the first one that failed, after all have ended.
        """
        return await at_once(self.write, updates)

    async def transact(self, updates: Sequence[Update], checks: Sequence[Update] = ()) -> list[Refused | None] | None:
        """Do up to 100 writes together, all or nothing, if all conditions and ``checks`` hold.

        A write alone is no transaction, which would cost twice as much.

        :returns: None if it was done. Else per action, updates then checks, ``Refused`` where its condition failed.
        """
        if len(updates) == 1 and not checks:
            alone = await self.write(updates[0])
            return [alone] if isinstance(alone, Refused) else None
        mark = token_urlsafe(9)
        actions = [expressions.action(update, mark, self.name) for update in updates]
        actions += [expressions.check(check, self.name) for check in checks]
        patience = _Patience()
        while True:
            # DynamoDB does what has the same token only once, however often botocore tries. After it was cancelled,
            # it is a new one.
            token = f"{mark}-{patience.tries}"
            answer = await self._expect(
                "transact_write_items", frozenset({_CANCELED}), TransactItems=actions, ClientRequestToken=token
            )
            if not answer.code:
                return None
            answers = self._reasons(answer.content)
            if answers is not None:
                return await self._with_items([*updates, *checks], answers)
            await patience.wait(self._what("transact_write_items"))

    async def _with_items(self, actions: Sequence[Update], answers: list[Refused | None]) -> list[Refused | None]:
        """Return refusals with the items as they are, where an answer has brought none."""
        lacking = [place for place, answer in enumerate(answers) if answer is not None and answer.item is None]
        found = await self.get([actions[place].key for place in lacking]) if lacking else {}
        for place in lacking:
            answers[place] = Refused(found.get(actions[place].key))
        return answers

    def _reasons(self, answer: Mapping[str, Any]) -> list[Refused | None] | None:
        """Return which conditions failed; None if none did, but other writers were in the way.

        :raises BackendError: it cannot be done, such as a write of an item that is too large.
        """
        reasons = answer.get("CancellationReasons", ())
        codes = [reason.get("Code", "None") for reason in reasons]
        if "ConditionalCheckFailed" in codes:
            items = [reason.get("Item") for reason in reasons]
            return [
                Refused(values.plain_item(stored) if stored else None) if code == "ConditionalCheckFailed" else None
                for code, stored in zip(codes, items, strict=True)
            ]
        wrong = next((reason for reason in reasons if reason.get("Code", "None") not in _PASSING), None)
        if wrong is not None:
            raise failure(self._what("transact_write_items"), wrong["Code"], str(wrong.get("Message")))
        return None

    async def put_many(self, items: Sequence[Item]) -> None:
        """Put items without conditions."""
        for some in _cut(items):
            await self._batch([{"PutRequest": {"Item": values.item(item)}} for item in some])

    async def delete_many(self, keys: Sequence[Key]) -> None:
        """Delete items without conditions."""
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), _WRITE_AT_ONCE):
            some = distinct[start : start + _WRITE_AT_ONCE]
            await self._batch([{"DeleteRequest": {"Key": expressions.key(key)}} for key in some])

    async def _batch(self, requests: list[Any]) -> None:
        patience = _Patience()
        left = requests
        while left:
            answer = await self._expect("batch_write_item", RequestItems={self.name: left})
            left = answer.content.get("UnprocessedItems", {}).get(self.name, [])
            if left:
                await patience.wait(self._what("batch_write_item"))

    # -- calls

    async def _call(self, operation: str, **request: Any) -> Any:
        return (await self._expect(operation, TableName=self.name, **request)).content

    async def _expect(self, operation: str, expected: frozenset[str] = frozenset(), **request: Any) -> _Answer:
        """Make a call, again and again if it fails for the moment; return its answer, or an error that is expected.

        A failure of the server may come after the write: what repeats it must see through that.
        """
        import botocore.exceptions as errors

        patience = _Patience()
        while True:
            with translated(self._what(operation)):
                try:
                    return _Answer(await getattr(self._client, operation)(**request))
                except errors.ClientError as error:
                    code = code_of(error)
                    answer: Any = error.response
                    about = answer.get("ResponseMetadata", {})
                    if code in expected:
                        return _Answer(answer, code, bool(patience.tries or about.get("RetryAttempts")))
                    renewed = code in REFUSED_KEYS and not patience.tries  # ``clients`` has looked for new credentials
                    if patience.over or not (renewed or code in _AGAIN or about.get("HTTPStatusCode", 0) >= 500):
                        raise
            await patience.wait(self._what(operation))

    def _what(self, operation: str) -> str:
        return f"DynamoDB {''.join(map(str.title, operation.split('_')))} on table {self.name!r}"


class _Patience:
    """The pauses between the tries of a call that was not done: each longer than the one before, up to a second."""

    def __init__(self) -> None:
        self.tries = 0
        self._began = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether it has been tried for long enough."""
        return time.monotonic() - self._began > _PATIENCE

    async def wait(self, what: str) -> None:
        """Wait before the next try."""
        if self.over:
            raise BackendConnectionError(f"{what} has too many other writers in its way")
        await anyio.sleep(min(1.0, 0.01 * 2.0**self.tries) * (0.5 + random.random() / 2))
        self.tries += 1


def _query(
    pk: str, index: Index | None, order: tuple[str, Mapping[str, Any]], start: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of a query of a partition."""
    hash_key, range_key = ("pk", "sk") if index is None else index.value[1:]
    text, given = order
    request: dict[str, Any] = {
        "KeyConditionExpression": f"#h = :h AND {text}" if text else "#h = :h",
        "ExpressionAttributeNames": {"#h": hash_key, **({"#r": range_key} if text else {})},
        "ExpressionAttributeValues": {":h": values.attribute(pk), **given},
    }
    if index is not None:
        request["IndexName"] = index.value[0]
    if start is not None:
        request["ExclusiveStartKey"] = start
    return request


def _cut(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Cut items into calls."""
    some: list[Item] = []
    size = 0
    for item in items:
        added = size_of(item)
        if some and (len(some) == _WRITE_AT_ONCE or size + added > LARGEST_BODY):
            yield some
            some, size = [], 0
        some.append(item)
        size += added
    if some:
        yield some


def size_of(values: Mapping[str, Any]) -> int:
    """Return about how many bytes these values have."""
    return sum(map(_bytes, values.values()))


def _bytes(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str):
        return 4 * len(value)
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))  # pyright: ignore[reportUnknownArgumentType] - any attributes
    return 20
