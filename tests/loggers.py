"""Keep what a test does to loggers from the next one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_State = tuple[list[logging.Handler], int, bool, bool]
_UNTOUCHED: _State = ([], logging.NOTSET, True, False)


@contextmanager
def as_they_were() -> Iterator[None]:
    """Undo what is done meanwhile to the root logger and to ours: else the next test logs, and pytest keeps it all."""
    before = _states()
    try:
        yield
    finally:
        for name, state in _states().items():
            if state != (was := before.get(name, _UNTOUCHED)):
                logger = logging.getLogger(name)
                logger.handlers[:], logger.propagate, logger.disabled = was[0], was[2], was[3]
                logger.setLevel(was[1])  # forgets what it remembers of levels


def _states() -> dict[str | None, _State]:
    ours = [name for name in tuple(logging.root.manager.loggerDict) if name.partition(".")[0] == "asyncjobs"]
    return {name: _state(logging.getLogger(name)) for name in (None, *ours)}


def _state(logger: logging.Logger) -> _State:
    return logger.handlers[:], logger.level, logger.propagate, logger.disabled
