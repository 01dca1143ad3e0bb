"""Errors of botocore as errors of this package: which may pass, which name a fix, and how long they take."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import botocore.exceptions as botocore_errors
import pytest

from asyncjobs.backends.sqs import clients as sqs_clients
from asyncjobs.backends.sqs import credentials as sqs_credentials
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.errors import REGION, translated
from asyncjobs.backends.sqs.table import Table
from asyncjobs.config import SQSConfig
from asyncjobs.exceptions import BackendConnectionError, BackendError, ConfigurationError, MissingExtraError
from tests import sqs_server
from tests.sqs_answers import Answering, Refusal, key_of
from tests.sqs_faults import answer_of

asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def raised(error: Exception) -> Any:
    """Return the error that comes of one of botocore."""
    with pytest.raises(Exception) as info, translated("DynamoDB GetItem on table 'jobs'"):
        raise error
    assert info.value.__cause__ is error
    assert str(info.value).startswith("DynamoDB GetItem on table 'jobs'")
    return info.value


@pytest.mark.parametrize(
    "code",
    ["ProvisionedThroughputExceededException", "ThrottlingException", "TransactionConflictException", "OverLimit",
     "RequestLimitExceeded", "TransactionInProgressException", "AWS.SimpleQueueService.QueueDeletedRecently"],
)  # fmt: skip
def test_what_passes_is_a_connection_that_is_tried_again(code: str) -> None:
    error = raised(answer_of(code, "GetItem"))
    assert isinstance(error, BackendConnectionError)
    assert error.transient
    assert code in str(error)


def test_a_failure_of_the_server_passes_whatever_its_code() -> None:
    assert raised(answer_of("SomethingNew", "GetItem", status=503)).transient


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException"])
def test_expired_credentials_pass_and_are_named(code: str) -> None:
    error = raised(answer_of(code, "GetItem"))
    assert isinstance(error, BackendConnectionError)
    assert error.transient
    assert "the credentials have expired" in str(error)


@pytest.mark.parametrize("code", ["InvalidSignatureException", "RequestTimeTooSkewed"])
@pytest.mark.parametrize(
    ("ahead", "said"),
    [(240, "is 240 s ahead of that of AWS"), (-3600, "is 3600 s behind that of AWS"), (0, "is right")],
)
def test_a_wrong_clock_is_named_with_its_offset(
    code: str, ahead: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = answer_of(code, "GetItem")
    answer.response["ResponseMetadata"]["HTTPHeaders"]["date"] = formatdate(1_700_000_000, usegmt=True)
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0 + ahead)
    error = raised(answer)
    assert f"the clock of this host {said}" in str(error)
    assert not error.transient
    assert "NTP" in error.hint


def test_without_a_date_nothing_is_said_of_the_clock() -> None:
    assert "the clock of this host is" not in str(raised(answer_of("InvalidSignatureException", "GetItem")))


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        ("AccessDeniedException", "is not permitted", "asyncjobs aws policy"),
        ("UnrecognizedClientException", "does not know this access key", "AWS_ACCESS_KEY_ID"),
        ("ResourceNotFoundException", "it does not exist", "asyncjobs aws init"),
        ("AWS.SimpleQueueService.NonExistentQueue", "it does not exist", "asyncjobs aws init"),
    ],
)
def test_what_stays_names_the_call_and_the_fix(code: str, said: str, hint: str) -> None:
    error = raised(answer_of(code, "GetItem"))
    assert isinstance(error, BackendError)
    assert not error.transient
    assert said in str(error)
    assert hint in str(error.hint)


def test_what_is_missing_is_named_with_the_region_that_was_asked() -> None:
    answer = answer_of("ResourceNotFoundException", "DescribeTable")
    answer.response["ResponseMetadata"][REGION] = "eu-west-9"
    assert "it does not exist in eu-west-9 (ResourceNotFoundException)" in str(raised(answer))


def test_any_other_answer_is_an_error_of_the_store() -> None:
    error = raised(answer_of("ValidationException", "GetItem"))
    assert type(error) is BackendError
    assert not error.transient


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (botocore_errors.EndpointConnectionError(endpoint_url="x"), True),
        (botocore_errors.ConnectTimeoutError(endpoint_url="x"), True),
        (botocore_errors.ConnectionClosedError(endpoint_url="x"), True),
        (botocore_errors.HTTPClientError(error="x"), True),
        (botocore_errors.CredentialRetrievalError(provider="x", error_msg="y"), True),
        (botocore_errors.TokenRetrievalError(provider="x", error_msg="y"), True),
        (botocore_errors.ReadTimeoutError(endpoint_url="x"), False),
        (OSError("no route"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_answer_is_a_lost_connection(error: Exception, transient: bool) -> None:
    translated_error = raised(error)
    assert isinstance(translated_error, BackendConnectionError)
    assert translated_error.transient is transient


def test_a_wrong_argument_is_no_lost_connection() -> None:
    error = raised(botocore_errors.ParamValidationError(report="x"))
    assert type(error) is BackendError


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (botocore_errors.NoCredentialsError(), "credentials"),
        (botocore_errors.ProfileNotFound(profile="x"), "credentials"),
        (botocore_errors.NoRegionError(), "SQSConfig.region"),
    ],
)
def test_what_was_not_set_is_an_error_of_the_settings(error: Exception, field: str) -> None:
    translated_error = raised(error)
    assert isinstance(translated_error, ConfigurationError)
    assert translated_error.field == field
    assert translated_error.hint


# -- opening the clients


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sqs_server.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nothing")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_is_refused_clearly() -> None:
    with pytest.raises(ConfigurationError, match="the SQS store runs on asyncio only"):
        await Clients.open(SQSConfig())


@pytest.mark.anyio
@asyncio_only
async def test_without_aiobotocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aiobotocore.session", None)
    with pytest.raises(MissingExtraError, match="the SQS store needs the extra 'sqs'"):
        await Clients.open(SQSConfig())


@pytest.mark.anyio
@asyncio_only
async def test_without_a_region_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match="no region is set"):
        await Clients.open(SQSConfig())


@pytest.mark.anyio
@asyncio_only
async def test_a_client_for_s3_is_only_made_with_a_bucket() -> None:
    for bucket in (None, "values"):
        clients = await Clients.open(SQSConfig(bucket=bucket))
        assert (clients.s3 is not None) == (bucket is not None)
        await clients.close()


@pytest.mark.anyio
@asyncio_only
async def test_an_endpoint_that_refuses_is_known_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    clients = await Clients.open(SQSConfig(endpoint_url=address))
    began = time.monotonic()
    with pytest.raises(BackendConnectionError, match="DynamoDB GetItem on table 'jobs' could not be reached") as error:
        await Table(clients.dynamodb, "jobs").get([("a", "b")])
    assert error.value.transient
    assert time.monotonic() - began < 5  # one is the most that is paused; a submission has ten for five such calls
    await clients.close()


@contextmanager
def silent() -> Generator[str]:
    """Give the address of a server that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.anyio
