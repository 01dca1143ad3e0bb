"""Log records of this package without raising errors of the program's log handlers.

Handlers belong to the program and may fail (an unreachable log server, a full disk). Their errors propagate out of the
call that logs: in the middle of a commit, a heartbeat or a claim. None of these may fail because logging failed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any


class SafeLogger:
    """The part of ``logging.Logger`` that is used here. Never raises an ``Exception``."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._failing: type[Exception] | None = None
        self.isEnabledFor: Callable[[int], bool] = self._logger.isEnabledFor  # the name is logging's

    def debug(self, message: str, *args: object) -> None:
        """Log at DEBUG."""
        self._log(logging.DEBUG, message, args)

    def info(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at INFO."""
        self._log(logging.INFO, message, args, extra=extra)

    def warning(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at WARNING."""
        self._log(logging.WARNING, message, args, extra=extra)

    def error(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log at ERROR, with the traceback of ``exc_info`` where it is given."""
        self._log(logging.ERROR, message, args, exc_info=exc_info)

    def exception(self, message: str, *args: object) -> None:
        """Log at ERROR, with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, message, args, exc_info=True)

    def log(
        self,
        level: int,
        message: str,
        *args: object,
        exc_info: BaseException | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Log at ``level``."""
        self._log(level, message, args, exc_info=exc_info, extra=extra)

    def _log(self, level: int, message: str, args: tuple[object, ...], **options: Any) -> None:
        try:
            # 3: the record names the caller of ``info`` and the others, not this module.
            self._logger.log(level, message, *args, stacklevel=3, **options)
        except Exception as error:  # border: a handler (or filter) of the program may raise anything
            self._report(error)
        else:
            self._failing = None

    def _report(self, error: Exception) -> None:
        """Write once to standard error that records are lost, as ``logging`` does with what its own handlers raise."""
        if self._failing is type(error) or not logging.raiseExceptions:
            return
        self._failing = type(error)
        try:
            sys.stderr.write(
                f"asyncjobs: a logging handler of this program raised {type(error).__name__} for a record of "
                f"{self._logger.name}; the record is lost, the work continues\n"
            )
        except Exception:  # border: standard error is closed, or is what raised
            pass
