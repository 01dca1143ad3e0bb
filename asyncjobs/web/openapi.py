"""The OpenAPI 3.1 document, written from the table of routes."""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib import metadata
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from asyncjobs.web.problems import Problem
from asyncjobs.web.routes import TABLE, Entry

_REF = "#/components/schemas/{name}"
_ALWAYS = (400, 401, 403, 405, 431, 503)
"""Problems that any request may get."""
_STREAM = {
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'id: 12\nevent: completed\ndata: {"cursor":"12","job_id":"page_1","seq":3,"type":"completed"}\n\n',
    },
    "application/x-ndjson": {"schema": {"type": "string"}},
}
_WORDS = {
    200: "as asked",
    201: "made",
    202: "taken up, or not ready yet",
    204: "nothing more to say",
    304: "not changed",
    400: "the request says something that cannot be",
    401: "nobody is signed in",
    403: "not allowed",
    404: "there is none",
    405: "no such method here",
    406: "not in this form",
    409: "not in this state",
    412: "changed meanwhile",
    413: "too large",
    415: "not JSON",
    422: "understood, and refused",
    431: "too many headers",
    503: "the store does not answer",
}


@cache
def version() -> str:
    """The installed version."""
    try:
        return metadata.version("asyncjobs-dag")
    except metadata.PackageNotFoundError:
        return "0"


@cache
def document(server: str) -> dict[str, Any]:
    """The whole document; ``server`` is where the app is mounted."""
    types: list[Any] = [Problem]
    for entry in TABLE:
        types += [entry.query, *(kind for kind in entry.answers.values() if kind is not None)]
        if entry.body is not None:
            types.append(entry.body)
    unique = list(dict.fromkeys(map(_Hashed, types)))
    schemas, components = schema_components([hashed.type for hashed in unique], ref_template=_REF)
    by_type = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for entry in TABLE:
        paths.setdefault(entry.path, {})[entry.method.lower()] = _operation(entry, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "asyncjobs",
            "version": version(),
            "description": "Jobs, their graph, and their events. Problems are RFC 9457 documents with a stable `code`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "security": [{}, {"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "asyncjobs_session"},
            },
        },
    }


class _Hashed:
    """Types such as ``dict[str, Any]`` by their name."""

    def __init__(self, kind: Any) -> None:
        self.type = kind

    def __hash__(self) -> int:
        return hash(repr(self.type))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and repr(other.type) == repr(self.type)


def _operation(entry: Entry, schemas: dict[_Hashed, Any], components: dict[str, Any]) -> dict[str, Any]:
    text = inspect.getdoc(entry.handler) or ""
    operation: dict[str, Any] = {
        "operationId": f"{entry.method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', entry.path)}".rstrip("_"),
        "summary": text.partition("\n")[0].rstrip("."),
        "parameters": [*_path_parameters(entry.path), *_query_parameters(entry.query, components)],
        "responses": {},
    }
    if entry.right is None:
        operation["security"] = [{}]
    if entry.method in ("POST", "DELETE"):
        operation["parameters"].append(
            {
                "name": "X-Asyncjobs",
                "in": "header",
                "required": False,
                "description": "Any value. Needed unless the request is signed with a bearer token.",
                "schema": {"type": "string"},
                "example": "1",
            }
        )
    if entry.body is not None:
        operation["requestBody"] = {
            "required": any(entry.body.__struct_defaults__ == () for _ in (0,)),
            "content": {"application/json": {"schema": schemas[_Hashed(entry.body)]}},
        }
    responses = operation["responses"]
    for status, kind in entry.answers.items():
        content: dict[str, Any] = {}
        if kind is not None:
            content["application/json"] = {"schema": schemas[_Hashed(kind)]}
            if entry.streams:
                content |= _STREAM
        responses[str(status)] = {"description": _WORDS[status]} | ({"content": content} if content else {})
    problem = {"application/problem+json": {"schema": schemas[_Hashed(Problem)]}}
    also = (413, 415) if entry.body is not None else ()
    for status in (*_ALWAYS, *also, *entry.problems):
        if str(status) in responses:
            responses[str(status)].setdefault("content", {}).update(problem)
        else:
            responses[str(status)] = {"description": _WORDS[status], "content": problem}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": "Percent-encoded; a slash in it as %2F.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 512},
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(kind: type[Struct], components: dict[str, Any]) -> list[dict[str, Any]]:
    schema = components[kind.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _without_null(field),
            **({"explode": False} if _without_null(field).get("type") == "array" else {}),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not null: it is not there."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        return options[0]
    return {name: value for name, value in schema.items() if name != "default" or value is not None}
