"""Let routes of a FastAPI program return models and handles, by the protocol of pydantic.

pydantic is not a dependency: it is imported only when it asks a class for its schema. Without a return annotation,
FastAPI sends what ``dict()`` makes of an object. ``asyncjobs.web.json_models`` decides what is sent, read and
described.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self


class ShownList:
    """The base of lists with attributes: annotated with their class, a route sends them as ``asgi_app`` does.

    Without an annotation, FastAPI sends a plain list.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Define for pydantic how the value is checked and sent."""
        from pydantic_core import core_schema

        from asyncjobs.web.json_models import as_json, from_json

        def check(value: Any) -> Any:
            return value if isinstance(value, cls) else from_json(cls, value)

        return core_schema.no_info_plain_validator_function(
            check, serialization=core_schema.plain_serializer_function_ser_schema(as_json, when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe what is sent, for OpenAPI."""
        from asyncjobs.web.json_models import json_schema

        return json_schema(cls)


class Shown(ShownList):
    """The base of models that routes may return: they are sent as ``asgi_app`` sends them."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield names and values as JSON has them: ``dict(job)``."""
        from asyncjobs.web.json_models import as_json

        return iter(as_json(self).items())


class SentAsId(str):
    """The base of handles: a route sends the id."""

    __slots__ = ()

    def __copy__(self) -> Self:
        """Return the handle itself: it is immutable, and a copy must stand for the job's result as well."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the handle itself, also within what ``copy.deepcopy`` and ``dataclasses.asdict`` copy."""
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Define for pydantic that the value is a string."""
        from pydantic_core import core_schema

        def check(value: str) -> str:
            if isinstance(value, cls):
                return value
            try:
                return cls(value)
            except TypeError:  # a kind that needs more than an id
                return value

        return core_schema.no_info_after_validator_function(
            check,
            core_schema.str_schema(min_length=1, max_length=512),
            serialization=core_schema.plain_serializer_function_ser_schema(str.__str__, when_used="json"),
        )
