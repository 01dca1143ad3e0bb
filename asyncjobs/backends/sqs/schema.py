"""Define the table and the queues, and check at the opening of a store that everything is there."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from msgspec import Struct

from asyncjobs.backends.sqs import expressions, keys, values
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.errors import MADE_BY, code_of, translated
from asyncjobs.backends.sqs.table import Index, Table
from asyncjobs.config import SQSConfig
from asyncjobs.exceptions import BackendConnectionError, BackendError, SchemaVersionError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

VERSION = 1
TTL = "ttl"
"""The attribute that says when DynamoDB may delete an item."""
MOST_RECEIVED = 20
"""Times that a message is received before it goes to the dead-letter queue."""
_RETENTION = 14 * 86_400
"""Seconds for which SQS keeps a message: the most that it takes."""
_LONGEST_NAME = 80
_DEAD = "-dead"


def table_definition(name: str) -> dict[str, Any]:
    """Return the request that makes the table."""
    indexes = [index_definition(index) for index in Index]
    keyed = [_key("pk", "sk"), *(index["KeySchema"] for index in indexes)]
    attributes = dict.fromkeys(part["AttributeName"] for key in keyed for part in key)
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [attribute_definition(attribute) for attribute in attributes],
        "KeySchema": keyed[0],
        "GlobalSecondaryIndexes": indexes,
    }


def index_definition(index: Index) -> dict[str, Any]:
    """Return the part of the request that makes an index."""
    name, partition, order = index.value
    return {"IndexName": name, "KeySchema": _key(partition, order), "Projection": {"ProjectionType": "KEYS_ONLY"}}


def attribute_definition(name: str) -> dict[str, str]:
    """Return the type of an attribute that is a key."""
    return {"AttributeName": name, "AttributeType": "N" if name == "n" else "S"}


def _key(partition: str, order: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": order, "KeyType": "RANGE"}]


def queue_attributes(config: SQSConfig) -> dict[str, str]:
    """Return the attributes with which a queue is made."""
    return {
        "MessageRetentionPeriod": str(_RETENTION),
        "VisibilityTimeout": str(config.visibility_timeout),
        "ReceiveMessageWaitTimeSeconds": str(config.wait_time),
    }


def dead_letter_attributes() -> dict[str, str]:
    """Return the attributes with which a dead-letter queue is made."""
    return {"MessageRetentionPeriod": str(_RETENTION)}


def queues(config: SQSConfig) -> list[str]:
    """Return the names or addresses of the queues, each once."""
    return list(dict.fromkeys([config.queue_url, *config.queues.values()]))


def is_address(queue: str) -> bool:
    """Return whether a queue is given by its address."""
    return queue.startswith(("http://", "https://"))


def name_of(queue: str) -> str:
    """Return the name of a queue that is given by its name or its address."""
    return queue.rpartition("/")[2]


def dead_letters_of(queue: str) -> str:
    """Return the name of the dead-letter queue that is made for a queue."""
    return name_of(queue)[: _LONGEST_NAME - len(_DEAD)] + _DEAD


class Checked(Struct, frozen=True):
    """What is stored of the table, and where the queues are."""

    shards: int
    table_id: str
    urls: dict[str, str]
    """The address of the queue of each queue of ours that has one of its own; ``""`` for all others."""


async def check(config: SQSConfig, clients: Clients) -> Checked:
    """Make sure that table, queues and bucket are there, and of this version.

    :raises BackendError: something is missing, or is not what it must be.
    :raises SchemaVersionError: a newer version of this package made the table.
    """
    if not config.create:  # else ``provision`` has looked at it
        check_table(config.table, await described(config.table, clients))
    meta = await meta_of(config, clients)
    if meta["version"] > VERSION:
        raise SchemaVersionError(f"the DynamoDB table {config.table!r}", meta["version"], VERSION)
    found = {queue: await _address(queue, clients) for queue in queues(config)}
    if config.bucket is not None:
        await _check_bucket(config.bucket, config.table, clients)
    urls = {"": found[config.queue_url], **{ours: found[theirs] for ours, theirs in config.queues.items()}}
    return Checked(meta["shards"], meta["id"], urls)


async def described(table: str, clients: Clients) -> Mapping[str, Any]:
    """Return what DynamoDB says of a table.

    :raises BackendError: there is none.
    """
    with translated(f"DynamoDB DescribeTable of {table!r}"):
        return (await clients.dynamodb.describe_table(TableName=table))["Table"]


def check_key(name: str, about: Mapping[str, Any]) -> None:
    """Make sure that a table may be one of this package.

    :raises BackendError: it is another one's.
    """
    found = _schema(about["KeySchema"])
    if found != ("pk", "sk"):
        raise BackendError(
            f"the DynamoDB table {name!r} is not one of asyncjobs: its key is {' and '.join(found)}, not pk and sk",
            hint="name another table: SQSConfig(table=…)",
        )


def check_table(name: str, about: Mapping[str, Any]) -> None:
    """Make sure that a table is one of this package, and can be used.

    :raises BackendError: it is another one's, or lacks an index, or an index is not what it must be.
    :raises BackendConnectionError: it is still being made.
    """
    check_key(name, about)
    if about.get("TableStatus", "ACTIVE") not in ("ACTIVE", "UPDATING"):
        raise BackendConnectionError(f"the DynamoDB table {name!r} is {about['TableStatus'].lower()}")
    present = {index["IndexName"]: index for index in about.get("GlobalSecondaryIndexes", ())}
    for index in Index:
        named, *keyed = index.value
        if named not in present:
            raise BackendError(f"the DynamoDB table {name!r} has no index {named!r}", hint=MADE_BY)
        if _schema(present[named]["KeySchema"]) != tuple(keyed):
            raise BackendError(
                f"the index {named!r} of the DynamoDB table {name!r} has other keys than {' and '.join(keyed)}",
                hint="delete that index; 'asyncjobs aws init' makes it anew",
            )
        if present[named].get("IndexStatus", "ACTIVE") in ("CREATING", "DELETING"):
            raise BackendConnectionError(
                f"the index {named!r} of the DynamoDB table {name!r} is {present[named]['IndexStatus'].lower()}",
                hint="wait until it is active",
            )


def _schema(key: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(part["AttributeName"] for part in sorted(key, key=lambda part: part["KeyType"]))


async def meta_of(config: SQSConfig, clients: Clients) -> dict[str, Any]:
    """Read the item that describes the table. A table that was just made, by whatever means, gets it."""
    import botocore.exceptions as errors

    get = {"TableName": config.table, "Key": expressions.key(keys.META), "ConsistentRead": True}
    while True:
        with translated(f"DynamoDB GetItem on table {config.table!r}"):
            answer = await clients.dynamodb.get_item(**get)
        if "Item" in answer:
            return values.plain_item(answer["Item"])
        pk, sk = keys.META
        item = {"pk": pk, "sk": sk, "version": VERSION, "shards": config.shards, "id": token_hex(8)}
        with translated(f"DynamoDB PutItem on table {config.table!r}, which is new,"):
            try:
                await clients.dynamodb.put_item(
                    TableName=config.table,
                    Item=values.item(item),
                    ConditionExpression="attribute_not_exists(pk)",
                )
            except errors.ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise


class Identity:
    """The table as it was opened. One that was deleted, and made anew since, is another one under its name."""

    def __init__(self, table: Table, table_id: str) -> None:
        self._table = table
        self._id = table_id
        self._logged = False

    async def look(self) -> None:
        """Log, once, that the table is another one: what this process knows of it is wrong."""
        item = (await self._table.get([keys.META])).get(keys.META)
        if item is not None and item.get("id") == self._id:
            self._logged = False  # also: there again, restored from a copy
            return
        if not self._logged:
            self._logged = True
            logger.error(
                "the DynamoDB table %r is not the one that was opened: it was deleted, and made anew since"
                "\n  hint: restart this process, and every other one that has had it open",
                self._table.name,
            )


async def _address(queue: str, clients: Clients) -> str:
    """Return the address of a queue that is there.

    :raises BackendError: it is not there.
    """
    if is_address(queue):
        with translated(f"SQS GetQueueAttributes of {queue}"):
            await clients.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        return queue
    with translated(f"SQS GetQueueUrl of {queue!r}"):
        return (await clients.sqs.get_queue_url(QueueName=queue))["QueueUrl"]


async def _check_bucket(bucket: str, table: str, clients: Clients) -> None:
    """Make sure that the bucket is there.

    :raises BackendError: it is not.
    """
    with translated(f"S3 ListObjectsV2 in bucket {bucket!r}"):
        await clients.s3.list_objects_v2(Bucket=bucket, Prefix=f"{table}/", MaxKeys=1)


async def describe(config: SQSConfig, clients: Clients) -> Mapping[str, Any]:
    """Describe the store for an operator."""
    about = await described(config.table, clients)
    region = clients.dynamodb.meta.region_name
    where = f"table {config.table} in {region}" + (f" at {config.endpoint_url}" if config.endpoint_url else "")
    return {
        "backend": "sqs",
        "where": where,
        "queue": config.queue_url,
        "bucket": config.bucket,
        "status": about.get("TableStatus"),
    }
