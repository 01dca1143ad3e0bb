"""Go on past what cannot be done for one item, so that it is in the way of no other."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from asyncjobs.backends.sqs.errors import NOT_PERMITTED
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")


class Barrier:
    """What a sweep met and could not do, each of which is logged once, until it is done.

    Errors that concern every item go on: AWS that is away, a permission that is missing, a store that is closed.
    """

    def __init__(self) -> None:
        self._failing: set[str] = set()

    @contextmanager
    def around(self, what: str) -> Generator[None]:
        """Go on after an error of what is done here.

        :param what: names it in the log.
        """
        try:
            yield
        except Exception as error:  # border: an item that cannot be read must not stop the work of all others
            if (
                isinstance(error, (BackendConnectionError, BackendClosedError))
                or getattr(error, "code", None) == NOT_PERMITTED
            ):
                raise
            self._log(what, error)
        else:
            self._failing.discard(what)

    def _log(self, what: str, error: Exception) -> None:
        if what in self._failing:
            return
        self._failing.add(what)
        unexpected = None if isinstance(error, BackendError) else error
        logger.error("%s failed, and is tried again by each sweep: %s", what, error, exc_info=unexpected)
