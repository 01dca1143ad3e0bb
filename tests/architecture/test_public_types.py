"""What counts as a fault of a public type; ``make check`` judges the package itself by it."""

from __future__ import annotations

from typing import Any

import pytest

import asyncjobs
from tests.architecture.public_types import find_faults, find_public

PUBLIC = {"asyncjobs.Job", "asyncjobs.models.Job"}
INNER = 'Type of parameter "engine" is partially unknown'
MISSING = "Type is missing type annotation"


def symbol(name: str, *messages: str, known: bool = False, ambiguous: bool = False) -> dict[str, Any]:
    diagnostics = [{"message": message} for message in messages]
    return {"name": name, "isTypeKnown": known, "isTypeAmbiguous": ambiguous, "diagnostics": diagnostics}


@pytest.mark.parametrize("name", ["asyncjobs.Job", "asyncjobs.models.Job", "asyncjobs.models.Job.id"])
@pytest.mark.parametrize(
    "found",
    [((), False), ((), True), ((INNER,), False), ((INNER,), True), ((MISSING,), True), ((INNER, MISSING), True)],
)
def test_an_unknown_or_ambiguous_type_is_a_fault(name: str, found: tuple[tuple[str, ...], bool]) -> None:
    messages, ambiguous = found
    [fault] = find_faults([symbol(name, *messages, ambiguous=ambiguous)], PUBLIC)
    assert fault.startswith(f"{name}: ")


@pytest.mark.parametrize(
    "given",
    [
        symbol("asyncjobs.Job", known=True),
        symbol("asyncjobs.runtime.engine.Engine.graph", MISSING),
        symbol("asyncjobs.models.Job.error.message", MISSING),
    ],
    ids=lambda given: given["name"],
)
def test_what_is_known_or_of_an_inner_class_is_none(given: dict[str, Any]) -> None:
    assert find_faults([given], PUBLIC) == []


def test_everything_that_is_exported_is_public() -> None:
    public = find_public()
    assert {f"asyncjobs.{name}" for name in asyncjobs.__all__} <= public
    assert {
        "asyncjobs.processor.JobProcessor",
        "asyncjobs.client.JobsClient",
        "asyncjobs.backends.base.JobBackend",
    } <= public
