"""The OpenAPI document as a judge of real answers: status, media type, headers, body."""

from __future__ import annotations

import copy
import json
import re
from typing import Any, Protocol

from jsonschema import Draft202012Validator

from asyncjobs.web.openapi import document

Json = dict[str, Any]


class Answer(Protocol):
    """What httpx and requests agree about."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    @property
    def content(self) -> bytes | Any: ...


class Contract:
    """Of a server whose app is at the root."""

    def __init__(self) -> None:
        self.document = document("/")
        # Clients ignore fields that they do not know. Here, an answer may have none that is not described.
        self._components = _closed(copy.deepcopy(self.document["components"]))
        self.operations: dict[tuple[str, str], Json] = {
            (method.upper(), path): operation
            for path, of_path in self.document["paths"].items()
            for method, operation in of_path.items()
        }

    def path_of(self, path: str) -> str:
        """The path of the document that an encoded path of a request is one of."""
        for template in self.document["paths"]:
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
                return template
        raise AssertionError(f"{path} is not in the document")

    def check(self, method: str, path: str, answer: Answer, body: bytes | None = None) -> None:
        """Fails unless the document says that there may be this answer.

        :param path: of the request, encoded, without its query; ``body``: the answer's, if it is a stream.
        """
        operation = self.operations[method, self.path_of(path)]
        name, status, headers = operation["operationId"], answer.status_code, answer.headers
        assert status < 500 or status == 503, f"{name} answered {status}"
        assert str(status) in operation["responses"], f"{name} answered {status}, which is not described"
        response = self.resolved(operation["responses"][str(status)])
        self._check_headers(f"{name} {status}", response, headers)
        content = response.get("content", {})
        kind = headers.get("content-type", "").partition(";")[0]
        if not content:
            assert not (answer.content if body is None else body), f"{name} {status} has a body"
            return
        assert kind in content, f"{name} {status} is {kind!r}, and not one of {list(content)}"
        if kind in ("application/json", "application/problem+json"):
            self.fits(json.loads(answer.content), content[kind]["schema"])

    def _check_headers(self, what: str, response: Json, sent: Any) -> None:
        described = response["headers"]
        for header, reference in described.items():
            assert header in sent or not self.resolved(reference)["required"], f"{what} comes without {header}"
        for header in self.document["components"]["headers"]:
            assert header in described or header not in sent, f"{what} comes with {header}, which is not described"

    def fits(self, value: Any, schema: Json) -> None:
        """Fails with the place of the first thing that does not fit."""
        validator = Draft202012Validator(
            {**schema, "components": self._components}, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        for error in validator.iter_errors(value):
            raise AssertionError(f"{error.json_path}: {error.message}")

    def resolved(self, part: Json) -> Json:
        """A part of the document, by its reference where it is one."""
        while "$ref" in part:
            reference = part["$ref"].split("/")[1:]
            part = self.document
            for name in reference:
                part = part[name]
        return part


def _closed(part: Any) -> Any:
    if isinstance(part, dict):
        for inner in part.values():
            _closed(inner)
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
    elif isinstance(part, list):
        for inner in part:
            _closed(inner)
    return part
