"""Log a missing permission once, when a call meets it first, and once that it was given, whatever makes that call."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from asyncjobs.backends.sqs.errors import DENIED, LOGGED, PERMITTED_BY, SERVICES
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_RESOURCE = re.compile(r"on resource: (\S+)")
_TARGET = "asyncjobs.denials.target"
_BEGAN = "asyncjobs.denials.began"
_TARGETS = ("TableName", "IndexName", "QueueUrl", "QueueName", "Bucket")
"""Arguments that say what a call is about."""
_WRITES = frozenset({"BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"})


class _Missing(Struct):
    """What refused calls were about, and when the last one was refused, in seconds of the monotonic clock."""

    targets: set[str]
    refused_at: float


class Denials:
    """The permissions that were found missing since the store was opened, by call and resource.

    What is missing at the opening is the error of the opening, and is not logged beside it. The answers to later calls
    are marked, so that their errors are not logged again by the loops that try again (``BackendError.logged``).

    A process without workers may be one that only reads: what it may not write is the error of its caller, or left to
    others (``upkeep``).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: dict[tuple[str, str], _Missing] = {}
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
        client.meta.events.register("provide-client-params", _on_call)
        client.meta.events.register("after-call", self._on_answer)

    def _on_answer(self, parsed: dict[str, Any], model: Any, context: Mapping[str, Any], **_: object) -> None:
        error: Mapping[str, Any] = parsed.get("Error", {})
        call, target = f"{SERVICES[model.service_model.service_name]} {model.name}", str(context.get(_TARGET))
        if not error:
            self._permitted(call, target, context.get(_BEGAN, 0.0))
        if error.get("Code") not in DENIED or self._works is None or (model.name in _WRITES and not self._works()):
            return
        parsed.setdefault("ResponseMetadata", {})[LOGGED] = True
        self._log(call, target, str(error.get("Message", "")))

    def _log(self, call: str, target: str, message: str) -> None:
        found = _RESOURCE.search(message)
        missing = call, found[1] if found else ""
        with self._lock:
            news = missing not in self._met
            met = self._met.setdefault(missing, _Missing(set(), 0.0))
            met.targets.add(target)
            met.refused_at = time.monotonic()
        if news:
            reason = message or "AWS gives no reason"
            logger.warning("%s is not permitted (this is logged once): %s\n  hint: %s", call, reason, PERMITTED_BY)

    def _permitted(self, call: str, target: str, began: float) -> None:
        """Learn that a call was permitted: perhaps it was not, until now.

        One that began before another was refused tells nothing: its answer comes late.
        """
        if not self._met:
            return
        with self._lock:
            over = [
                missing
                for missing, met in self._met.items()
                if missing[0] == call and target in met.targets and began > met.refused_at
            ]
            for missing in over:
                del self._met[missing]
        if over:
            logger.warning("resumed: %s is permitted now", call)


def _on_call(params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
    named = [str(params[name]) for name in _TARGETS if name in params]
    context[_BEGAN] = time.monotonic()
    context[_TARGET] = " ".join([*named, *sorted(params.get("RequestItems", ()))])
