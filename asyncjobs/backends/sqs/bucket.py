"""Keep values in S3 that are too large for the table. Each object belongs to one job, and goes with it.

An item of the table, in the partition of that job, names the object. It is written first and deleted last, so whatever
a process leaves undone is found with the job, and there is no object that nothing names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from itertools import groupby
from typing import Any

from asyncjobs.backends.sqs.errors import code_of, translated
from asyncjobs.exceptions import BackendError
from asyncjobs.safe_logging import SafeLogger

_DELETED_AT_ONCE = 1000

logger = SafeLogger("asyncjobs.sqs")


class Bucket:
    """The objects of a table: below its name, so that several tables can share a bucket.

    New ones go into this bucket. Where one is says the item that names it: the bucket of a table may have been another.

    :param client: of S3; None if no bucket is named. Then there is none for new objects, and old ones are out of reach.
    :param reading: a value is read in here. It comes after the answer of the call, which ended with the first part.
    """

    def __init__(
        self,
        client: Any,
        name: str | None,
        table: str,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._client = client
        self._name = name
        self._table = table
        self._reading = reading
        self._stay = False

    @property
    def named(self) -> bool:
        """Whether there is a bucket for new objects."""
        return self._name is not None

    def place(self, partition: str, name: str) -> str:
        """Return where a new object of the job of a partition is to be, whatever the job is called: bucket and key."""
        assert self._name is not None, "it was checked"
        return f"{self._name}/{self._table}/{sha256(partition.encode()).hexdigest()[:32]}/{name}"

    async def put(self, place: str, value: bytes) -> None:
        """Write an object."""
        bucket, _, key = place.partition("/")
        with translated(_what("PutObject", bucket)):
            await self._of(bucket).put_object(Bucket=bucket, Key=key, Body=value)

    async def get(self, place: str) -> bytes | None:
        """Read an object; None if it is not there."""
        import botocore.exceptions as errors

        bucket, _, key = place.partition("/")
        with translated(_what("GetObject", bucket)):
            try:
                answer = await self._of(bucket).get_object(Bucket=bucket, Key=key)
            except errors.ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            with self._reading():
                async with answer["Body"] as body:
                    return await body.read()

    async def delete(self, places: Sequence[str]) -> bool:
        """Delete objects; those that are not there are not missed. Return False if some stay, which is logged once."""
        try:
            await self._delete_all(places)
        except BackendError as error:
            if not self._stay:
                logger.warning("objects in S3 stay, until a later sweep can delete them: %s", error)
            self._stay = True
            return False
        self._stay = self._stay and not places
        return True

    async def _delete_all(self, places: Sequence[str]) -> None:
        for bucket, some in groupby(sorted(places), key=lambda place: place.partition("/")[0]):
            keys = [place.partition("/")[2] for place in some]
            for start in range(0, len(keys), _DELETED_AT_ONCE):
                await self._delete(bucket, keys[start : start + _DELETED_AT_ONCE])

    async def _delete(self, bucket: str, keys: Sequence[str]) -> None:
        import botocore.exceptions as errors

        objects = [{"Key": key} for key in keys]
        with translated(_what("DeleteObjects", bucket)):
            answer = await self._of(bucket).delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            # The call succeeds, also if it may delete nothing.
            failed: Sequence[Mapping[str, str]] = answer.get("Errors", ())
            if failed:
                raise errors.ClientError({"Error": {**failed[0]}, "ResponseMetadata": {}}, "DeleteObjects")

    def _of(self, bucket: str) -> Any:
        if self._client is None:
            raise BackendError(
                f"a value is in the S3 bucket {bucket!r}, and none is named here", hint=f"SQSConfig(bucket={bucket!r})"
            )
        return self._client


def _what(operation: str, bucket: str) -> str:
    return f"S3 {operation} in bucket {bucket!r}"
