"""Write the OpenAPI 3.1 document from the table of routes.

An operation has the name of its handler: renaming a handler renames a method of generated clients.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from asyncjobs.versions import own_version
from asyncjobs.web import requests
from asyncjobs.web.access import COOKIE
from asyncjobs.web.call import ANY_KEY, EXACT, is_required
from asyncjobs.web.openapi_parts import EXAMPLES, HEADERS, PARAMETERS, PROBLEMS, REQUESTS, SENT, STREAMS, WORDS
from asyncjobs.web.problems import Problem
from asyncjobs.web.routes import TABLE, Entry

Json = dict[str, Any]

_DESCRIPTION = """Jobs, the graph they form, and their events.

Problems are `application/problem+json` (RFC 9457) with a stable `code`, and often a `hint`. Requests that
change state need the header `X-Asyncjobs`, unless they carry a bearer token. Ids and groups are percent-encoded in
paths, with a slash as `%2F`. Every GET resource also answers HEAD. Clients must ignore unknown fields."""
_TAGS = {
    "jobs": "Single jobs and collections of jobs.",
    "groups": "Groups of jobs.",
    "events": "The event log of all jobs.",
    "service": "Statistics, workers, sessions, health.",
}


@cache
def document(server: str) -> Json:
    """Return the whole document; ``server`` is the path of the mount."""
    schemas = Schemas()
    paths: dict[str, Json] = {}
    names: set[str] = set()
    for entry in TABLE:
        name = entry.handler.__name__
        if name in names:  # one handler on two paths
            name = f"{name}_{re.sub(r'[^a-z0-9]+', '_', entry.path).strip('_')}"
        names.add(name)
        paths.setdefault(entry.path, {})[entry.method.lower()] = _operation(name, entry, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "asyncjobs",
            "version": own_version(),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "security": _SECURITY,
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {_problem_name(status): _response(status, {}, (), schemas) for status in sorted(PROBLEMS)},
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "examples": EXAMPLES,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "Set by `POST v1/session`, for pages.",
                },
                "ticket": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "From `POST v1/tickets`: opens one stream, for an `EventSource` of another site.",
                },
            },
        },
    }


_SECURITY: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"cookie": []}]
"""The first entry is empty: without ``auth=``, this machine needs no authentication."""


class Schemas:
    """The JSON Schemas of types. Structs become components: ``JobView`` is ``Job`` there."""

    def __init__(self) -> None:
        kinds: list[Any] = [Problem]
        for entry in TABLE:
            kinds += [kind for kind in (entry.body, *entry.answers.values()) if kind is not None]
        self._kinds = list({repr(kind): kind for kind in kinds}.values())
        schemas, components = schema_components(self._kinds, ref_template="{name}")
        self._schemas = [_tidy(schema) for schema in schemas]
        self.components: Json = {_public(name): _tidy(components[name]) for name in sorted(components, key=_public)}

    def of(self, kind: Any) -> Json:
        """Return the schema of a body or a response."""
        return self._schemas[self._kinds.index(kind)]

    def parameters(self, kind: type[Struct]) -> list[Json]:
        """Return the parameters of a query string. Their types are among the components already."""
        schema = _tidy(schema_components([kind], ref_template="{name}")[1][kind.__name__])
        parameters: list[Json] = []
        for name, of_field in schema["properties"].items():
            inner = _given(of_field)
            parameter = {"name": name, "in": "query", "required": name in schema["required"]}
            if "description" in inner:
                parameter["description"] = inner.pop("description")
            if name.endswith(f".{ANY_KEY}"):
                inner = inner["additionalProperties"]  # one of the parameters that the dict is made of
            if inner.get("type") == "array":
                parameter |= {"style": "form", "explode": False}
            parameters.append(parameter | {"schema": inner})
        return parameters


def _public(name: str) -> str:
    return name.removesuffix("View")


def _tidy(schema: Any) -> Any:
    """Return a schema of msgspec with public names, without titles, and with one-paragraph descriptions."""
    if isinstance(schema, list):
        return [_tidy(inner) for inner in schema]  # pyright: ignore[reportUnknownVariableType] - any JSON
    if not isinstance(schema, dict):
        return schema
    tidy: Json = {}
    for name, value in schema.items():  # pyright: ignore[reportUnknownVariableType] - any JSON
        if not isinstance(value, str):  # also a property that is called title
            tidy[name] = _tidy(value)
        elif name == "$ref":
            tidy[name] = f"#/components/schemas/{_public(value)}"
        elif name == "description":
            tidy[name] = " ".join(value.split())
        elif name != "title":
            tidy[name] = value
    return tidy


def _given(schema: Json) -> Json:
    """Return the schema of a parameter without null: an omitted parameter is absent, not null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else schema


