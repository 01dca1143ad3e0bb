"""Values in S3, against the emulator."""

from __future__ import annotations

from collections.abc import AsyncIterator

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
    keys = [bucket.key("N1=job/../é \U0001f600", f"{place}") for place in range(3)]
    for place, key in enumerate(keys):
        await bucket.put(key, LARGE + bytes([place]))
    assert await bucket.get(keys[1]) == LARGE + b"\x01"
    await bucket.delete([*keys[:2], bucket.key("N2=never", "x")])
    assert [await bucket.get(key) is None for key in keys] == [True, True, False]
    await bucket.delete([])


def test_objects_of_other_jobs_and_tables_have_other_names() -> None:
    first, second = Bucket(None, "values", "jobs"), Bucket(None, "values", "other")
    names = {first.key("N1=a", "x"), first.key("N2=a", "x"), first.key("N1=a", "y"), second.key("N1=a", "x")}
    assert len(names) == 4
    assert all(name.split("/")[0] in ("jobs", "other") and len(name) < 400 for name in names)


async def test_a_missing_bucket_is_named(connected: Clients) -> None:
    bucket = Bucket(connected.s3, "not-there", "jobs")
    with pytest.raises(BackendError, match="S3 PutObject in bucket 'not-there': it does not exist"):
        await bucket.put("x", b"y")
    with pytest.raises(BackendError, match="S3 GetObject in bucket 'not-there'"):
        await bucket.get("x")
