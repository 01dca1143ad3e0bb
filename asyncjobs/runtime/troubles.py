"""What goes wrong again and again is told once."""

from __future__ import annotations

import logging

from asyncjobs.exceptions import BackendError


class Trouble:
    """The log of one loop that goes on whatever happens: a line when it begins to fail, one when it fails in another
    way, one when it works again.

    :param what: what cannot be done meanwhile, such as "no jobs can be claimed".
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._code: str | None = None

    def tell(self, error: BackendError) -> bool:
        """It failed. True: that is news."""
        news = error.code != self._code
        self._code = error.code
        self._logger.log(logging.WARNING if news else logging.DEBUG, "%s, trying again: %s", self._what, error)
        return news

    def over(self) -> None:
        """It worked."""
        if self._code is not None:
            self._code = None
            self._logger.warning("the store works again, after: %s", self._what)
