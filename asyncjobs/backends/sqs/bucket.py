"""Keep values in S3 that are too large for the table. Each object belongs to one job, and goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from asyncjobs.backends.sqs.errors import code_of, translated

_DELETED_AT_ONCE = 1000


class Bucket:
    """The objects of a table: below its name, so that several tables can share a bucket.

    :param client: of S3.
    """

    def __init__(self, client: Any, name: str, table: str) -> None:
        self._client = client
        self._name = name
        self._table = table

    def key(self, partition: str, name: str) -> str:
        """Return the name of an object that belongs to the job of a partition, whatever the job is called."""
        return f"{self._table}/{sha256(partition.encode()).hexdigest()[:32]}/{name}"

    async def put(self, key: str, value: bytes) -> None:
        """Write an object, which no row names yet."""
        with translated(self._what("PutObject")):
            await self._client.put_object(Bucket=self._name, Key=key, Body=value)

    async def get(self, key: str) -> bytes | None:
        """Read an object; None if it is not there."""
        import botocore.exceptions as errors

        with translated(self._what("GetObject")):
            try:
                answer = await self._client.get_object(Bucket=self._name, Key=key)
            except errors.ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            async with answer["Body"] as body:
                return await body.read()

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are not missed."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            objects = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
            with translated(self._what("DeleteObjects")):
                await self._client.delete_objects(Bucket=self._name, Delete={"Objects": objects, "Quiet": True})

    def _what(self, operation: str) -> str:
        return f"S3 {operation} in bucket {self._name!r}"
