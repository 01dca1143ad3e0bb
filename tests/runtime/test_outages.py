"""A loop that goes on logs that it fails once, unless its store has done so."""

from __future__ import annotations

import logging

import pytest

from asyncjobs.exceptions import BackendConnectionError, BackendError
from asyncjobs.runtime.outages import Outage
from asyncjobs.safe_logging import SafeLogger


def logged_by_the_store() -> BackendError:
    error = BackendError("it is not permitted")
    error.logged = True
    return error


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_the_store_has_logged_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(SafeLogger("asyncjobs"), "nothing is done")
    assert outage.failed(logged_by_the_store()), "it is news to those who wait"
    assert not outage.failed(logged_by_the_store())
    outage.recovered()
    assert lines(caplog) == []


def test_another_failure_meanwhile_is_logged_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(SafeLogger("asyncjobs"), "nothing is done")
    outage.failed(logged_by_the_store())
    outage.failed(BackendConnectionError("it is away", hint="wait"))
    outage.failed(BackendConnectionError("it is away", hint="wait"))
    outage.recovered()
    outage.recovered()
    assert lines(caplog) == [
        "nothing is done, retrying: it is away\n  hint: wait",
        "store available again (was: nothing is done)",
    ]
