"""Describe the answers of a gate by the JSON Schema of another program, which has the type of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from asyncjobs.exceptions import ConfigurationError
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.answers import fit_schema
from asyncjobs.runtime.json_schemas import load_library


class AnswerSchema(AnswerType):
    """A schema in place of a type. This process does not have the type, so the stored schema checks the answer."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """Check the schema. The first use imports the library that checks schemas.

        :raises ConfigurationError: it is not a JSON Schema, or refers to another document, which is never fetched.
        :raises MissingExtraError: schemas cannot be checked here.
        """
        library = load_library()
        try:
            library.Draft202012Validator.check_schema(schema)
        except library.exceptions.SchemaError as error:
            problem = f"the schema is not a valid JSON Schema: {error.json_path}: {error.message}"
            raise ConfigurationError("schema", problem=problem) from None
        foreign = _find_foreign(schema)
        if foreign is not None:
            problem = f"the schema refers to {foreign!r}, which it does not contain"
            raise ConfigurationError("schema", problem=problem, hint="put the referenced parts under $defs")
        if any(isinstance(part.get("$schema"), str) for part in _parts(schema) if part is not schema):
            problem = "a part of the schema names its own dialect ($schema)"
            raise ConfigurationError(
                "schema", problem=problem, hint="remove it: the whole schema is read as draft 2020-12"
            )
        if any(isinstance(part.get("pattern"), str) or "patternProperties" in part for part in _parts(schema)):
            # One regular expression can take hours for a short answer, and blocks the whole process meanwhile.
            problem = "regular expressions (pattern, patternProperties) in schemas of other programs are not run"
            raise ConfigurationError(
                "schema", problem=problem, hint="check the text of the answer in the job that gets it"
            )
        self.type = Any
        self._is_model = False
        self.schema = schema

    def fit(self, value: Any) -> Any:
        """Return the stored form of an answer.

        :raises ConfigurationError: it does not fit the schema.
        """
        return fit_schema(self.schema, value)


def _find_foreign(schema: Any) -> str | None:
    """Return a reference in a schema to another document, or None."""
    for part in _parts(schema):
        for name in ("$ref", "$dynamicRef"):
            target = part.get(name)
            if isinstance(target, str) and not target.startswith("#"):
                return target
    return None


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a schema, itself first."""
    parts = [schema]
    for part in parts:  # the list grows meanwhile
        if isinstance(part, list):
            parts.extend(cast("list[Any]", part))
        elif isinstance(part, dict):
            fields = cast("dict[str, Any]", part)
            parts.extend(fields.values())
            yield fields
