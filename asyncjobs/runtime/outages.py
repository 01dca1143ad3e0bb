"""Log repeated failures once, and pause before each retry."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

from asyncjobs.exceptions import BackendError
from asyncjobs.safe_logging import SafeLogger

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 5.0


def retry_delays() -> Iterator[float]:
    """Yield the seconds before each retry of a write that must succeed: doubled each time, up to a maximum."""
    delay = _FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(_LONGEST_DELAY, delay * 2)


class Outage:
    """The log of one loop that never gives up: a line when it begins to fail, when it fails in another way, and when it
    works again. Errors that the store has logged are not repeated.

    :param what: what cannot be done meanwhile, such as "no jobs can be claimed".
    """

    def __init__(self, logger: SafeLogger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._code: str | None = None
        self._logged = False

    def failed(self, error: Exception) -> bool:
        """Record a failure; log a traceback unless it is an error of the store. Return whether it is new."""
        expected = isinstance(error, BackendError)
        code = error.code if isinstance(error, BackendError) else type(error).__name__
        news = code != self._code
        self._code = code
        logs = news and not (expected and error.logged)
        self._logged |= logs
        level = logging.DEBUG if not logs else logging.WARNING if expected else logging.ERROR
        traced = error if logs and not expected else None
        self._logger.log(level, "%s, retrying: %s", self._what, error, exc_info=traced)
        return news

    def recovered(self) -> None:
        """Record that it works again."""
        if self._logged:
            self._logger.warning("store available again (was: %s)", self._what)
        self._code, self._logged = None, False
