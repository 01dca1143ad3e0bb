"""Make the table, the queues and the bucket on AWS, as far as they are missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import json

from asyncjobs.backends.sqs import expressions, keys, schema
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.errors import code_of, translated
from asyncjobs.backends.sqs.table import Index
from asyncjobs.config import SQSConfig
from asyncjobs.exceptions import BackendError

_PATIENCE = {"Delay": 1, "MaxAttempts": 300}
"""Seconds between two looks at a table that is being made, and how often."""
_BEING_MADE = ("ResourceInUseException", "TableAlreadyExistsException")

Make = Callable[[], Awaitable[object]]


async def create(config: SQSConfig, *, dry_run: bool) -> list[str]:
    """Make what is missing, and return a line about each; with ``dry_run`` only the lines."""
    clients = await Clients.open(config)
    try:
        return await provision(config, clients, dry_run=dry_run)
    finally:
        await clients.close()


async def prepare(config: SQSConfig, clients: Clients) -> schema.Checked:
    """Make what is missing if the config has ``create=True``, and check that all is there, and of this version.

    :raises BackendError: something is missing, or is not what it must be.
    :raises SchemaVersionError: a newer version of this package made the table.
    """
    if config.create:
        await provision(config, clients)
    return await schema.check(config, clients)


async def provision(config: SQSConfig, clients: Clients, *, dry_run: bool = False) -> list[str]:
    """Do what ``create`` does, with clients that are open."""
    steps = _Steps(dry_run)
    await _make_table(config, clients, steps)
    for queue in schema.queues(config):
        await _make_queue(queue, config, clients, steps)
    if config.bucket is not None:
        await _make_bucket(config.bucket, clients, steps)
    return steps.lines


class _Steps:
    """What was made, or would be."""

    def __init__(self, dry_run: bool) -> None:
        self._dry_run = dry_run
        self.lines: list[str] = []

    async def make(self, line: str, make: Make) -> None:
        """Make a thing, unless this is only about what would be made."""
        self.lines.append(line)
        if not self._dry_run:
            await make()


async def _found(what: str, ask: Make, missing: tuple[str, ...]) -> Any:
    """Return an answer; None if it says that there is no such thing."""
    import botocore.exceptions as errors

    with translated(what):
        try:
            return await ask()
        except errors.ClientError as error:
            if code_of(error) in missing:
                return None
            raise


async def _make_table(config: SQSConfig, clients: Clients, steps: _Steps) -> None:
    name, client = config.table, clients.dynamodb
    about = await _found(
        f"DynamoDB DescribeTable of {name!r}",
        lambda: client.describe_table(TableName=name),
        ("ResourceNotFoundException",),
    )
    if about is None:
        indexes = ", ".join(index.value[0] for index in Index)
        await steps.make(f"DynamoDB table {name!r} with the indexes {indexes}", lambda: _create_table(name, clients))
    else:
        await _make_indexes(name, about["Table"], clients, steps)
    await _make_ttl(name, about is None, clients, steps)
    if about is None or not await _has_meta(name, clients):
        line = f"the description of table {name!r}: version {schema.VERSION}, {config.shards} shards"
        await steps.make(line, lambda: schema.meta_of(config, clients))


async def _create_table(name: str, clients: Clients) -> None:
    with translated(f"DynamoDB CreateTable of {name!r}"):
        # Two processes may make it at the same time.
        await _found("", lambda: clients.dynamodb.create_table(**schema.table_definition(name)), _BEING_MADE)
    await _wait(name, clients)


async def _wait(name: str, clients: Clients) -> None:
    with translated(f"DynamoDB DescribeTable of {name!r}"):
        await clients.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig=_PATIENCE)


async def _make_indexes(name: str, about: Mapping[str, Any], clients: Clients, steps: _Steps) -> None:
    schema.check_key(name, about)
    if about.get("TableStatus") == "CREATING":  # by another process
        await _wait(name, clients)
        about = await schema.described(name, clients)
    present = {index["IndexName"] for index in about.get("GlobalSecondaryIndexes", ())}
    missing = [index for index in Index if index.value[0] not in present]
    for index in missing:
        await steps.make(f"index {index.value[0]!r} of DynamoDB table {name!r}", lambda i=index: _add(name, i, clients))
    if not missing:
        schema.check_table(name, about)


async def _add(name: str, index: Index, clients: Clients) -> None:
    """Add an index to a table. DynamoDB makes one at a time."""
    import anyio

    definition = schema.index_definition(index)
    attributes = [schema.attribute_definition(part["AttributeName"]) for part in definition["KeySchema"]]
    with translated(f"DynamoDB UpdateTable of {name!r}"):
        await clients.dynamodb.update_table(
            TableName=name,
            AttributeDefinitions=attributes,
            GlobalSecondaryIndexUpdates=[{"Create": definition}],
        )
    for _ in range(_PATIENCE["MaxAttempts"]):
        about = await schema.described(name, clients)
        status = {found["IndexName"]: found.get("IndexStatus") for found in about.get("GlobalSecondaryIndexes", ())}
        if status.get(index.value[0]) == "ACTIVE" and about.get("TableStatus") == "ACTIVE":
            return
        await anyio.sleep(_PATIENCE["Delay"])
    raise BackendError(f"the index {index.value[0]!r} of the DynamoDB table {name!r} is still being made")


async def _make_ttl(name: str, new: bool, clients: Clients, steps: _Steps) -> None:
    client = clients.dynamodb
    if not new:
        with translated(f"DynamoDB DescribeTimeToLive of {name!r}"):
            about = (await client.describe_time_to_live(TableName=name)).get("TimeToLiveDescription", {})
        if about.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            return

    async def enable() -> None:
        with translated(f"DynamoDB UpdateTimeToLive of {name!r}"):
            await client.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": schema.TTL}
            )

    await steps.make(f"time to live of DynamoDB table {name!r} by the attribute {schema.TTL!r}", enable)


async def _has_meta(name: str, clients: Clients) -> bool:
    with translated(f"DynamoDB GetItem on table {name!r}"):
        answer = await clients.dynamodb.get_item(TableName=name, Key=expressions.key(keys.META), ConsistentRead=True)
    return "Item" in answer


async def _make_queue(queue: str, config: SQSConfig, clients: Clients, steps: _Steps) -> None:
    """Make a queue and its dead-letter queue. One that is given by its address is only looked for, at the opening."""
    if schema.is_address(queue):
        return
    url = await _url_of(queue, clients)
    if url is not None and await _has_dead_letters(url, clients):
        return
    dead = schema.dead_letters_of(queue)
    if await _url_of(dead, clients) is None:
        attributes = schema.dead_letter_attributes()
        await steps.make(f"SQS queue {dead!r} for dead letters", lambda: _create_queue(dead, attributes, clients))
    if url is None:
        attributes = schema.queue_attributes(config)
        await steps.make(f"SQS queue {queue!r}", lambda: _create_queue(queue, attributes, clients))
    line = f"dead letters of SQS queue {queue!r} go to {dead!r} when received {schema.MOST_RECEIVED} times"
    await steps.make(line, lambda: _link(queue, dead, clients))


async def _url_of(queue: str, clients: Clients) -> str | None:
    missing = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
    found = await _found(f"SQS GetQueueUrl of {queue!r}", lambda: clients.sqs.get_queue_url(QueueName=queue), missing)
    return None if found is None else found["QueueUrl"]


async def _has_dead_letters(url: str, clients: Clients) -> bool:
    return "RedrivePolicy" in await _attributes(url, "RedrivePolicy", clients)


async def _attributes(url: str, name: str, clients: Clients) -> Mapping[str, str]:
    with translated(f"SQS GetQueueAttributes of {url}"):
        return (await clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])).get("Attributes", {})


async def _create_queue(name: str, attributes: Mapping[str, str], clients: Clients) -> None:
    with translated(f"SQS CreateQueue of {name!r}"):
        await clients.sqs.create_queue(QueueName=name, Attributes=attributes)


async def _link(queue: str, dead: str, clients: Clients) -> None:
    url, dead_url = await _url_of(queue, clients), await _url_of(dead, clients)
    if url is None or dead_url is None:
        raise BackendError(f"the SQS queue {queue!r} was deleted a moment ago", hint="try again in a minute")
    arn = (await _attributes(dead_url, "QueueArn", clients))["QueueArn"]
    policy = json.encode({"deadLetterTargetArn": arn, "maxReceiveCount": schema.MOST_RECEIVED}).decode()
    with translated(f"SQS SetQueueAttributes of {url}"):
        await clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})


async def _make_bucket(bucket: str, clients: Clients, steps: _Steps) -> None:
    """Make the bucket. S3 encrypts what is in it, and keeps it from the public, unless it is told otherwise."""
    client, region = clients.s3, clients.s3.meta.region_name
    found = await _found(
        f"S3 ListObjectsV2 in bucket {bucket!r}",
        lambda: client.list_objects_v2(Bucket=bucket, MaxKeys=1),
        ("NoSuchBucket",),
    )
    if found is not None:
        return
    where = {} if region in ("us-east-1", "aws-global") else {"LocationConstraint": region}

    async def make() -> None:
        how = {"CreateBucketConfiguration": where} if where else {}
        with translated(f"S3 CreateBucket of {bucket!r}"):
            await _found("", lambda: client.create_bucket(Bucket=bucket, **how), ("BucketAlreadyOwnedByYou",))

    await steps.make(f"S3 bucket {bucket!r}", make)
