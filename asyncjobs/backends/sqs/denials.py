"""Log a missing permission once, when a call meets it first, whichever part of the store makes that call."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from asyncjobs.backends.sqs.errors import DENIED, LOGGED, PERMITTED_BY
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_SERVICES = {"dynamodb": "DynamoDB", "sqs": "SQS", "s3": "S3"}
_RESOURCE = re.compile(r"on resource: (\S+)")
_WRITES = frozenset({"BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"})


class Denials:
    """The permissions that were found missing since the store was opened, by call and resource.

    What is missing at the opening is the error of the opening, and is not logged beside it. The answers to later calls
    are marked, so that their errors are not logged again by the loops that try again (``BackendError.logged``).

    A process without workers may be one that only reads: what it may not write is the error of its caller, or left to
    others (``upkeep``).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: set[tuple[str, str]] = set()
        self._works: Callable[[], bool] | None = None

    def begin(self, works: Callable[[], bool]) -> None:
        """Log from now on.

        :param works: returns whether this process has workers.
        """
        self._works = works

    @property
    def logs_writes(self) -> bool:
        """Whether a write that is not permitted is logged."""
        return self._works is not None and self._works()

    def attach(self, client: Any) -> None:
        """Look at the answers to a client of botocore."""
        client.meta.events.register("after-call", self._on_answer)

    def _on_answer(self, parsed: dict[str, Any], model: Any, **_: object) -> None:
        error: Mapping[str, Any] = parsed.get("Error", {})
        if error.get("Code") not in DENIED or self._works is None or (model.name in _WRITES and not self._works()):
            return
        parsed.setdefault("ResponseMetadata", {})[LOGGED] = True
        self._log(f"{_SERVICES[model.service_model.service_name]} {model.name}", str(error.get("Message", "")))

    def _log(self, call: str, message: str) -> None:
        found = _RESOURCE.search(message)
        missing = call, found[1] if found else ""
        with self._lock:
            if missing in self._met:
                return
            self._met.add(missing)
        reason = message or "AWS gives no reason"
        logger.warning("%s is not permitted (this is logged once): %s\n  hint: %s", call, reason, PERMITTED_BY)
