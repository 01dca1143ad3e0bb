"""Define the settings of the web part, which are checked when they are made."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

from msgspec import Struct

from asyncjobs.config import Checked
from asyncjobs.exceptions import ConfigurationError

MEBIBYTE = 1 << 20

Right = Literal["read", "act", "answer"]


class Principal(Struct, frozen=True):
    """A caller and its rights: ``read``; ``act`` (submit, cancel, retry, answer); or, without ``act``, ``answer``.

    ``name`` is recorded with the answers to gates: 1 to 200 characters.
    """

    name: str
    can: frozenset[Right] = frozenset({"read", "act"})

    def may(self, right: Right) -> bool:
        """Return whether it has a right, directly or as a part of ``act``."""
        return right in self.can or (right == "answer" and "act" in self.can)


READER = frozenset[Right]({"read"})
"""For ``Principal.can``: may read, and change nothing."""

Authenticate = Callable[[Mapping[str, Any]], "Principal | Awaitable[Principal | None] | None"]
"""Takes the ASGI scope; returns None for an unknown caller."""

Redact = Callable[[str, Any], Any]
"""Takes the kind of a value (``"arguments"``, ``"result"``, ``"log"``, ``"event"``, ``"metadata"``, ``"error"``,
``"step"``, ``"gate"``) and the value: that of a step in a dict under its key, of a gate its question, choices and
schema. Returns what callers may see of it."""

_MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
_SECRET = re.compile(r"token|secret|passw|api_?key|authorization|cookie|credential", re.IGNORECASE)
_COUNTS = re.compile(r"_tokens$|^token_usage$")


def allow_anyone(scope: Mapping[str, Any]) -> Principal:
    """Allow every caller everything, for ``auth=``: the host application controls access."""
    return Principal("anyone")


def redact_secrets(what: str, value: Any) -> Any:
    """Hide values under keys that look secret (token, password, api_key, …): the default of ``redact=``.

    How many tokens a language model took is no secret: numbers under ``total_tokens`` and the like are shown.
    """
    if isinstance(value, dict):
        fields = cast("dict[Any, Any]", value)
        return {
            key: "•••" if isinstance(key, str) and _is_secret(key, inner) else redact_secrets(what, inner)
            for key, inner in fields.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact_secrets(what, inner) for inner in cast("Sequence[Any]", value)]
    return value


def _is_secret(key: str, value: Any) -> bool:
    if _SECRET.search(key) is None:
        return False
    if not _COUNTS.search(key):
        return True
    numbers = cast("dict[Any, Any]", value).values() if isinstance(value, dict) else [value]
    return not all(isinstance(number, (int, float)) for number in numbers)


class WebSettings(TypedDict, total=False):
    """The keywords of ``asgi_app``: the fields of ``WebConfig``."""

    auth: str | Mapping[str, Principal] | Authenticate | None
    allowed_hosts: tuple[str, ...]
    allow_origins: tuple[str, ...]
    submit: bool
    redact: Redact | None
    max_streams: int
    max_body: int
    max_depth: int
    max_headers: int
    ping: float
    max_stream_age: float
    send_timeout: float
    watch_shutdown: bool
    secret: str | None
    session_lifetime: float


@dataclass(frozen=True, kw_only=True)
class WebConfig(Checked):
    """Settings of ``jp.asgi_app(…)``.

    :param auth: which callers have access. None (default): only this machine, under a name of this machine. A
        string: callers with this token. A dict of tokens to ``Principal``: likewise, with their rights. A callable
        (plain or async) that takes the ASGI scope and returns a ``Principal`` or None.
        ``asyncjobs.web.allow_anyone``: every caller.
    :param allowed_hosts: further host names under which it answers when ``auth`` is None.
    :param allow_origins: origins of other sites whose pages may use it, such as ``https://example.org``.
    :param submit: whether ``POST v1/jobs`` may submit registered functions, and gates. Default False.
    :param redact: returns what callers may see of arguments, results, logs, metadata, errors and questions. Default:
        values under keys that look secret are hidden. None: everything is shown.
    :param max_streams: event streams that are open at the same time; further ones are asked to reconnect later.
        Default 500.
    :param max_body: bytes of a request's body. Default 1 MiB.
    :param max_depth: nesting of a request's JSON. Default 32.
    :param max_headers: bytes of all headers of a request together. Default 16 KiB.
    :param ping: seconds without an event after which a stream sends a ping. Default 15.
    :param max_stream_age: seconds after which a stream ends and the client reconnects. Default 900.
    :param send_timeout: seconds without reading after which the stream of a client is closed. Default 300.
    :param watch_shutdown: end streams when the server (uvicorn) shuts down; it would wait for them. Default True.
    :param secret: signs cookies and tickets, so that several server processes accept each other's. Default: made from
        the tokens of ``auth``; without tokens, drawn anew by each process.
    :param session_lifetime: seconds that the cookie of ``POST v1/session`` is valid. Default 12 hours.
    """

    auth: str | Mapping[str, Principal] | Authenticate | None = None
    allowed_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    submit: bool = False
    redact: Redact | None = redact_secrets
    max_streams: int = 500
    max_body: int = MEBIBYTE
    max_depth: int = 32
    max_headers: int = 16_384
    ping: float = 15.0
    max_stream_age: float = 900.0
    send_timeout: float = 300.0
    watch_shutdown: bool = True
    secret: str | None = None
    session_lifetime: float = 43_200.0

    def __post_init__(self) -> None:
        self._number("max_streams", 1, 100_000, whole=True)
        self._number("max_body", 1024, 1 << 30, whole=True)
        self._number("max_depth", 1, 200, whole=True)
        self._number("max_headers", 1024, MEBIBYTE, whole=True)
        self._number("ping", 0, 3600, above=True)
        self._number("max_stream_age", 0, 7 * 86_400, above=True)
        self._number("send_timeout", 0, 86_400, above=True)
        self._number("session_lifetime", 1, 366 * 86_400)
        for name in ("allowed_hosts", "allow_origins"):
            value: Any = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(entry, str) and entry for entry in value):
                raise ConfigurationError(f"WebConfig.{name}", value, allowed="a tuple of strings")
            object.__setattr__(self, name, tuple(entry.lower() for entry in value))
        for origin in self.allow_origins:
            if not re.fullmatch(r"https?://[^/*\s]+", origin):
                raise ConfigurationError(
                    "WebConfig.allow_origins", origin, allowed="origins such as 'https://example.org', each by name"
                )
        for host in self.allowed_hosts:
            if not re.fullmatch(r"[\w.-]*\w", host, re.ASCII):
                raise ConfigurationError(
                    "WebConfig.allowed_hosts", host, allowed="names such as 'jobs.example.org', without a port"
                )
        if self.secret is not None and (not isinstance(self.secret, str) or len(self.secret) < 16):
            raise ConfigurationError(
                "WebConfig.secret", "…", problem="WebConfig.secret: 16 or more characters", hint=_MAKE_ONE
            )
        self._check_auth(self.auth)

    def _check_auth(self, auth: Any) -> None:
        tokens: Any = {auth: Principal("token")} if isinstance(auth, str) else auth
        if isinstance(tokens, Mapping):
            for token, principal in cast("Mapping[Any, Any]", tokens).items():
                if not isinstance(token, str) or not isinstance(principal, Principal):
                    raise ConfigurationError("WebConfig.auth", "…", allowed="a dict of tokens to Principal(…)")
                if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
                    raise ConfigurationError(
                        "WebConfig.auth",
                        "…",
                        problem="WebConfig.auth: a token is 16 or more printable ASCII characters without spaces",
                        hint=_MAKE_ONE,
                    )
        elif tokens is not None and not callable(tokens):
            raise ConfigurationError(
                "WebConfig.auth", auth, allowed="None, a token, a dict of tokens to Principal, or a callable"
            )
