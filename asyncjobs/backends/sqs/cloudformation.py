"""Describe the table, the queues and the bucket for those who make them by CloudFormation."""

from __future__ import annotations

from typing import Any

from msgspec import json

from asyncjobs.backends.sqs import schema
from asyncjobs.config import SQSConfig

_KEPT = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}


def template(config: SQSConfig) -> str:
    """Return a template, in JSON: deleting the stack, or renaming something, keeps what holds jobs."""
    resources: dict[str, Any] = {"Table": _table(config)}
    outputs: dict[str, Any] = {"TableName": {"Value": {"Ref": "Table"}}}
    for place, queue in enumerate(schema.queues(config)):
        number = str(place + 1) if place else ""
        resources[f"DeadLetters{number}"] = _queue(schema.dead_letters_of(queue), schema.dead_letter_attributes())
        redrive = {
            "RedrivePolicy": {
                "deadLetterTargetArn": {"Fn::GetAtt": [f"DeadLetters{number}", "Arn"]},
                "maxReceiveCount": schema.MOST_RECEIVED,
            }
        }
        resources[f"Queue{number}"] = _queue(schema.name_of(queue), schema.queue_attributes(config), redrive)
        outputs[f"Queue{number}Url"] = {"Value": {"Ref": f"Queue{number}"}}
    if config.bucket is not None:
        resources["Bucket"] = _bucket(config.bucket)
    whole = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"The store of asyncjobs in the DynamoDB table {config.table}",
        "Resources": resources,
        "Outputs": outputs,
    }
    return json.format(json.encode(whole), indent=2).decode() + "\n"


def _table(config: SQSConfig) -> dict[str, Any]:
    properties = schema.table_definition(config.table) | {
        "TimeToLiveSpecification": {"AttributeName": schema.TTL, "Enabled": True},
        "SSESpecification": {"SSEEnabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "DeletionProtectionEnabled": True,
    }
    return {"Type": "AWS::DynamoDB::Table", **_KEPT, "Properties": properties}


def _queue(name: str, attributes: dict[str, str], more: dict[str, Any] | None = None) -> dict[str, Any]:
    numbers = {attribute: int(value) for attribute, value in attributes.items()}
    properties = {"QueueName": name, "SqsManagedSseEnabled": True, **numbers, **(more or {})}
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def _bucket(name: str) -> dict[str, Any]:
    algorithm = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    blocked = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    properties = {
        "BucketName": name,
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [algorithm]},
        "PublicAccessBlockConfiguration": dict.fromkeys(blocked, True),
    }
    return {"Type": "AWS::S3::Bucket", **_KEPT, "Properties": properties}
