"""Answers are checked by stored schemas: of whatever program, without running or fetching anything for them."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from asyncjobs.runtime.json_schemas import find_misfit


@pytest.mark.parametrize(
    ("schema", "value", "path"),
    [
        ({"type": "integer"}, 3, None),
        ({"type": "integer"}, 3.0, ""),
        ({"type": "integer"}, True, ""),
        ({"type": "number"}, 3, None),
        ({"type": ["integer", "null"]}, None, None),
        ({"enum": ["a", 1]}, "a", None),
        ({"enum": ["a", 1]}, "b", ""),
        ({"type": "array", "items": {"type": "string"}}, ["a", 5], "[1]"),
        ({"$ref": "#/$defs/V", "$defs": {"V": {"type": "object", "required": ["ok"]}}}, {}, ""),
        (
            {"$ref": "#/$defs/V", "$defs": {"V": {"properties": {"ok": {"type": "boolean"}}}}},
            {"ok": 1},
            ".ok",
        ),
    ],
)
def test_values_fit_or_the_path_to_what_does_not_is_returned(schema: Any, value: Any, path: str | None) -> None:
    found = find_misfit(schema, value)
    assert (None if found is None else found[1]) == path


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://example.invalid/schema.json"},
        {"$ref": "#/$defs/nowhere"},
        {"type": "no such type"},
        {"minLength": "a"},
        {"pattern": "("},
        {"$ref": "#"},
    ],
)
def test_what_is_no_schema_takes_no_answer_and_nothing_is_fetched(schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("a store had something fetched")

    monkeypatch.setattr(urllib.request, "urlopen", fetched)
    found = find_misfit(schema, "x")
    assert found is not None
    assert found[0].startswith("its schema cannot be checked: ")
