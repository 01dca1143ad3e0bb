"""Start an emulator of SQS and DynamoDB for the tests of the SQS store, or name the one that the environment gives.

``ASYNCJOBS_TEST_AWS_ENDPOINT`` is the address of another one, or ``environment``: what the variables of AWS say, or AWS
itself. With ``ASYNCJOBS_TEST_DYNAMODB=dynoxide`` all tables are in the second emulator, and SQS and S3 in the first;
with ``ministack`` none is. Else those are of tests that make tens of thousands of calls: ``have_tables_in_second``.
Without an emulator the tests are skipped; with ``ASYNCJOBS_REQUIRE_AWS=1`` they fail.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from asyncjobs.config import SQSConfig
from tests import aws_emulators

ENDPOINTS = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_S3")
"""Variables that say where each service is, unless the settings do."""
_MISLEADING = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", *ENDPOINTS)
"""Variables by which tests would use something else."""
_REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def config(**settings: object) -> SQSConfig:
    """Return the settings of a store of its own, whose table and queue are made when it is opened."""
    name = f"test-{uuid4().hex[:12]}"
    given = {
        "table": name,
        "queue_url": name,
        "endpoint_url": endpoint(),
        "create": True,
        "region": _REGION,
        "wait_time": 0,
    }
    return SQSConfig(**(given | settings))


def made(**settings: object) -> SQSConfig:
    """Return the settings of a store of its own, whose table and queues are there: in four calls, not sixteen."""
    if "ASYNCJOBS_TEST_AWS_ENDPOINT" in os.environ:  # it may take its time to make them
        return config(**settings)
    from asyncjobs.backends.sqs import schema

    ready = config(create=False, **settings)
    dynamodb, sqs = _clients(endpoint())
    dynamodb.create_table(**schema.table_definition(ready.table))
    dead = sqs.create_queue(QueueName=schema.dead_letters_of(ready.queue_url))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": schema.MOST_RECEIVED})
    attributes = {**schema.queue_attributes(ready), "RedrivePolicy": policy}
    sqs.create_queue(QueueName=ready.queue_url, Attributes=attributes)
    return ready


@functools.cache
def _clients(address: str | None) -> tuple[Any, Any]:
    import botocore.session

    session: Any = botocore.session.get_session()
    return tuple(session.create_client(of, endpoint_url=address, region_name=_REGION) for of in ("dynamodb", "sqs"))


def missing() -> str | None:
    """Return why there is no emulator, None if there is one."""
    if os.environ.get("ASYNCJOBS_TEST_SQS") != "1":
        return "'make test' and 'make test-sqs' ask for the SQS store, and others do not: ASYNCJOBS_TEST_SQS=1"
    if "ASYNCJOBS_TEST_AWS_ENDPOINT" in os.environ or aws_emulators.ministack() is not None:
        return None
    return "no emulator of AWS: 'make test-sqs' installs one"


def program() -> Path:
    """Return the program of the emulator. Without one the test is skipped, or fails."""
    found, reason = aws_emulators.ministack(), missing()
    if found is None or reason is not None:
        reason = reason or "no emulator of AWS is installed here: 'make test-sqs' does it"
        if os.environ.get("ASYNCJOBS_REQUIRE_AWS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def is_on_second() -> bool:
    """Return whether the tables are to be in the second emulator."""
    given = os.environ.get("ASYNCJOBS_TEST_DYNAMODB")
    if given not in (None, "dynoxide", "ministack"):
        raise pytest.UsageError(f"ASYNCJOBS_TEST_DYNAMODB: 'dynoxide' or 'ministack', and not {given!r}")
    return given == "dynoxide"


@functools.cache
def second_endpoint() -> str:
    """Return the address of the second emulator of DynamoDB, which is started at the first call.

    Without one the test is skipped: it is not required.
    """
    found = aws_emulators.dynoxide()
    if found is None:
        pytest.skip("no second emulator of DynamoDB is installed here: 'make .venv-dynoxide/stamp' does it, with npm")
    return aws_emulators.start_dynoxide(found).address


def have_tables_in_second(patch: pytest.MonkeyPatch) -> None:
    """Have the tables of a test in the second emulator, if it is installed and nothing else is asked for.

    It takes a third of the processor time of the first one, for the same calls, and both know what such a test needs.
    """
    if {"ASYNCJOBS_TEST_AWS_ENDPOINT", "ASYNCJOBS_TEST_DYNAMODB"} & os.environ.keys():
        return
    if missing() is not None or aws_emulators.dynoxide() is None:
        return
    first = endpoint()
    assert first is not None
    for name, address in _addresses(first).items():
        patch.setenv(name, address)
    patch.setattr(sys.modules[__name__], "endpoint", lambda: None)


def _addresses(first: str) -> dict[str, str]:
    """Return the variables by which the tables are in the second emulator, and all else is in the first."""
    return dict.fromkeys(ENDPOINTS, first) | {"AWS_ENDPOINT_URL_DYNAMODB": second_endpoint()}


def environment() -> dict[str, str]:
    """Return the variables that another process needs to use the same store."""
    endpoint()
    return {name: os.environ[name] for name in (*CREDENTIALS, *ENDPOINTS) if name in os.environ}


@functools.cache
def endpoint() -> str | None:
    """Return the address of the emulator, which is started at the first call and ends with this process.

    None: the environment says where to go.
    """
    given = os.environ.get("ASYNCJOBS_TEST_AWS_ENDPOINT")
    if given == "environment":
        return None
    for name in _MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(CREDENTIALS)
    if given is not None:
        return given
    address = aws_emulators.start_ministack(program()).address
    if not is_on_second():
        return address
    os.environ.update(_addresses(address))
    return None