def _operation(name: str, entry: Entry, schemas: Schemas) -> Json:
    text = _render_docstring(entry.handler)
    if entry.query is not requests.NoQuery:
        text += f"\n\n{_render_docstring(entry.query)}"
    if entry.streams:
        text += f"\n\n{STREAMS}"
    tag = entry.path.removeprefix("/v1").strip("/").partition("/")[0].partition(":")[0]
    operation: Json = {
        "operationId": name,
        "tags": [tag if tag in _TAGS else "service"],
        "summary": text.partition("\n")[0].partition(". ")[0].removesuffix("."),
        "description": text,
        "parameters": [
            *_path_parameters(entry.path),
            *schemas.parameters(entry.query),
            *({"$ref": f"#/components/parameters/{header}"} for header in _understood(name, entry)),
        ],
    }
    if entry.body is not None:
        media: Json = {"schema": schemas.of(entry.body)}
        if entry.body in REQUESTS:
            media["example"] = REQUESTS[entry.body]
        operation["requestBody"] = {"required": is_required(entry.body), "content": {"application/json": media}}
    operation["responses"] = _responses(name, entry, schemas)
    if entry.right is None:
        operation["security"] = []
    elif entry.streams:
        operation["security"] = [*_SECURITY, {"ticket": []}]
    return operation


def _render_docstring(documented: object) -> str:
    return " ".join((inspect.getdoc(documented) or "").replace("``", "`").split())


def _understood(name: str, entry: Entry) -> list[str]:
    """Return the request headers that are read. Not ``Accept``: OpenAPI describes it by media types."""
    headers: list[str] = []
    if entry.method != "GET":
        headers.append("Changing")
    if 304 in entry.answers:
        headers.append("IfNoneMatch")
    if 412 in entry.problems:
        headers.append("IfMatch")
    if name == "submit":
        headers.append("IdempotencyKey")
    if entry.streams:
        headers.append("LastEventId")
    return [*headers, "RequestId"]


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": "Percent-encoded; a slash is `%2F`.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 200 if name == "group" else 512},
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


def _responses(name: str, entry: Entry, schemas: Schemas) -> Json:
    """Return the responses of an operation, with the problems that may precede its handler."""
    problems = {400, 403, 405, 414, 431, *entry.problems}
    if entry.right is not None:
        problems |= {401, 503}
    if entry.body is not None:
        problems |= {413, 415}
    responses: Json = {str(status): {"$ref": f"#/components/responses/{_problem_name(status)}"} for status in problems}
    for status, kind in entry.answers.items():
        content: Json = {} if kind is None else {"application/json": {"schema": schemas.of(kind)}}
        if kind is not None and entry.streams:
            content |= _stream_contents()
        if entry.exact and status == 200:
            content |= {EXACT: {"schema": {"type": "string", "format": "binary"}}}
        headers = SENT.get((name, status), ())
        if 304 in entry.answers:
            headers = ("ETag", *headers)
        responses[str(status)] = _response(status, content, headers, schemas, may_be_problem=status in problems)
    return dict(sorted(responses.items()))


def _problem_name(status: int) -> str:
    return f"Problem{status}"


def _response(
    status: int, content: Json, headers: tuple[str, ...], schemas: Schemas, *, may_be_problem: bool = True
) -> Json:
    if may_be_problem:
        content = content | {"application/problem+json": {"schema": schemas.of(Problem)}}
        headers = (*headers, *PROBLEMS[status])
    return {
        "description": WORDS[status],
        "headers": {header: {"$ref": f"#/components/headers/{header}"} for header in (*headers, "X-Request-Id")},
        **({"content": content} if content else {}),
    }


def _stream_contents() -> Json:
    def shown(*names: str) -> Json:
        return {
            "schema": {"type": "string"},
            "examples": {name: {"$ref": f"#/components/examples/{name}"} for name in names},
        }

    events = [name for name in EXAMPLES if name != "lines"]
    return {"text/event-stream": shown(*events), "application/x-ndjson": shown("lines")}
