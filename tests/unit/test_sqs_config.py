"""Settings of the store in DynamoDB and SQS: the rules of AWS for names, and what tells two stores apart."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from asyncjobs import ConfigurationError, SQLiteConfig, SQSConfig
from asyncjobs.config import MEBIBYTE

QUEUE = "the name of a standard queue (up to 80 letters, digits, '_' or '-') or its URL"
FIFO = "a FIFO queue is slower, and its order is not needed: DynamoDB decides which worker runs what"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)


def test_everything_has_the_documented_default() -> None:
    config = SQSConfig()
    assert (config.queue_url, config.queues, config.table) == ("asyncjobs", {}, "asyncjobs")
    assert (config.region, config.endpoint_url, config.bucket, config.create) == (None, None, None, False)
    assert (config.shards, config.wait_time, config.visibility_timeout, config.tries) == (4, 10, 60, 5)


def test_values_are_larger_with_a_bucket() -> None:
    assert SQSConfig().max_value_size == 4 * MEBIBYTE
    assert SQSConfig(bucket="jobs-values").max_value_size == 64 * MEBIBYTE
    assert SQSConfig(bucket="jobs-values", max_value_size=128 * MEBIBYTE).max_value_size == 128 * MEBIBYTE
    assert SQSConfig(max_value_size=1024).max_value_size == 1024
    with pytest.raises(ConfigurationError) as caught:
        SQSConfig(max_value_size=4 * MEBIBYTE + 1)
    assert str(caught.value) == (
        "SQSConfig.max_value_size cannot be 4194305; allowed: a whole number from 1024 to 4194304 without a bucket\n"
        "  hint: name an S3 bucket for larger values: bucket='…'"
    )


@pytest.mark.parametrize(
    "good",
    [
        {"queue_url": "a" * 80},
        {"queue_url": URL},
        {"queue_url": "http://127.0.0.1:4566/000000000000/jobs"},
        {"queues": {"images": "jobs-images", "größe 1": URL}},
        {"table": "a.b_c-9"},
        {"table": "a" * 255},
        {"region": "us-gov-west-1"},
        {"region": "local"},
        {"endpoint_url": "http://localhost:4566"},
        {"endpoint_url": "https://[::1]:8000/aws"},
        {"bucket": "a.b-3"},
        {"shards": 1},
        {"shards": 64},
        {"wait_time": 0},
        {"wait_time": 20},
        {"visibility_timeout": 1},
        {"visibility_timeout": 43_200},
        {"create": True},
    ],
)
def test_what_aws_takes_is_taken(good: dict[str, Any]) -> None:
    [(name, value)] = good.items()
    assert getattr(SQSConfig(**good), name) == value


@pytest.mark.parametrize(
    ("bad", "allowed", "hint"),
    [
        ({"queue_url": "jobs.fifo"}, QUEUE, FIFO),
        ({"queue_url": f"{URL}.fifo"}, QUEUE, FIFO),
        ({"queue_url": "arn:aws:sqs:eu-west-1:1:jobs"}, QUEUE, "give the URL or the name instead of the ARN"),
        ({"queue_url": "a" * 81}, QUEUE, None),
        ({"queue_url": "a b"}, QUEUE, None),
        ({"queue_url": ""}, QUEUE, None),
        ({"queue_url": None}, QUEUE, None),
        ({"queue_url": "ftp://host/jobs"}, QUEUE, None),
        ({"queue_url": "https://host/"}, QUEUE, None),
        ({"queue_url": "https://host:x/jobs"}, QUEUE, None),
        ({"queues": {"images": "jobs.fifo"}}, QUEUE, FIFO),
        ({"queues": {"images": 5}}, QUEUE, None),
        ({"queues": {"": "jobs"}}, "a mapping of names of queues to names or URLs of SQS queues", None),
        ({"queues": {5: "jobs"}}, "a mapping of names of queues to names or URLs of SQS queues", None),
        ({"queues": ["jobs"]}, "a mapping of names of queues to names or URLs of SQS queues", None),
        ({"table": "ab"}, "the name of a table: 3 to 255 letters, digits, '_', '-' or '.'", None),
        ({"table": "a" * 256}, "the name of a table: 3 to 255 letters, digits, '_', '-' or '.'", None),
        ({"table": "my jobs"}, "the name of a table: 3 to 255 letters, digits, '_', '-' or '.'", None),
        ({"table": "jobs\n"}, "the name of a table: 3 to 255 letters, digits, '_', '-' or '.'", None),
        ({"table": b"jobs"}, "the name of a table: 3 to 255 letters, digits, '_', '-' or '.'", None),
        (
            {"table": "arn:aws:dynamodb:eu-west-1:1:table/jobs"},
            "the name of a table: 3 to 255 letters, digits, '_', '-' or '.'",
            "give the name instead of the ARN, and the region as region='…'",
        ),
        (
            {"region": "EU-West-1"},
            "the name of a region, such as 'eu-central-1', or None",
            "did you mean 'eu-west-1'?",
        ),
        ({"region": "eu west"}, "the name of a region, such as 'eu-central-1', or None", None),
        ({"region": ""}, "the name of a region, such as 'eu-central-1', or None", None),
        (
            {"endpoint_url": "localhost:4566"},
            "an http:// or https:// URL without a query, or None",
            "did you mean 'http://localhost:4566'?",
        ),
        ({"endpoint_url": "http://"}, "an http:// or https:// URL without a query, or None", None),
        ({"endpoint_url": "http://h?x=1"}, "an http:// or https:// URL without a query, or None", None),
        ({"endpoint_url": 4566}, "an http:// or https:// URL without a query, or None", None),
        (
            {"bucket": "My-Bucket"},
            "the name of a bucket: 3 to 63 lower-case letters, digits, '-' or '.', or None",
            "did you mean 'my-bucket'?",
        ),
        (
            {"bucket": "192.168.0.1"},
            "the name of a bucket: 3 to 63 lower-case letters, digits, '-' or '.', or None",
            None,
        ),
        ({"bucket": "a..b"}, "the name of a bucket: 3 to 63 lower-case letters, digits, '-' or '.', or None", None),
        ({"bucket": "-ab"}, "the name of a bucket: 3 to 63 lower-case letters, digits, '-' or '.', or None", None),
        ({"shards": 0}, "a whole number from 1 to 64", None),
        ({"shards": 65}, "a whole number from 1 to 64", None),
        ({"shards": 4.0}, "a whole number from 1 to 64", None),
        ({"wait_time": 21}, "a whole number from 0 to 20", None),
        ({"wait_time": -1}, "a whole number from 0 to 20", None),
        ({"visibility_timeout": 0}, "a whole number from 1 to 43200", None),
        ({"visibility_timeout": 43_201}, "a whole number from 1 to 43200", None),
        ({"visibility_timeout": True}, "a whole number from 1 to 43200", None),
        ({"create": 1}, "True or False", None),
    ],
)
def test_what_aws_refuses_is_refused_at_once(bad: dict[str, Any], allowed: str, hint: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SQSConfig(**bad)
    [name] = bad
    assert (caught.value.field, caught.value.allowed, caught.value.hint) == (f"SQSConfig.{name}", allowed, hint)


def test_the_mapping_of_queues_is_its_own() -> None:
    queues = {"images": "jobs-images"}
    config = SQSConfig(queues=queues)
    queues["mails"] = "jobs-mails"
    assert config.queues == {"images": "jobs-images"}
    assert hash(config) == hash(SQSConfig(queues={"images": "jobs-images"}))


def test_a_setting_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"hint: SQSConfig\(queue_url='jobs'\)"):
        SQSConfig("jobs")


def test_stores_are_told_apart_by_endpoint_region_profile_and_table(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [
        SQSConfig(),
        SQSConfig(table="jobs"),
        SQSConfig(region="eu-west-1"),
        SQSConfig(endpoint_url="http://localhost:4566"),
        SQSConfig(endpoint_url="http://localhost:4566", region="eu-west-1"),
    ]
    assert len({config.identity for config in configs}) == len(configs)
    assert SQSConfig(queue_url="other", wait_time=1).identity == SQSConfig().identity
    plain = SQSConfig().identity
    monkeypatch.setenv("AWS_PROFILE", "production")
    assert SQSConfig().identity != plain
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert SQSConfig().identity == SQSConfig(region="eu-west-1").identity


def test_people_are_shown_the_table_and_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SQSConfig().where == "DynamoDB table 'asyncjobs'"
    assert SQSConfig(table="jobs", region="eu-west-1").where == "DynamoDB table 'jobs' in eu-west-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    assert SQSConfig().where == "DynamoDB table 'asyncjobs' at http://localhost:4566"
    assert SQLiteConfig(db_path="/a/b.db").where == "/a/b.db"


def test_nothing_of_aws_is_imported_before_a_store_is_opened() -> None:
    code = (
        "import sys, asyncjobs; asyncjobs.JobProcessor(asyncjobs.SQSConfig());"
        "asyncjobs.SQSBackend(asyncjobs.SQSConfig());"
        "print([name for name in sys.modules if name.partition('.')[0] in ('aiobotocore', 'botocore', 'aiohttp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
