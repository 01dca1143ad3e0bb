"""Define the settings of the store in DynamoDB and SQS, with the rules of AWS for its names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast
from urllib.parse import urlsplit

from asyncjobs.checks import checked_dict, is_a
from asyncjobs.config.checked import MEBIBYTE
from asyncjobs.config.stores import BackendConfig
from asyncjobs.exceptions import ConfigurationError

WITHOUT_BUCKET = 4 * MEBIBYTE
"""Bytes that one value may take in DynamoDB alone, where it is kept in chunks."""
_LONGEST_VISIBILITY = 12 * 3600
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TABLE_RULE = "the name of a table: 3 to 255 letters, digits, '_', '-' or '.'"
_QUEUE_RULE = "the name of a standard queue (up to 80 letters, digits, '_' or '-') or its URL"
_REGION_RULE = "the name of a region, such as 'eu-central-1', or None"
_ENDPOINT_RULE = "an http:// or https:// URL without a query, or None"
_BUCKET_RULE = "the name of a bucket: 3 to 63 lower-case letters, digits, '-' or '.', or None"


@dataclass(frozen=True, kw_only=True)
class SQSConfig(BackendConfig):
    """Settings of the store in DynamoDB, whose work is spread by SQS. Credentials come from where AWS tools find them.

    :param max_value_size: bytes that one call's arguments, one result, or one event may take, encoded. Default 4 MiB,
        which is also the most without a bucket; with one 64 MiB.
    :param queue_url: the standard queue: its name, or its URL, for one of another account. Default ``asyncjobs``.
    :param queues: SQS queues for jobs of single queues: by the name of the jobs' queue, the name or URL of the SQS
        queue. The jobs of all others share the first one. Default: none.
    :param table: the DynamoDB table. Default ``asyncjobs``.
    :param region: the region of all of them. Default None: ``AWS_DEFAULT_REGION``, or that of the profile.
    :param endpoint_url: the address of an emulator, or of a private endpoint. Default None: ``AWS_ENDPOINT_URL`` (or
        ``AWS_ENDPOINT_URL_DYNAMODB``, ``_SQS``, ``_S3``), or AWS itself.
    :param shards: partitions over which index entries are spread, from 1 to 64. It is stored when the table is made,
        and never changes: later the stored one counts. Default 4.
    :param wait_time: seconds that a poll waits for messages, at most 20. A shutdown may have to wait as long.
        Default 10.
    :param visibility_timeout: seconds for which a received message is hidden from other workers; extended for as long
        as its job runs. At most 12 hours. Default 60.
    :param bucket: the S3 bucket for values above 4 MiB; they are removed with their jobs. Default None.
    :param create: make the table, the queues and the bucket when the store is opened and they are missing, for
        emulators and tests. Default False: ``asyncjobs aws init`` makes them.
    """

    queue_url: str = "asyncjobs"
    queues: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    table: str = "asyncjobs"
    region: str | None = None
    endpoint_url: str | None = None
    shards: int = 4
    wait_time: int = 10
    visibility_timeout: int = 60
    bucket: str | None = None
    create: bool = False
    default_lease: ClassVar[float] = 45.0
    """More than for a file: a heartbeat crosses a network, which may be away for some seconds."""
    max_value_size: int = cast("int", None)  # set below, when it is known whether there is a bucket

    def __post_init__(self) -> None:
        self._named("table", _TABLE, _TABLE_RULE, hint=_table_hint(self.table))
        if self.region is not None:
            self._named("region", _REGION, _REGION_RULE, hint=_lower(self.region, _REGION))
        if self.bucket is not None:
            self._named("bucket", _BUCKET, _BUCKET_RULE, hint=_lower(self.bucket, _BUCKET))
        _check_queue("SQSConfig.queue_url", self.queue_url)
        object.__setattr__(self, "queues", _checked_queues(self.queues))
        _check_endpoint(self.endpoint_url)
        self._number("shards", 1, 64, whole=True)
        self._number("wait_time", 0, 20, whole=True)
        self._number("visibility_timeout", 1, _LONGEST_VISIBILITY, whole=True)
        create: object = self.create
        if create is not True and create is not False:
            raise ConfigurationError("SQSConfig.create", create, allowed="True or False")
        self._set_max_value_size()
        super().__post_init__()

    def _named(self, name: str, rule: re.Pattern[str], allowed: str, *, hint: str | None = None) -> None:
        value = getattr(self, name)
        if not is_a(value, str) or not rule.fullmatch(value):
            raise ConfigurationError(f"SQSConfig.{name}", value, allowed=allowed, hint=hint)

    def _set_max_value_size(self) -> None:
        given = cast("int | None", self.max_value_size)
        if given is None:
            object.__setattr__(self, "max_value_size", WITHOUT_BUCKET if self.bucket is None else 64 * MEBIBYTE)
        elif self.bucket is None and is_a(given, int) and given > WITHOUT_BUCKET:
            raise ConfigurationError(
                "SQSConfig.max_value_size",
                given,
                allowed=f"a whole number from 1024 to {WITHOUT_BUCKET} without a bucket",
                hint="name an S3 bucket for larger values: bucket='…'",
            )

    @property
    def identity(self) -> str:
        """Return endpoint, region and table. Two profiles may reach two tables of one name."""
        profile = "" if self.endpoint_url is not None else os.environ.get("AWS_PROFILE", "")
        return f"dynamodb {profile}@{self._endpoint or ''} {self._region or ''} {self.table}"

    @property
    def where(self) -> str:
        """Return the table, and where it is."""
        region = "" if self._region is None else f" in {self._region}"
        endpoint = "" if self._endpoint is None else f" at {self._endpoint}"
        return f"DynamoDB table {self.table!r}{region}{endpoint}"

    @property
    def _region(self) -> str | None:
        return self.region or os.environ.get("AWS_DEFAULT_REGION") or None

    @property
    def _endpoint(self) -> str | None:
        environ = os.environ
        named = self.endpoint_url or environ.get("AWS_ENDPOINT_URL_DYNAMODB") or environ.get("AWS_ENDPOINT_URL")
        return named or None


def _checked_queues(given: object) -> dict[str, str]:
    """Return the mapping as a dict of its own.

    :raises ConfigurationError: a name is empty, or names no queue of SQS.
    """
    name, allowed = "SQSConfig.queues", "a mapping of names of queues to names or URLs of SQS queues"
    queues = checked_dict(name, given, allowed)
    if not all(is_a(ours, str) and ours for ours in queues):
        raise ConfigurationError(name, given, allowed=allowed)
    for theirs in queues.values():
        _check_queue(name, theirs)
    return {str.__str__(ours): str.__str__(theirs) for ours, theirs in queues.items()}


def _check_queue(name: str, value: object) -> None:
    text = value if is_a(value, str) else ""
    last = text
    if "/" in text:
        parts = _split_url(text)
        last = "" if parts is None else parts.rpartition("/")[2]
    if last.endswith(".fifo"):
        raise ConfigurationError(
            name,
            value,
            allowed=_QUEUE_RULE,
            hint="a FIFO queue is slower, and its order is not needed: DynamoDB decides which worker runs what",
        )
    if not _QUEUE.fullmatch(last):
        hint = "give the URL or the name instead of the ARN" if text.startswith("arn:") else None
        raise ConfigurationError(name, value, allowed=_QUEUE_RULE, hint=hint)


def _check_endpoint(value: object) -> None:
    if value is None or (is_a(value, str) and _split_url(value) is not None):
        return
    full = f"http://{value}" if is_a(value, str) and "//" not in value else ""
    hint = f"did you mean {full!r}?" if _split_url(full) is not None else None
    raise ConfigurationError("SQSConfig.endpoint_url", value, allowed=_ENDPOINT_RULE, hint=hint)


def _split_url(text: str) -> str | None:
    """Return the path of an address over HTTP; None if the text is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    known = parts.scheme in ("http", "https") and parts.hostname and port != 0
    plain = not (parts.query or parts.fragment or re.search(r"\s", text))
    return parts.path if known and plain else None


def _table_hint(value: object) -> str | None:
    named_by_arn = is_a(value, str) and value.startswith("arn:")
    return "give the name instead of the ARN, and the region as region='…'" if named_by_arn else None


def _lower(value: object, rule: re.Pattern[str]) -> str | None:
    """Return a hint if a name only has capital letters that it cannot have."""
    lower = value.lower() if is_a(value, str) else ""
    return f"did you mean {lower!r}?" if rule.fullmatch(lower) else None
