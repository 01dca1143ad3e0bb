"""Give handlers a request: its caller, its validated input, and ways to respond."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from json import loads
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin
from urllib.parse import unquote, urlencode

import anyio
from msgspec import Struct, ValidationError, convert, json
from msgspec.structs import FieldInfo, fields
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from asyncjobs.core.json_values import NO_SURROGATES, find_lone_surrogate
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import state_tag
from asyncjobs.runtime.engine import Engine
from asyncjobs.runtime.events.frames import Frames
from asyncjobs.runtime.submission import LONGEST_ID, checked_name
from asyncjobs.spellings import nearest
from asyncjobs.web.access import Caller, Guard
from asyncjobs.web.paths import Place, segment
from asyncjobs.web.problems import WebError, invalid
from asyncjobs.web.settings import WebConfig
from asyncjobs.web.streams import OpenStreams

if TYPE_CHECKING:
    from asyncjobs.processor import JobProcessor

T = TypeVar("T", bound=Struct)

_SLOWEST_BODY = 60.0
"""Seconds within which a body must be complete."""
_SILENCE = 20.0
"""Seconds within which the next bytes of a body must arrive."""
EXACT = "application/msgpack"
"""Media type of values as they are stored."""
ANY_KEY = "KEY"
"""Ends the name of parameters whose names may end with any text: ``metadata.KEY``. Together they are a dict."""
_NIL = b"\xc0"


class Site(Struct, frozen=True):
    """State that all requests of an app share."""

    jp: JobProcessor
    engine: Engine
    config: WebConfig
    guard: Guard
    streams: OpenStreams
    frames: Frames
    document: Callable[[str], dict[str, Any]]
    """Writes the OpenAPI document, for the path at which the app is mounted."""


class Call:
    """A request that was admitted."""

    def __init__(self, site: Site, request: Request, place: Place, caller: Caller) -> None:
        self.site = site
        self.jp: JobProcessor = site.jp
        self.engine: Engine = site.engine
        self.request = request
        self.place = place
        self.caller = caller

    # -- requests

    def param(self, name: str) -> str:
        """Return a decoded part of the path: an id or a group.

        :raises WebError: 404, it is not valid.
        """
        value = unquote(self.request.path_params[name])
        try:
            return checked_name(name, value, LONGEST_ID) if name == "id" else checked_name(name, value)
        except ConfigurationError as error:
            raise WebError(404, "not-found", f"not a valid {name}", hint=error.allowed) from None

    def query(self, kind: type[T]) -> T:
        """Return the query string as ``kind``.

        :raises WebError: 400, a name is unknown or a value is invalid.
        """
        params = self.request.query_params
        known = {field.encode_name: field for field in fields(kind)}
        given: dict[str, Any] = {}
        for name in params:
            if name == "ticket":
                continue
            parameter, key = _find_parameter(name, known)
            values = params.getlist(name)
            if _is_list(known[parameter].type):
                given[parameter] = [part for value in values for part in value.split(",")]
            elif len(values) > 1:
                raise invalid(f"?{name}", "may be given only once", hint="give one value; all parameters must match")
            elif key is None:
                given[parameter] = values[0]
            else:
                given.setdefault(parameter, {})[key] = values[0]
        try:
            return convert(given, kind, strict=False)
        except ValidationError as error:
            raise _misfit(error, "?", kind) from None

    async def body(self, kind: type[T]) -> T:
        """Return the JSON body as ``kind``.

        :raises WebError: the body is not JSON, or a field is unknown or invalid.
        """
        content_type = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        data = await self._read()
        if not data and not is_required(kind):
            return kind()
        if content_type != "application/json":
            raise WebError(
                415,
                "unsupported-media-type",
                f"the content type is {content_type or 'missing'}",
                hint="send application/json",
            )
        try:
            value = json.decode(data)
            check_depth(value, self.site.config.max_depth)
            check_names(data)
            return convert(value, kind)
        except ValidationError as error:
            raise _misfit(error, "#", kind) from None
        except RecursionError:
            raise too_deep(self.site.config.max_depth) from None
        except ValueError as error:  # DecodeError, or bytes that are not UTF-8
            raise _not_json(data, error) from None

    async def _read(self) -> bytes:
        most = self.site.config.max_body
        length = self.request.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > most):
            raise _too_large(most)
        data = bytearray()
        try:
            with anyio.fail_after(_SLOWEST_BODY), anyio.fail_after(_SILENCE) as silence:
                async for chunk in self.request.stream():
                    data += chunk
                    if len(data) > most:
                        raise _too_large(most)
                    silence.deadline = anyio.current_time() + _SILENCE
        except TimeoutError:
            raise WebError(
                408,
                "too-slow",
                f"the body is incomplete: no data for {_SILENCE:g} s, or not all of it in {_SLOWEST_BODY:g} s",
            ) from None
        except ClientDisconnect:
            raise WebError(400, "disconnected", "the client disconnected") from None
        return bytes(data)

    async def check_match(self, job_id: str) -> None:
        """Check that a job matches ``If-Match``.

        :raises WebError: 412, it has changed.
        """
        wanted = self.request.headers.get("if-match")
        if wanted is None:
            return
        job = await self.jp.get_job(job_id)
        tags = [tag.strip().removeprefix("W/") for tag in wanted.split(",")]
        if state_tag(job.version, job.created_at) not in tags and wanted != "*":
            raise WebError(412, "changed", f"job {job_id!r} has changed since (If-Match)", hint="fetch the job again")

    # -- responses

    def url(self, path: str, *parts: str) -> str:
        """Return a link within this app; ``parts`` fill the ``{}`` of the path."""
        return self.place.root + path.format(*map(segment, parts))

    def next_page(self, **cursor: str) -> dict[str, str]:
        """Return the ``Link`` header of the next page: this request with another cursor."""
        params = [(name, value) for name, value in self.request.query_params.multi_items() if name not in cursor]
        return {"link": f'<?{urlencode([*params, *cursor.items()])}>; rel="next"'}

    def json(
        self, value: Any, status: int = 200, *, headers: Mapping[str, str] | None = None, etag: str | None = None
    ) -> Response:
        """Return a JSON response, or 304 if the client has this state already."""
        all_headers = {"cache-control": "no-cache" if etag else "no-store", **(headers or {})}
        if etag is not None:
            all_headers["etag"] = etag
            if self.matches(etag):
                return Response(status_code=304, headers=all_headers)
        return Response(json.encode(value), status, all_headers, "application/json")

    def accepts(self, kind: str) -> bool:
        """Return whether ``Accept`` names this type literally."""
        given = self.request.headers.get("accept", "")
        return any(entry.partition(";")[0].strip().lower() == kind for entry in given.split(","))

    def exact(self, stored: bytes | None) -> Response:
        """Return a response with the stored bytes of a value, for ``asyncjobs.client``."""
        headers = {"cache-control": "no-store", "vary": "Accept"}
        return Response(_NIL if stored is None else stored, 200, headers, EXACT)

    def matches(self, etag: str) -> bool:
        """Return whether ``If-None-Match`` names this ETag."""
        given = self.request.headers.get("if-none-match", "")
        return any(candidate.strip().removeprefix("W/") in (etag, "*") for candidate in given.split(",") if candidate)

    def redact(self, what: str, value: Any) -> Any:
        """Return what callers may see of a value."""
        redact = self.site.config.redact
        return value if redact is None else redact(what, value)

    def redact_fields(self, what: str, value: dict[str, Any]) -> dict[str, Any]:
        """Return an object redacted for callers, always as an object, whatever ``redact=`` returns."""
        shown = self.redact(what, value)
        return cast("dict[str, Any]", shown) if isinstance(shown, dict) else {"redacted": shown}

    def redact_text(self, value: str) -> str:
        """Return what callers may see of an error text."""
        return str(self.redact("error", value))


def _find_parameter(name: str, known: Mapping[str, FieldInfo]) -> tuple[str, str | None]:
    """Return the parameter with this name and, if it is one such as ``metadata.KEY``, the key.

    :raises WebError: 400, there is none.
    """
    prefix, dot, key = name.partition(".")
    if dot and (pattern := f"{prefix}.{ANY_KEY}") in known:
        return pattern, key
    if name in known:
        return name, None
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(known) or 'none'}"
    raise invalid(f"?{name}", "unknown parameter", hint=hint)


def check_depth(value: Any, most: int) -> None:
    """Check that JSON is not nested deeper than ``most``.

    :raises WebError: 400, it is.
    """
    level: list[Any] = [value]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # pyright: ignore[reportUnknownVariableType] - any JSON
        ]
        if not level:
            return
    raise too_deep(most)


def check_names(data: bytes, where: str = "#") -> None:
    """Check that no object in JSON has duplicate names: a proxy that checks a request may read the other value.

    :param where: the place of that JSON in the request.
    :raises WebError: 400, an object has.
    """

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) < len(pairs):
            raise invalid(where, "duplicate name in an object")

    # Numbers stay text: they were parsed before.
    loads(data, object_pairs_hook=look, parse_int=str, parse_float=str)


def too_deep(most: int) -> WebError:
    """Return the error for JSON that is nested too deep."""
    return invalid("#", f"nested more than {most} levels deep")


_FIELD = re.compile(r"\.(\w+)")


def _too_large(most: int) -> WebError:
    return WebError(413, "too-large", f"the body has more than {most:,} bytes", hint="asgi_app(max_body=…) allows more")


def _misfit(error: ValidationError, root: str, kind: type[Struct]) -> WebError:
    message = str(error)
    detail, _, where = message.partition(" - at `$")
    where = where.rstrip("`").partition("[...]")[0]  # a value of an object, and not known which
    pointer = root + where.replace("[", "/").replace("]", "").replace(".", "/" if root == "#" else "")
    unknown = detail.partition("unknown field `")[2].rstrip("`")
    hint = _hint_for(unknown, _structs_in(kind) if where else [kind]) if unknown else None
    if detail.startswith("Invalid enum value"):
        hint = f"allowed: {', '.join(_choices(kind, _FIELD.findall(where)))}"
    return invalid(pointer, detail[:1].lower() + detail[1:], hint=hint)


def _choices(kind: Any, path: Sequence[str]) -> Iterator[str]:
    """Yield the values that the field at the end of a path has, if it has only some."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        yield from map(str, kind)
    elif isinstance(kind, type) and issubclass(kind, Struct):
        for field in fields(kind):
            if path and field.encode_name == path[0]:
                yield from _choices(field.type, path[1:])
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    else:
        for inner in get_args(kind):
            yield from _choices(inner, path)


def _hint_for(unknown: str, kinds: Sequence[type[Struct]]) -> str:
    known = list(dict.fromkeys(field.encode_name for kind in kinds for field in fields(kind)))
    near = nearest(unknown, known)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(known) or 'none'}"


def _structs_in(kind: type[Struct]) -> list[type[Struct]]:
    """Return the structs in the fields of a struct, recursively."""
    held: list[Any] = [field.type for field in fields(kind)]
    for part in held:  # the list grows meanwhile
        held.extend(get_args(part))
    return [part for part in held if isinstance(part, type) and issubclass(part, Struct)]


def _not_json(data: bytes, error: ValueError) -> WebError:
    where = find_lone_surrogate(data)
    if where is None:
        return invalid("#", f"not JSON: {error}")
    pointer = "/".join(["#", *(str(part).replace("~", "~0").replace("/", "~1") for part in where)])
    return invalid(
        pointer, "a lone surrogate (half of a pair such as \\ud83d\\ude00), which is not valid text", hint=NO_SURROGATES
    )


def is_required(kind: type[Struct]) -> bool:
    """Return whether a body of this kind cannot be empty."""
    return getattr(kind, "needed", False) or any(field.required for field in fields(kind))


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(map(_is_list, get_args(kind)))
