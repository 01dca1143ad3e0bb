"""Decide which requests are allowed. Closed by default: without ``auth``, only requests from this machine are.

There are three threats and three checks: a page of another site that reaches a loopback server by DNS rebinding
(``Host``); a page of another site that sends a request with the user's cookie (``X-Asyncjobs``, ``Origin``,
``Sec-Fetch-Site``); unknown callers (``auth``). An ``EventSource`` cannot send headers: it has a cookie, or a ticket in
its URL.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import ipaddress
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Literal, cast

from msgspec import DecodeError, Struct, ValidationError, json
from starlette.requests import HTTPConnection

from asyncjobs.web.problems import WebError
from asyncjobs.web.settings import Principal, Right, WebConfig

COOKIE = "asyncjobs_session"
HEADER = "x-asyncjobs"
TICKET_LIFETIME = 60.0
"""Seconds within which a ticket must be used."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?P<name>[\w.-]+|\[[\da-fA-F:.]+\])(:\d*)?", re.ASCII)
_FORWARDED_FOR = ("x-forwarded-for", "x-real-ip")


class _Pass(Struct, frozen=True):
    """The contents of a cookie or a ticket. Its holder can read it, but not change it.

    ``token`` is the name of the token that it was issued for, if any; neither the token nor the key can be derived
    from it.
    """

    kind: Literal["session", "ticket"]
    name: str
    can: list[Right]
    until: float
    nonce: str
    token: str | None = None


class Caller(Struct, frozen=True):
    """A principal, and how it was authenticated. ``token`` names the token behind it, if there is one."""

    principal: Principal
    how: Literal["open", "header", "cookie", "ticket"]
    token: str | None = None

    def require(self, right: Right) -> None:
        """Check that the caller has a right.

        :raises WebError: 403, it has not.
        """
        if not self.principal.may(right):
            raise WebError(
                403,
                "forbidden",
                f"{self.principal.name!r} may not {right}",
                hint=f"auth= must return a Principal with {right!r} in can=",
            )


