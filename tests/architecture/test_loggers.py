"""What a test does to loggers ends with it."""

from __future__ import annotations

import logging
import logging.config

from tests.loggers import as_they_were


def test_what_is_set_up_for_the_whole_process_is_undone() -> None:
    ours, new = logging.getLogger("asyncjobs.jobs"), "asyncjobs.logger_of_this_test"
    before = (logging.root.handlers[:], logging.root.level, ours.handlers[:], ours.level, ours.disabled)
    with as_they_were():
        console = {"class": "logging.StreamHandler"}
        root = {"level": "INFO", "handlers": ["console"]}
        setup = {"version": 1, "handlers": {"console": console}, "root": root, "disable_existing_loggers": False}
        logging.config.dictConfig(setup)
        ours.setLevel(logging.DEBUG)
        logging.getLogger(new).addHandler(logging.NullHandler())
        assert ours.isEnabledFor(logging.DEBUG)
        assert logging.root.handlers != before[0]
        ours.disabled = True
    assert (logging.root.handlers[:], logging.root.level, ours.handlers[:], ours.level, ours.disabled) == before
    assert ours.isEnabledFor(logging.DEBUG) == logging.root.isEnabledFor(logging.DEBUG)
    assert logging.getLogger(new).handlers == []
