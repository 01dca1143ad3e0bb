"""Parse the metadata filter of a query string."""

from __future__ import annotations

from typing import Any

from msgspec import json

from asyncjobs.exceptions import ConfigurationError
from asyncjobs.metadata_filters import MetadataFilter, Scalar, alternatives, checked_filter, parse_texts
from asyncjobs.web.call import Call, check_names
from asyncjobs.web.problems import WebError, invalid
from asyncjobs.web.requests import ListJobs


def checked_metadata(call: Call, asked: ListJobs) -> MetadataFilter | None:
    """Return the metadata that jobs must have; None for any.

    :raises WebError: 400, they cannot be compared, or they are hidden from callers.
    """
    try:
        wanted: dict[str, Any] = dict(parse_texts(asked.metadata_fields.items(), "?metadata.{}"))
        for key, value in ({} if asked.metadata is None else _parsed(asked.metadata)).items():
            if key in wanted:
                raise invalid(f"?metadata.{key}", "given in ?metadata, too", hint="give each field in one of them")
            wanted[key] = value
        checked = checked_filter("?metadata", wanted)
    except ConfigurationError as error:
        detail = str(error.args[0])
        place = [{"pointer": error.field, "detail": detail}]
        raise WebError(400, "invalid-request", detail, hint=error.hint, errors=place) from None
    _refuse_hidden(call, checked)
    return checked or None


def _parsed(text: str) -> dict[str, Scalar | list[Scalar]]:
    try:
        parsed = json.decode(text, type=dict[str, Scalar | list[Scalar]])
    except ValueError as error:  # DecodeError, ValidationError
        problem = f"not a JSON object of texts, numbers, booleans and nulls, or lists of these: {error}"
        raise invalid("?metadata", problem) from None
    check_names(text.encode(), "?metadata")
    return parsed


def _refuse_hidden(call: Call, wanted: MetadataFilter) -> None:
    # A filter would confirm guesses: the jobs found would reveal a value that is hidden from callers.
    for key, value in wanted.items():
        for one in alternatives(value):
            if call.redact_fields("metadata", {key: one}) != {key: one}:
                raise invalid(
                    f"?metadata.{key}",
                    "its values are hidden from callers, so jobs cannot be found by them",
                    hint="filter by other metadata; redact= of the server decides what is hidden",
                )
