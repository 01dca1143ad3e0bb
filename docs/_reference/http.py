"""The page of the HTTP interface: from its OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from asyncjobs.web.openapi import document

HEAD = """\
# HTTP interface

{about}

Paths are below the place where the interface is mounted. Every server has the same as an OpenAPI document:
`GET v1/openapi.json`. The [guide](../guides/web.md) shows how it is mounted, and
[another](../guides/access.md) who may use it.
"""
METHODS = ("get", "post", "delete")


def page() -> str:
    """Write the page."""
    described = document("/")
    parts = [HEAD.format(about=described["info"]["description"])]
    shared = described["components"]["parameters"]
    for path, methods in described["paths"].items():
        for method in METHODS:
            if method in methods:
                parts += _operation(f"{method.upper()} {path}", methods[method], shared)
    parts.append("## Types\n")
    for name, schema in described["components"]["schemas"].items():
        parts += _type(name, schema)
    return "\n".join(parts)


def _operation(title: str, operation: dict[str, Any], shared: dict[str, Any]) -> list[str]:
    parts = [f"## {title}\n", f"{operation.get('description') or operation.get('summary') or ''}\n"]
    rows: list[str] = []
    for parameter in operation.get("parameters", ()):
        one = shared[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter
        needed = ", required" if one.get("required") and one["in"] != "path" else ""
        rows.append(f"| `{one['name']}` | {one['in']}{needed} | {_cell(one.get('description', ''))} |")
    if rows:
        parts += ["| parameter | in | meaning |", "|---|---|---|", *rows, ""]
    if "requestBody" in operation:
        parts.append(f"Body: {', '.join(_kinds(operation['requestBody']['content']))}\n")
    parts += ["| status | answer |", "|---|---|"]
    for status, answer in operation["responses"].items():
        kinds = ", ".join(_kinds(answer.get("content", {}))) if "$ref" not in answer else _link("Problem")
        parts.append(f"| {status} {_phrase(status)} | {kinds} |")
    return [*parts, ""]


def _phrase(status: str) -> str:
    return HTTPStatus(int(status)).phrase if status.isdigit() else ""


def _kinds(content: dict[str, Any]) -> list[str]:
    return [f"{_kind(of.get('schema', {}))} as `{media}`" for media, of in content.items()]


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _link(schema["$ref"].rpartition("/")[2])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_kind, schema[several])))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kinds: Any = schema.get("type", "any JSON")
    kind = kinds if isinstance(kinds, str) else " or ".join(kinds)
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _type(name: str, schema: dict[str, Any]) -> list[str]:
    parts = [f"### {name}\n", f"{schema.get('description') or ''}\n"]
    if "properties" not in schema:
        return [*parts, f"{_kind(schema)}\n"]
    required = schema.get("required", ())
    parts += ["| field | type | meaning |", "|---|---|---|"]
    for field, of in schema["properties"].items():
        mark = "" if field in required else " (may be missing)"
        parts.append(f"| `{field}` | {_cell(_kind(of))}{mark} | {_cell(of.get('description', ''))} |")
    return [*parts, ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
