"""The table and the queues: made, checked at the opening, described for CloudFormation and IAM."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from asyncjobs.backends.sqs import cloudformation, policies, provisioning, schema
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.table import Table, Update
from asyncjobs.config import SQSConfig
from asyncjobs.exceptions import BackendConnectionError, BackendError, SchemaVersionError
from tests import sqs_server
from tests.sqs_faults import Wrapped, answer_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def connected(anyio_backend: str) -> AsyncIterator[Clients]:
    clients = await Clients.open(sqs_server.config())
    yield clients
    await clients.close()


class Fakes(Wrapped):
    """A client some of whose calls are answered by the test."""

    def __init__(self, client: Any, **answers: Any) -> None:
        super().__init__(client)
        self.answers = answers

    async def call(self, operation: str, **request: Any) -> Any:
        if operation not in self.answers:
            return await super().call(operation, **request)
        answer = self.answers[operation]
        if isinstance(answer, Exception):
            raise answer
        return answer(await super().call(operation, **request))


class Some:
    """Clients of which some calls are answered by the test."""

    def __init__(self, clients: Clients, **answers: Any) -> None:
        self.dynamodb: Any = Fakes(clients.dynamodb, **answers)
        self.sqs: Any = Fakes(clients.sqs, **answers)


async def checked(config: SQSConfig, clients: Any) -> schema.Checked:
    return await provisioning.prepare(config, clients)


async def made(clients: Clients, **settings: Any) -> SQSConfig:
    """Return the settings of a store that was made, and is only checked from now on."""
    config = sqs_server.config(create=False, **settings)
    await provisioning.provision(config, clients)
    return config


# -- making


async def test_everything_is_made_once_and_each_thing_is_named(connected: Clients) -> None:
    own = sqs_server.config().queue_url
    config = sqs_server.config(create=False, queues={"slow": own}, shards=2)
    foreseen = await provisioning.create(config, dry_run=True)
    with pytest.raises(BackendError, match="DescribeTable"):
        await checked(config, connected)
    lines = await provisioning.create(config, dry_run=False)
    assert lines == foreseen
    assert [line.split("'")[0] + line.split("'")[1] for line in lines] == [
        f"DynamoDB table {config.table}",
        f"time to live of DynamoDB table {config.table}",
        f"the description of table {config.table}",
        f"SQS queue {config.queue_url}-dead",
        f"SQS queue {config.queue_url}",
        f"dead letters of SQS queue {config.queue_url}",
        f"SQS queue {own}-dead",
        f"SQS queue {own}",
        f"dead letters of SQS queue {own}",
    ]
    found = await checked(config, connected)
    assert await provisioning.create(config, dry_run=False) == []
    assert found.shards == 2
    assert {ours: url.rpartition("/")[2] for ours, url in found.urls.items()} == {
        "": config.queue_url,
        "slow": own,
    }
    assert await checked(config, connected) == found


async def test_the_table_and_the_queues_are_what_they_must_be(connected: Clients) -> None:
    config = await made(connected, visibility_timeout=33, wait_time=7)
    about = await schema.described(config.table, connected)
    assert about["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert {index["Projection"]["ProjectionType"] for index in about["GlobalSecondaryIndexes"]} == {"KEYS_ONLY"}
    ttl = await connected.dynamodb.describe_time_to_live(TableName=config.table)
    assert ttl["TimeToLiveDescription"]["AttributeName"] == "ttl"
    url = (await checked(config, connected)).urls[""]
    attributes = (await connected.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
    assert attributes["MessageRetentionPeriod"] == "1209600"
    assert (attributes["VisibilityTimeout"], attributes["ReceiveMessageWaitTimeSeconds"]) == ("33", "7")
    redrive = json.loads(attributes["RedrivePolicy"])
    assert redrive["maxReceiveCount"] == 20
    assert redrive["deadLetterTargetArn"].endswith(f":{config.queue_url}-dead")


async def test_what_is_missing_of_it_is_added(connected: Clients) -> None:
    config = sqs_server.config(create=False)
    partly = schema.table_definition(config.table)
    partly["GlobalSecondaryIndexes"] = partly["GlobalSecondaryIndexes"][:1]
    partly["AttributeDefinitions"] = partly["AttributeDefinitions"][:4]
    await connected.dynamodb.create_table(**partly)
    await connected.sqs.create_queue(QueueName=config.queue_url)
    with pytest.raises(BackendError, match="has no index 'list'") as error:
        await checked(config, connected)
    assert error.value.hint is not None
    assert "asyncjobs aws init" in error.value.hint
    lines = await provisioning.provision(config, connected)
    assert [line.split(" ")[:2] for line in lines] == [
        ["index", "'list'"],
        ["index", "'log'"],
        ["time", "to"],
        ["the", "description"],
        ["SQS", "queue"],
        ["dead", "letters"],
    ]
    await checked(config, connected)


async def test_opening_makes_it_if_it_may(connected: Clients) -> None:
    config = sqs_server.config(shards=3)
    assert (await checked(config, connected)).shards == 3
    assert (await checked(config, connected)).shards == 3


async def test_processes_that_make_it_at_once_agree(connected: Clients) -> None:
    config = sqs_server.config()
    with suppress(BackendError):
        await connected.dynamodb.create_table(**schema.table_definition(config.table))
    busy = answer_of("ResourceInUseException", "CreateTable")
    missing = answer_of("ResourceNotFoundException", "DescribeTable")
    first = Some(connected, create_table=busy)
    first.dynamodb.answers["describe_table"] = missing
    await provisioning.provision(config, first)
    assert await checked(config, connected) == await checked(config, connected)


# -- checking


async def test_a_table_made_by_other_means_gets_its_description(connected: Clients) -> None:
    config = sqs_server.config(create=False, shards=2)
    await connected.dynamodb.create_table(**schema.table_definition(config.table))
    await connected.sqs.create_queue(QueueName=config.queue_url)
    first = await checked(config, connected)
    again = await checked(SQSConfig(table=config.table, queue_url=config.queue_url, shards=8), connected)
    assert again == first  # the shards of a table never change
    assert first.shards == 2


async def test_two_tables_have_other_ids(connected: Clients) -> None:
    ids = {(await checked(await made(connected), connected)).table_id for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"IndexStatus": "CREATING"}, BackendConnectionError, "the index 'work' .* is creating"),
        ({"IndexStatus": "DELETING"}, BackendConnectionError, "the index 'work' .* is deleting"),
        ({"IndexName": "other"}, BackendError, "has no index 'work'"),
        ({"KeySchema": [{"AttributeName": "x", "KeyType": "HASH"}]}, BackendError, "'work' .* other keys than wp and"),
    ],
    ids=["creating", "deleting", "missing", "other"],
)
async def test_an_index_that_cannot_be_used_is_named(
    connected: Clients, change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    config = await made(connected)

    def changed(answer: Any) -> Any:
        first = next(index for index in answer["Table"]["GlobalSecondaryIndexes"] if index["IndexName"] == "work")
        first.update(change)
        return answer

    with pytest.raises(kind, match=message):
        await checked(config, Some(connected, describe_table=changed))


async def test_a_table_that_is_being_made_is_not_there_yet(connected: Clients) -> None:
    config = await made(connected)

    def creating(answer: Any) -> Any:
        answer["Table"]["TableStatus"] = "CREATING"
        return answer

    with pytest.raises(BackendConnectionError, match=f"{config.table!r} is creating"):
        await checked(config, Some(connected, describe_table=creating))


@pytest.mark.parametrize("create", [False, True])
async def test_a_table_of_another_program_is_left_alone(connected: Clients, create: bool) -> None:
    config = sqs_server.config(create=create)
    await connected.dynamodb.create_table(
        TableName=config.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "user", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "user", "KeyType": "HASH"}],
    )
    with pytest.raises(BackendError, match="is not one of asyncjobs: its key is user, not pk and sk"):
        await checked(config, connected)
    assert "GlobalSecondaryIndexes" not in await schema.described(config.table, connected)


async def test_a_newer_version_is_refused(connected: Clients) -> None:
    config = await made(connected)
    await Table(connected.dynamodb, config.table).write(Update(("META", "M"), set={"version": 2}))
    with pytest.raises(SchemaVersionError, match=f"{config.table!r} has schema version 2"):
        await checked(config, connected)


async def test_a_missing_queue_is_named(connected: Clients) -> None:
    config = await made(connected)
    by_name = SQSConfig(table=config.table, queue_url="not-there")
    with pytest.raises(BackendError, match="SQS GetQueueUrl of 'not-there'") as error:
        await checked(by_name, connected)
    assert error.value.hint is not None
    assert "asyncjobs aws init" in error.value.hint
    url = (await checked(config, connected)).urls[""]
    by_address = SQSConfig(table=config.table, queue_url=url.replace(config.queue_url, "not-there"))
    with pytest.raises(BackendError, match="SQS GetQueueAttributes of http.*not-there"):
        await checked(by_address, connected)
    assert (await checked(SQSConfig(table=config.table, queue_url=url), connected)).urls == {"": url}


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("describe_table", "DynamoDB DescribeTable"),
        ("get_item", "DynamoDB GetItem"),
        ("get_queue_url", "SQS GetQueueUrl"),
    ],
)
async def test_a_missing_permission_names_the_call_and_the_policy(
    connected: Clients, operation: str, call: str
) -> None:
    config = await made(connected)
    denied = answer_of("AccessDeniedException", call.split(" ")[1])
    with pytest.raises(BackendError, match=f"{call} .*is not permitted") as error:
        await checked(config, Some(connected, **{operation: denied}))
    assert error.value.hint is not None
    assert "asyncjobs aws policy" in error.value.hint
    assert not error.value.transient


# -- CloudFormation


def test_the_template_has_all_that_is_made_and_keeps_what_holds_jobs() -> None:
    config = SQSConfig(table="jobs", queues={"slow": "https://sqs.eu-west-1.amazonaws.com/123456789012/own"})
    document = json.loads(cloudformation.template(config))
    resources = document["Resources"]
    assert {name: resource["Type"].rpartition("::")[2] for name, resource in resources.items()} == {
        "Table": "Table",
        "Queue": "Queue",
        "DeadLetters": "Queue",
        "Queue2": "Queue",
        "DeadLetters2": "Queue",
    }
    table = resources["Table"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert schema.table_definition("jobs").items() <= table["Properties"].items()
    assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    queue = resources["Queue2"]["Properties"]
    assert (queue["QueueName"], queue["SqsManagedSseEnabled"], queue["VisibilityTimeout"]) == ("own", True, 60)
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters2", "Arn"]}
    assert resources["DeadLetters2"]["Properties"]["QueueName"] == "own-dead"


async def test_a_table_of_the_template_is_opened(connected: Clients) -> None:
    config = sqs_server.config(create=False)
    resources = json.loads(cloudformation.template(config))["Resources"]
    known = schema.table_definition("x")
    request = {name: value for name, value in resources["Table"]["Properties"].items() if name in known}
    await connected.dynamodb.create_table(**request)
    await connected.sqs.create_queue(QueueName=resources["Queue"]["Properties"]["QueueName"])
    assert (await checked(config, connected)).shards == config.shards


def test_a_bucket_is_in_the_template_if_it_is_named() -> None:
    bucket = json.loads(cloudformation.template(SQSConfig(bucket="values")))["Resources"]["Bucket"]
    assert bucket["DeletionPolicy"] == "Retain"
    assert bucket["Properties"]["BucketName"] == "values"


def test_a_dead_letter_queue_has_a_name_that_sqs_takes() -> None:
    assert schema.dead_letters_of("q" * 80) == "q" * 75 + "-dead"


# -- IAM


def allowed(document: dict[str, Any]) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


def test_each_role_may_do_more_than_the_one_before() -> None:
    config = SQSConfig()
    reader, submitter, worker = (allowed(policies.policy(config, role)) for role in ("reader", "submitter", "worker"))
    assert reader < submitter < worker
    assert not {action for action in reader if not action.partition(":")[2].startswith(("Get", "Batch", "De", "Query"))}
    assert submitter - reader >= {"dynamodb:UpdateItem", "dynamodb:ConditionCheckItem", "sqs:SendMessage"}
    assert worker - submitter == {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}


def test_a_policy_names_the_table_its_indexes_and_the_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/own"
    config = SQSConfig(table="jobs", queue_url="all", queues={"slow": url}, region="eu-west-1")
    table, queues, dead = policies.policy(config, "worker")["Statement"]
    assert table["Resource"] == [
        "arn:aws:dynamodb:eu-west-1:*:table/jobs",
        "arn:aws:dynamodb:eu-west-1:*:table/jobs/index/*",
    ]
    assert queues["Resource"] == ["arn:aws:sqs:eu-west-1:*:all", "arn:aws:sqs:eu-west-1:123456789012:own"]
    assert dead["Resource"] == ["arn:aws:sqs:eu-west-1:*:all-dead", "arn:aws:sqs:eu-west-1:123456789012:own-dead"]
    elsewhere = policies.policy(SQSConfig(region="cn-north-1"), "reader")["Statement"][0]["Resource"][0]
    assert elsewhere == "arn:aws-cn:dynamodb:cn-north-1:*:table/asyncjobs"
    anywhere = policies.policy(SQSConfig(), "reader")["Statement"][0]["Resource"][0]
    assert anywhere == "arn:aws:dynamodb:*:*:table/asyncjobs"


@pytest.mark.parametrize("role", ["worker", "submitter", "reader"])
def test_s3_is_only_in_it_with_a_bucket(role: str) -> None:
    assert not any(action.startswith("s3:") for action in allowed(policies.policy(SQSConfig(), role)))
    with_bucket = policies.policy(SQSConfig(table="jobs", bucket="values"), role)
    objects, bucket = with_bucket["Statement"][-2:]
    assert objects["Resource"] == ["arn:aws:s3:::values/jobs/*"]
    assert (bucket["Action"], bucket["Resource"]) == (["s3:ListBucket"], ["arn:aws:s3:::values"])
    assert "s3:GetObject" in allowed(with_bucket)
    assert ("s3:PutObject" in allowed(with_bucket)) == (role != "reader")
