"""Turn rows of an old file into rows of the tracker's tables, or say why one cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from msgspec import Struct

from asyncjobs.compat.job import JobStatus, JobType
from asyncjobs.compat.rows import JOB_COLUMNS
from asyncjobs.compat.state import FLAGS

_TYPES = frozenset(member.value for member in JobType)
_STATUSES = frozenset(member.value for member in JobStatus)
_DEFAULTS = {"retry_count": 0, "max_retries": 3}
"""For columns that older files do not have."""


class Unusable(Struct, frozen=True):
    """A row of an old file that cannot be taken over, and why. ``id`` is None for the state of a movie."""

    movie_id: str
    id: str | None
    reason: str

    def __str__(self) -> str:
        what = f"state of {self.movie_id!r}" if self.id is None else f"job {self.id!r} of {self.movie_id!r}"
        return f"{what}: {self.reason}"


class _Problem(Exception):  # noqa: N818 - the reason of an ``Unusable``, on its way to there
    pass


class OldJob(Struct, frozen=True):
    """A job of an old file; ``row`` has the columns of ``JOB_COLUMNS``."""

    movie_id: str
    id: str
    updated_at: str
    row: tuple[Any, ...]

    @property
    def status(self) -> str:
        """Return the status, which is a known one."""
        return self.row[JOB_COLUMNS.index("status")]


class OldState(Struct, frozen=True):
    """A state of an old file; ``row`` has the columns of ``STATE_COLUMNS``."""

    movie_id: str
    created_at: str
    updated_at: str
    row: tuple[Any, ...]


def convert_job(stored: Mapping[str, Any]) -> OldJob | Unusable:
    """Convert a row of the table ``jobs``."""
    try:
        values = {name: _JOB[name](name, stored.get(name)) for name in ("movie_id", *JOB_COLUMNS)}
    except _Problem as problem:
        return Unusable(_shown(stored.get("movie_id")), _shown(stored.get("id")), str(problem))
    row = tuple(values[name] for name in JOB_COLUMNS)
    return OldJob(values["movie_id"], values["id"], values["updated_at"], row)


def convert_state(stored: Mapping[str, Any]) -> OldState | Unusable:
    """Convert a row of the table ``pipeline_states``."""
    try:
        movie_id = _text("movie_id", stored.get("movie_id"))
        flags = [int(bool(_number(name, stored.get(name), 0))) for name in FLAGS]
        kept = _optional("screenplay_hash", stored.get("screenplay_hash"))
        data = _json("screenplay_data", stored.get("screenplay_data"), None)
        created, updated = (_moment(name, stored.get(name)) for name in ("created_at", "updated_at"))
    except _Problem as problem:
        return Unusable(_shown(stored.get("movie_id")), None, str(problem))
    return OldState(movie_id, created, updated, (*flags, kept, data))


def _text(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise _Problem(f"{name} is not UTF-8") from None
    if value is None:
        raise _Problem(f"{name} is missing")
    return str(value)  # a number: SQLite keeps any kind of value in any column


def _optional(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _number(name: str, value: Any, default: int | None) -> int | None:
    if value is None:
        return default
    try:
        number = int(_text(name, value))
    except ValueError:
        raise _Problem(f"{name} is no whole number: {_shown(value)!r}") from None
    if not -(1 << 63) <= number < 1 << 63:
        raise _Problem(f"{name} is larger than 64 bits")
    return number


def _one_of(allowed: frozenset[str]) -> Callable[[str, Any], str]:
    def convert(name: str, value: Any) -> str:
        found = _text(name, value)
        if found not in allowed:
            raise _Problem(f"{name} {_shown(value)!r} is not known")
        return found

    return convert


def _moment(name: str, value: Any) -> str:
    found = _text(name, value)
    try:
        return datetime.fromisoformat(found).isoformat()
    except ValueError:
        raise _Problem(f"{name} is no moment: {_shown(value)!r}") from None


def _json(name: str, value: Any, default: str | None) -> str | None:
    """Return the JSON of an object as it is stored, after a look at it."""
    found = _optional(name, value)
    if not found:
        return default
    try:
        read: object = json.loads(found)
    except (ValueError, RecursionError) as error:
        raise _Problem(f"{name} is broken JSON: {error}") from None
    if not isinstance(read, dict):
        raise _Problem(f"{name} is no JSON object")
    return found


def _shown(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:50]}…"


_JOB: dict[str, Callable[[str, Any], Any]] = {
    "movie_id": _text,
    "id": _text,
    "type": _one_of(_TYPES),
    "status": _one_of(_STATUSES),
    "scene_id": _optional,
    "character_id": lambda name, value: _number(name, value, None),
    "error": _optional,
    "retry_count": lambda name, value: _number(name, value, _DEFAULTS[name]),
    "max_retries": lambda name, value: _number(name, value, _DEFAULTS[name]),
    "output_path": _optional,
    "created_at": _moment,
    "updated_at": _moment,
    "metadata": lambda name, value: cast("str", _json(name, value, "{}")),
}