@asyncio_only
async def test_an_endpoint_that_never_answers_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqs_clients.READ * sqs_clients.TRIES < 45
    assert sqs_clients.CONNECT * sqs_clients.TRIES * 5 < 40  # a submission is tried five times
    monkeypatch.setattr(sqs_clients, "READ", 0.2)
    with silent() as address:
        clients = await Clients.open(SQSConfig(endpoint_url=address))
        with pytest.raises(BackendConnectionError, match="was not answered in time") as error:
            await Table(clients.dynamodb, "jobs").get([("a", "b")])
        assert not error.value.transient
        await clients.close()


# -- what only a real answer has


@pytest.mark.anyio
@asyncio_only
async def test_the_offset_of_the_clock_comes_from_the_answer_itself() -> None:
    clients = await Clients.open(SQSConfig(bucket="values"))
    date = formatdate(time.time() - 900, usegmt=True)
    answering = Answering(lambda *_: Refusal("InvalidSignatureException", "Signature expired", headers={"Date": date}))
    answering.attach_to(clients)
    thread = clients.connect("dynamodb")
    with pytest.raises(BackendError, match="the clock of this host is (899|900|901|902) s ahead of that of AWS"):
        await Table(clients.dynamodb, "jobs").get([("a", "b")])
    with pytest.raises(BackendError, match="SendMessage .*Signature expired; the clock of this host is 90. s ahead"):
        with translated("SQS SendMessage"):
            await clients.sqs.send_message(QueueUrl="https://sqs.us-east-1.amazonaws.com/1/x", MessageBody="x")
    with pytest.raises(BackendError, match="the clock of this host is 90. s ahead"), translated("the heartbeat"):
        thread.describe_table(TableName="jobs")
    skewed = Refusal("RequestTimeTooSkewed", "The difference is too large", 403, {"Date": date})
    answering.decide = lambda *_: skewed
    with pytest.raises(BackendError, match="too large; the clock of this host is 90. s ahead") as info:
        with translated("S3 GetObject"):
            await clients.s3.get_object(Bucket="values", Key="x")
    assert "NTP" in str(info.value.hint)
    thread.close()
    await clients.close()


# -- credentials that expire


def expired(keys: list[str]) -> Answering:
    """Answer that the credentials have expired, unless they are the new ones; collect the keys."""

    def decide(_: str, request: Any) -> Refusal:
        keys.append(key_of(request))
        return Refusal("", "", 200) if keys[-1] == "new" else Refusal("ExpiredTokenException", "too old")

    return Answering(decide)


def write_credentials(file: Path, key: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = x\naws_session_token = y\n")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "credentials"
    write_credentials(file, "old")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return file


@pytest.mark.anyio
@asyncio_only
async def test_credentials_that_expired_are_looked_for_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs_credentials, "RENEWED_AFTER", 0.0)
    keys: list[str] = []
    clients = await Clients.open(SQSConfig())
    expired(keys).attach_to(clients)
    table = Table(clients.dynamodb, "jobs")
    with pytest.raises(BackendConnectionError, match="the credentials have expired"):
        await table.get([("a", "b")])
    assert keys == ["old", "old"], "it was tried once more"
    write_credentials(file, "new")
    assert await table.get([("a", "b")]) == {}
    assert keys == ["old", "old", "old", "new"]
    await clients.close()


@pytest.mark.anyio
@asyncio_only
async def test_so_are_those_of_a_thread(file: Path) -> None:
    keys: list[str] = []
    clients = await Clients.open(SQSConfig())
    expired(keys).attach_to(clients)
    client = clients.connect("dynamodb")
    write_credentials(file, "new")
    with pytest.raises(botocore_errors.ClientError):
        client.list_tables()
    client.list_tables()
    again = clients.connect("dynamodb")
    again.list_tables()
    assert keys == ["old", "new", "new"]
    for each in (client, again):
        each.close()
    await clients.close()
