"""Values in S3, against the emulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncjobs.backends.sqs.bucket import Bucket
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.exceptions import BackendError
from tests import sqs_server

pytestmark = pytest.mark.anyio
LARGE = bytes(range(256)) * 20_000


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def connected(anyio_backend: str) -> AsyncIterator[Clients]:
    clients = await Clients.open(sqs_server.config(bucket="any"))
    yield clients
    await clients.close()


@pytest.fixture
async def bucket(connected: Clients) -> Bucket:
    name = sqs_server.config().table
    await connected.s3.create_bucket(Bucket=name)
    return Bucket(connected.s3, name, "jobs")


async def test_values_come_back_until_they_are_deleted(bucket: Bucket) -> None:
    places = [bucket.place("N1=job/../é \U0001f600", f"{number}") for number in range(3)]
    for number, place in enumerate(places):
        await bucket.put(place, LARGE + bytes([number]))
    assert await bucket.get(places[1]) == LARGE + b"\x01"
    assert await bucket.delete([*places[:2], bucket.place("N2=never", "x")])
    assert [await bucket.get(place) is None for place in places] == [True, True, False]
    assert await bucket.delete([])


async def test_those_of_another_bucket_are_found_where_they_are(connected: Clients, bucket: Bucket) -> None:
    name = sqs_server.config().table
    await connected.s3.create_bucket(Bucket=name)
    later = Bucket(connected.s3, name, "jobs")
    places = [bucket.place("N1=a", "x"), later.place("N1=a", "y")]
    for place in places:
        await later.put(place, LARGE)
    assert [await later.get(place) for place in places] == [LARGE] * 2
    assert await later.delete(places)
    assert [await later.get(place) for place in places] == [None] * 2


def test_objects_of_other_jobs_and_tables_have_other_names() -> None:
    first, second = Bucket(None, "values", "jobs"), Bucket(None, "values", "other")
    names = {first.place("N1=a", "x"), first.place("N2=a", "x"), first.place("N1=a", "y"), second.place("N1=a", "x")}
    assert len(names) == 4
    assert all(name.split("/")[:2] in (["values", "jobs"], ["values", "other"]) and len(name) < 400 for name in names)


async def test_a_missing_bucket_is_named(connected: Clients) -> None:
    bucket = Bucket(connected.s3, "not-there", "jobs")
    with pytest.raises(BackendError, match="S3 PutObject in bucket 'not-there': it does not exist") as error:
        await bucket.put("not-there/x", b"y")
    assert "asyncjobs aws init" in str(error.value.hint)
    with pytest.raises(BackendError, match="S3 GetObject in bucket 'not-there'"):
        await bucket.get("not-there/x")


async def test_where_no_bucket_is_named_the_setting_is() -> None:
    with pytest.raises(BackendError, match="in the S3 bucket 'values', and none is named here") as error:
        await Bucket(None, None, "jobs").get("values/jobs/x")
    assert error.value.hint == "SQSConfig(bucket='values')"


class Denying:
    """A client of S3 that may not delete: the call succeeds, and says so of each object."""

    async def delete_objects(self, **request: Any) -> dict[str, Any]:
        key = request["Delete"]["Objects"][0]["Key"]
        return {"Errors": [{"Key": key, "Code": "AccessDenied", "Message": "Access Denied"}]}


async def test_what_may_not_be_deleted_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    bucket = Bucket(Denying(), "values", "jobs")
    for _ in range(3):
        assert not await bucket.delete(["values/jobs/x"])
    (record,) = caplog.records
    assert "S3 DeleteObjects in bucket 'values' is not permitted" in record.getMessage()
    assert "asyncjobs aws policy" in record.getMessage()
