"""Start an emulator of SQS and DynamoDB for the tests of the SQS store, or name the one that the environment gives.

``ASYNCJOBS_TEST_AWS_ENDPOINT`` is the address of another one, or ``environment``: what the variables of AWS say, or AWS
itself. Without an emulator the tests are skipped; with ``ASYNCJOBS_REQUIRE_AWS=1`` they fail.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from asyncjobs.config import SQSConfig

_PLACES = (os.environ.get("ASYNCJOBS_TEST_AWS_EMULATOR", ""), ".venv-aws/bin/ministack")
_SERVICES = ("DYNAMODB", "SQS", "S3")
_ROOT = Path(__file__).parent.parent
_PATIENCE = 30
"""Seconds until the emulator must answer."""
_MISLEADING = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", *(f"AWS_ENDPOINT_URL_{of}" for of in _SERVICES))
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
    return SQSConfig(**(given | settings))  # type: ignore[arg-type]


def made() -> SQSConfig:
    """Return the settings of a store of its own, whose table and queues are there: in four calls, not sixteen."""
    if "ASYNCJOBS_TEST_AWS_ENDPOINT" in os.environ:  # it may take its time to make them
        return config()
    from asyncjobs.backends.sqs import schema

    ready = config(create=False)
    dynamodb, sqs = _clients(endpoint())
    dynamodb.create_table(**schema.table_definition(ready.table))
    dead = sqs.create_queue(QueueName=schema.dead_letters_of(ready.queue_url))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": schema.MOST_RECEIVED})
    attributes = {**schema.queue_attributes(ready), "RedrivePolicy": policy}
    sqs.create_queue(QueueName=ready.queue_url, Attributes=attributes)
    return ready


@functools.cache
def _clients(address: str) -> tuple[Any, Any]:
    import botocore.session

    session: Any = botocore.session.get_session()
    return tuple(session.create_client(of, endpoint_url=address, region_name=_REGION) for of in ("dynamodb", "sqs"))


def missing() -> str | None:
    """Return why there is no emulator, None if there is one."""
    if os.environ.get("ASYNCJOBS_TEST_SQS") != "1":
        return "'make test' and 'make test-sqs' ask for the SQS store, and others do not: ASYNCJOBS_TEST_SQS=1"
    if "ASYNCJOBS_TEST_AWS_ENDPOINT" in os.environ or _program() is not None:
        return None
    return "no emulator of AWS: 'make test-sqs' installs one"


def program() -> Path:
    """Return the program of the emulator. Without one the test is skipped, or fails."""
    found, reason = _program(), missing()
    if found is None or reason is not None:
        reason = reason or "no emulator of AWS is installed here: 'make test-sqs' does it"
        if os.environ.get("ASYNCJOBS_REQUIRE_AWS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _program() -> Path | None:
    places = (_ROOT / place for place in _PLACES if place)
    return next((place for place in places if place.is_file()), None)


@functools.cache
def endpoint() -> str:
    """Return the address of the emulator, which is started at the first call and ends with this process.

    It is empty if the environment says where to go.
    """
    given = os.environ.get("ASYNCJOBS_TEST_AWS_ENDPOINT")
    if given == "environment":
        return ""
    for name in _MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(CREDENTIALS)
    if given is not None:
        return given
    return _start(program())


def _start(program: Path) -> str:
    port = _free_port()
    with tempfile.NamedTemporaryFile(prefix="asyncjobs-emulator-", suffix=".log", delete=False) as log:
        server = subprocess.Popen(
            [program],
            env=os.environ | {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            start_new_session=True,
        )
    atexit.register(_stop, server, Path(log.name))
    address = f"http://127.0.0.1:{port}"
    _wait_until_it_answers(address, server, Path(log.name))
    return address


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def _end_with_parent() -> None:
    """Have the kernel end the emulator when the tests are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _stop(server: subprocess.Popen[bytes], log: Path) -> None:
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    log.unlink(missing_ok=True)


def _wait_until_it_answers(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the emulator ended with {server.returncode}: {log.read_text('utf-8')[-2000:]}"
        try:
            with urllib.request.urlopen(f"{address}/_ministack/health", timeout=2):
                return
        except OSError:
            time.sleep(0.05)  # another process, which reports nothing
    raise AssertionError(f"the emulator does not answer: {log.read_text('utf-8')[-2000:]}")
