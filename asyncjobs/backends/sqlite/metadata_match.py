"""Compare stored metadata with the filter of a query, by a function that SQL calls.

SQLite's own functions for JSON end a text at a NUL and compare whole numbers of more than 64 bits as floats. The other
stores compare with this function, too, and it is no slower.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any

from msgspec import json

from asyncjobs.backends.matching import contains
from asyncjobs.backends.unreadable import metadata as read_metadata
from asyncjobs.metadata_filters import MetadataFilter

# As bytes: what is not UTF-8 would raise before the function is called.
_AS_BYTES = "CASE WHEN typeof({0}.metadata) = 'text' THEN CAST({0}.metadata AS BLOB) END"
_BESIDE = f"(SELECT {_AS_BYTES.format('c')} FROM calls_apart c WHERE c.n = j.n)"
CONDITION = f"metadata_matches(CASE WHEN j.call IS NULL THEN {_BESIDE} ELSE {_AS_BYTES.format('j')} END, ?)"
"""True for the job ``j`` if its metadata match the parameter, which ``encode`` makes."""


def define(connection: sqlite3.Connection) -> None:
    """Register the function on a connection."""
    connection.create_function("metadata_matches", 2, _matches, deterministic=True)


def encode(wanted: MetadataFilter) -> bytes:
    """Return a filter as the parameter of ``CONDITION``."""
    return json.encode(wanted)


def _matches(stored: bytes | None, wanted: bytes) -> bool:
    try:
        return contains(read_metadata(stored), _decoded(wanted))
    except Exception:  # border: metadata that cannot be read match nothing, and must not fail the whole query
        return False


@lru_cache(maxsize=64)
def _decoded(wanted: bytes) -> Any:
    return json.decode(wanted)
