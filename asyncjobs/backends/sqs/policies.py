"""Say what a process may do on AWS: the smallest IAM policy for its part."""

from __future__ import annotations

import os
import re
from typing import Any

from asyncjobs.backends.sqs import schema
from asyncjobs.config import SQSConfig

_READ = ("BatchGetItem", "DescribeTable", "GetItem", "Query")
_WRITE = ("BatchWriteItem", "ConditionCheckItem", "DeleteItem", "PutItem", "UpdateItem")
_LOOK = ("GetQueueAttributes", "GetQueueUrl")
_RECEIVE = ("ChangeMessageVisibility", "DeleteMessage", "ReceiveMessage")
_ROLES = {
    "reader": {"dynamodb": _READ, "sqs": _LOOK, "s3": ("GetObject",)},
    "submitter": {
        "dynamodb": (*_READ, *_WRITE),
        "sqs": (*_LOOK, "SendMessage"),
        "s3": ("DeleteObject", "GetObject", "PutObject"),
    },
    "worker": {
        "dynamodb": (*_READ, *_WRITE),
        "sqs": (*_LOOK, "SendMessage", *_RECEIVE),
        "s3": ("DeleteObject", "GetObject", "PutObject"),
    },
}
_ACCOUNT = re.compile(r"https://[^/]+/(\d{12})/")


def policy(config: SQSConfig, role: str) -> dict[str, Any]:
    """Return the policy of a worker, a submitter or a reader."""
    partition, region = _partition(config)
    table = f"arn:{partition}:dynamodb:{region}:*:table/{config.table}"
    queues = [_queue(queue, partition, region) for queue in schema.queues(config)]
    actions = _ROLES[role]
    statements = [
        _allow("Table", "dynamodb", actions["dynamodb"], [table, f"{table}/index/*"]),
        _allow("Queues", "sqs", actions["sqs"], queues),
        _allow("DeadLetters", "sqs", _LOOK, [_dead(queue, partition, region) for queue in schema.queues(config)]),
    ]
    if config.bucket is not None:
        bucket = f"arn:{partition}:s3:::{config.bucket}"
        statements.append(_allow("Values", "s3", actions["s3"], [f"{bucket}/{config.table}/*"]))
        # Without it, S3 says of an object that is not there that it may not be read.
        statements.append(_allow("Bucket", "s3", ("ListBucket",), [bucket]))
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(name: str, service: str, actions: tuple[str, ...], resources: list[str]) -> dict[str, Any]:
    allowed = sorted(f"{service}:{action}" for action in actions)
    return {"Sid": name, "Effect": "Allow", "Action": allowed, "Resource": resources}


def _partition(config: SQSConfig) -> tuple[str, str]:
    region = config.region or os.environ.get("AWS_DEFAULT_REGION") or "*"
    special = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((name for start, name in special.items() if region.startswith(start)), "aws"), region


def _queue(queue: str, partition: str, region: str) -> str:
    account = _ACCOUNT.match(queue)
    return f"arn:{partition}:sqs:{region}:{account[1] if account else '*'}:{schema.name_of(queue)}"


def _dead(queue: str, partition: str, region: str) -> str:
    return _queue(queue, partition, region).rpartition(":")[0] + f":{schema.dead_letters_of(queue)}"
