"""Find the path of the app in its host, and the path of a request in the app.

Hosts disagree about ``path``, ``raw_path`` and ``root_path`` of a mounted app (Starlette and FastAPI leave ``path``
whole, Litestar cuts the prefix and adds a slash). Ids may hold slashes, so what comes after the mount is taken from
``raw_path``, still percent-encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from msgspec import Struct


class Place(Struct, frozen=True):
    """The parts of a path. ``root`` is the prefix of links (no trailing slash); ``path`` the rest, encoded, without a
    trailing slash unless it is the root itself. ``bare``: the path is the mount itself, without the slash that relative
    links need."""

    root: str
    path: str
    bare: bool


def parse_place(scope: Mapping[str, Any]) -> Place:
    """Parse the path of an HTTP scope."""
    path: str = scope["path"] or "/"
    rest = _after_mount(path, scope)
    raw: str = (scope.get("raw_path") or quote(path).encode()).decode("latin-1").partition("?")[0]
    encoded, root = _encoded(raw, rest)
    declared = quote(scope.get("root_path", "").rstrip("/"))
    if declared.endswith(root):  # also what a proxy before the host cuts off
        root = declared
    trimmed = encoded.rstrip("/")
    return Place(root, trimmed or "/", bare=not trimmed and not raw.endswith("/"))


def segment(name: str) -> str:
    """Encode a name as a path segment. "." and ".." are encoded, too: proxies would resolve them."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def _after_mount(path: str, scope: Mapping[str, Any]) -> str:
    """Remove the path of the mount, if the host has left it in."""
    root: str = scope.get("root_path", "").rstrip("/")
    for prefix in (root, root.removeprefix(scope.get("app_root_path", "").rstrip("/"))):
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            return path[len(prefix) :]
    return path


def _encoded(raw: str, rest: str) -> tuple[str, str]:
    """Return the end of ``raw`` that encodes ``rest``, and what is before it."""
    whole = unquote(raw).rstrip("/")
    wanted = rest.rstrip("/")
    if not raw.startswith("/") or not whole.endswith(wanted):
        return "/" + quote(rest.removeprefix("/")), ""
    prefix = whole[: len(whole) - len(wanted)]
    segments = raw.split("/")
    cut = prefix.count("/")
    return "/".join(["", *segments[cut + 1 :]]), "/".join(segments[: cut + 1])
