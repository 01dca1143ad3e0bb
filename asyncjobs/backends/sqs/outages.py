"""Log once that AWS cannot be reached, or takes no credentials of this process, and once that it is over.

Every call fails meanwhile, of whichever part of the store. The errors are marked, so that the loops that try again do
not log them, too (``BackendError.logged``).
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from asyncjobs.backends.sqs.errors import CUT_OFF, LOGGED, REFUSED_KEYS, RENEWED, SERVICES, is_connection_lost
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_SENT = "asyncjobs.outages.sent"
_CREDENTIALS = "credentials"
_MEANWHILE = {"sqs": "work spreads at the pace of the sweep", "s3": "values in it cannot be read or written"}
"""What is so while a service cannot be reached; without DynamoDB nothing goes on."""


class _Trouble:
    """Something that may be wrong. Moments are of the monotonic clock; 0: it never was so."""

    def __init__(self) -> None:
        self.lasts = False
        self.began = self.over = self.worked = 0.0


class Outages:
    """What is wrong with AWS as seen from this process, from the answers to all clients of a store, and their lack.

    What is wrong at the opening is the error of the opening, and is not logged beside it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs = self._closed = False
        self._troubles: defaultdict[str, _Trouble] = defaultdict(_Trouble)

    def begin(self) -> None:
        """Log from now on."""
        self._logs = True

    def close(self) -> None:
        """Take calls that fail from now on for what they are: cut off by the closing of the store."""
        self._logs, self._closed = False, True

    def attach(self, client: Any) -> None:
        """Look at the calls of a client of botocore."""
        service = client.meta.service_model.service_name

        def on_answer(parsed: dict[str, Any], context: Mapping[str, Any], **_: object) -> None:
            self._answered(service, parsed, context.get(_SENT, 0.0))

        def on_error(exception: Exception, context: Mapping[str, Any], **_: object) -> None:
            if self._closed:
                setattr(exception, CUT_OFF, True)
            elif is_connection_lost(exception) and self._failed(service, context.get(_SENT, 0.0), str(exception)):
                setattr(exception, LOGGED, True)

        client.meta.events.register("before-call", _on_call)
        client.meta.events.register("after-call", on_answer)
        client.meta.events.register("after-call-error", on_error)

    def _answered(self, service: str, parsed: dict[str, Any], sent: float) -> None:
        """Learn from an answer: the service can be reached; unless it is about the credentials, these are good."""
        error, about = parsed.get("Error", {}), parsed.setdefault("ResponseMetadata", {})
        if about.get("HTTPStatusCode", 0) >= 500:
            return  # it says nothing of either
        self._worked(service, sent)
        if error.get("Code") not in REFUSED_KEYS:
            self._worked(_CREDENTIALS, sent)
        elif RENEWED not in about and self._failed(_CREDENTIALS, sent, f"{error['Code']}: {error.get('Message', '')}"):
            about[LOGGED] = True

    def _failed(self, what: str, sent: float, reason: str) -> bool:
        """Note that a call failed; return whether that was logged, now or before."""
        with self._lock:
            trouble = self._troubles[what]
            if not self._logs or sent < trouble.worked:  # others have got an answer since it was sent
                return self._logs and sent < trouble.over
            news, trouble.lasts = not trouble.lasts, True
            if news:
                trouble.began = time.monotonic()
        if news:
            logger.warning("%s", _begins(what, reason))
        return True

    def _worked(self, what: str, sent: float) -> None:
        with self._lock:
            trouble, now = self._troubles[what], time.monotonic()
            trouble.worked = now
            ends = trouble.lasts and sent >= trouble.began  # else it was on its way before
            if ends:
                trouble.lasts, trouble.over = False, now
        if ends:
            logger.warning("%s", _ends(what))


def _on_call(context: dict[str, Any], **_: object) -> None:
    context[_SENT] = time.monotonic()


def _begins(what: str, reason: str) -> str:
    if what == _CREDENTIALS:
        return (
            f"AWS refuses the credentials of this process (this is logged once): {reason}"
            "\n  hint: renew them; this process goes on by itself when it finds new ones"
        )
    meanwhile = _MEANWHILE.get(what, "this process goes on by itself when it can")
    return f"{SERVICES[what]} cannot be reached (this is logged once): {reason}; {meanwhile}"


def _ends(what: str) -> str:
    if what == _CREDENTIALS:
        return "resumed: AWS accepts the credentials of this process again"
    return f"resumed: {SERVICES[what]} can be reached again"