class Guard:
    """Checks requests by the settings of one app."""

    def __init__(self, config: WebConfig) -> None:
        self._config = config
        auth = config.auth
        tokens: Mapping[str, Principal] = {}
        if isinstance(auth, str):
            tokens = {auth: Principal("token")}
        elif auth is not None and not callable(auth):
            tokens = auth
        self._key = _key(config.secret, tokens)
        self._tokens = {self._name(token): principal for token, principal in tokens.items()}
        self._used: dict[str, float] = {}  # nonces of used tickets, until the tickets expire
        self.nobody: Caller = Caller(Principal("nobody", frozenset()), "open")

    # -- host

    def check_host(self, connection: HTTPConnection) -> None:
        """Check that the request is from this machine and under a name of it, unless ``auth`` is set.

        Under another name, it may come from a page of another site, by DNS rebinding.
        """
        if self._config.auth is not None:
            return
        hosts = connection.headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        if not self._is_own(name):
            raise WebError(
                403,
                "host-not-allowed",
                f"the host name {name!r} is not allowed" if name else "the Host header is missing or invalid",
                hint="add it to asgi_app(allowed_hosts=[…]), or set auth=",
            )
        if not self._is_near(connection):
            raise WebError(
                403,
                "local-only",
                "without auth=, only this machine has access",
                hint="asgi_app(auth=secrets.token_urlsafe()), or asgi_app(auth=asyncjobs.web.allow_anyone) if the "
                "host application controls access",
            )

    def _is_own(self, name: str) -> bool:
        return _is_local_name(name) or name in self._config.allowed_hosts

    def _is_near(self, connection: HTTPConnection) -> bool:
        """Return whether a request comes from this machine. Headers of a proxy can only exclude it."""
        if not _is_loopback(connection.client.host if connection.client else ""):
            return False
        headers = connection.headers
        forwarded = [
            entry.strip() for name in _FORWARDED_FOR for line in headers.getlist(name) for entry in line.split(",")
        ]
        names = [entry.strip() for line in headers.getlist("x-forwarded-host") for entry in line.split(",")]
        return (
            all(map(_is_loopback, forwarded))
            and all(self._is_own(_host_name(name)) for name in names)
            and "forwarded" not in headers
        )

    def check_change(self, connection: HTTPConnection, caller: Caller) -> None:
        """Check that a request that changes state does not come from a page of another site.

        :raises WebError: 403, it does, or may.
        """
        method: str = connection.scope["method"]
        if method in _SAFE:
            return
        headers = connection.headers
        origin = headers.get("origin")
        listed = origin is not None and origin in self._config.allow_origins
        own = origin is not None and origin.partition("://")[2] == headers.get("host")
        site = headers.get("sec-fetch-site")
        if (origin is not None and not own and not listed) or (
            site is not None and site not in ("same-origin", "none") and not listed
        ):
            raise WebError(
                403,
                "cross-site",
                "cross-site request refused",
                hint="behind a proxy: pass on the Host of the browser (nginx: proxy_set_header Host $http_host); "
                "for a page of another site: add its origin to asgi_app(allow_origins=[…])",
            )
        if caller.how != "header" and HEADER not in headers:
            raise WebError(403, "header-missing", "a request that changes state needs the header X-Asyncjobs: 1")

    # -- authentication

    async def caller(self, connection: HTTPConnection, *, ticket_for: str | None) -> Caller:
        """Return the caller of a request. ``ticket_for``: the path of a stream, which accepts ``?ticket=``.

        :raises WebError: 401, the caller is not known.
        """
        auth = self._config.auth
        if auth is None:
            return Caller(Principal("local"), "open")
        if ticket_for is not None and (ticket := connection.query_params.get("ticket")) is not None:
            return self._by_ticket(ticket)
        if callable(auth):
            found = auth(connection.scope)
            principal = await found if inspect.isawaitable(found) else found
            if principal is None:
                raise _unknown()
            if not isinstance(cast("object", principal), Principal):
                raise TypeError(f"auth= returned {principal!r}, not a Principal or None")
            # How it was authenticated is unknown: treat it as a cookie.
            return Caller(principal, "cookie")
        return self._by_token(connection)

    def _by_token(self, connection: HTTPConnection) -> Caller:
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            wanted = self._name(given.strip())
            for name, principal in self._tokens.items():
                if hmac.compare_digest(name, wanted):
                    return Caller(principal, "header", name)
            raise _unknown("unknown token")
        cookie = connection.cookies.get(COOKIE)
        shown = self._open(cookie, "session") if cookie else None
        if shown is None or shown.token not in self._tokens:
            raise _unknown()
        return Caller(self._tokens[shown.token], "cookie", shown.token)

    def _by_ticket(self, ticket: str) -> Caller:
        shown = self._open(ticket, "ticket")
        if shown is None or shown.nonce in self._used or (shown.token is not None and shown.token not in self._tokens):
            raise _unknown("the ticket is used, expired or invalid")
        now = time.time()
        self._used = {nonce: until for nonce, until in self._used.items() if until > now}
        self._used[shown.nonce] = shown.until
        return Caller(Principal(shown.name, frozenset(shown.can)), "ticket", shown.token)

    # -- cookies and tickets

    def session(self, caller: Caller) -> str:
        """Return the value of a session cookie for a caller with a token.

        :raises WebError: 409, the caller has no token.
        """
        if caller.token is None:
            raise WebError(
                409,
                "no-sessions",
                "sessions need an authentication by token",
                hint="asgi_app(auth=secrets.token_urlsafe())",
            )
        return self._issue("session", caller, self._config.session_lifetime)

    def ticket(self, caller: Caller) -> str:
        """Return a ticket for one stream, which may only read."""
        return self._issue("ticket", caller, TICKET_LIFETIME)

    def _issue(self, kind: Literal["session", "ticket"], caller: Caller, lifetime: float) -> str:
        can: list[Right] = ["read"] if kind == "ticket" else sorted(caller.principal.can)
        shown = _Pass(kind, caller.principal.name, can, time.time() + lifetime, secrets.token_urlsafe(12), caller.token)
        body = urlsafe_b64encode(json.encode(shown)).decode().rstrip("=")
        return f"{body}.{self._sign(body)}"

    def _open(self, value: str, kind: str) -> _Pass | None:
        body, _, signature = value.partition(".")
        if not value.isascii() or not hmac.compare_digest(self._sign(body), signature):
            return None
        try:
            shown = json.decode(urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=_Pass)
        except (DecodeError, ValidationError, ValueError):
            return None
        return shown if shown.kind == kind and shown.until > time.time() else None

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()

    def _name(self, token: str) -> str:
        return self._sign(f"token {token}")  # with a space, which no signed body contains

    # -- CORS

    def cors(self, connection: HTTPConnection) -> dict[str, str]:
        """Return the headers for a page of a listed origin."""
        if not self._config.allow_origins:
            return {}
        origin = connection.headers.get("origin")
        if origin not in self._config.allow_origins:
            return {"vary": "Origin"}
        return {
            "vary": "Origin",
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": "ETag, Link, Location, Retry-After, X-Request-Id",
        }

    def preflight(self, connection: HTTPConnection) -> dict[str, str] | None:
        """Return the headers of the response to a CORS preflight request, or None if it is not one."""
        headers = self.cors(connection)
        if "access-control-request-method" not in connection.headers or len(headers) < 2:
            return None
        return headers | {
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
            "Last-Event-ID, X-Asyncjobs, X-Request-Id",
            "access-control-max-age": "600",
        }


def _unknown(detail: str = "authentication required") -> WebError:
    return WebError(
        401,
        "unauthorized",
        detail,
        hint="send 'Authorization: Bearer …'; for an EventSource, get a cookie (POST v1/session) or a ticket",
        headers={"www-authenticate": 'Bearer realm="asyncjobs"'},
    )


def _key(secret: str | None, tokens: Mapping[str, Principal]) -> bytes:
    made_from = [secret] if secret is not None else sorted(tokens)
    if made_from:
        return hashlib.sha256("\n".join(["asyncjobs", *made_from]).encode()).digest()
    return secrets.token_bytes(32)


def _host_name(header: str) -> str:
    """Return the name in a Host header, without its port, or "" if the header is invalid."""
    match = _HOST.fullmatch(header)
    return "" if match is None else match["name"].strip("[]").removesuffix(".").lower()


def _is_local_name(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True  # an IP literal cannot be the result of DNS rebinding


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def headers_size(scope: Mapping[str, Any]) -> int:
    """Return the size of all headers in bytes."""
    return sum(len(name) + len(value) for name, value in scope["headers"])


def target_size(scope: Mapping[str, Any]) -> int:
    """Return the size of path and query in bytes."""
    return len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
