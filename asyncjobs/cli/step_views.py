"""Show the values that a job has kept: ``asyncjobs jobs show --steps``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from msgspec import Struct, json

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.values import KeptStep
from asyncjobs.cli.context import Context
from asyncjobs.cli.failures import Failure
from asyncjobs.cli.output import printable
from asyncjobs.core.codec import decode_value
from asyncjobs.core.json_values import json_value
from asyncjobs.exceptions import CorruptValueError
from asyncjobs.plurals import counted

_LONGEST = 300
"""Characters of a value in a line for people."""


class ShownStep(Struct, frozen=True):
    """A step for display. ``value`` is its JSON form, redacted by the setting ``redact``."""

    key: str
    size: int
    value: Any
    unreadable: str | None = None


async def read_shown_steps(context: Context, backend: JobBackend, job_id: str) -> list[ShownStep]:
    """Return every step of a job that counts, with its value, however large it is."""
    return [await _shown(context, backend, job_id, step) async for step in _steps(backend, job_id)]


async def _steps(backend: JobBackend, job_id: str) -> AsyncIterator[KeptStep]:
    after: str | None = None
    while True:
        page = await backend.read_steps(job_id, after, limit=1000)
        for step in page.steps:
            yield step
        after = page.next
        if after is None:
            return


async def _shown(context: Context, backend: JobBackend, job_id: str, step: KeptStep) -> ShownStep:
    stored = step.value
    if stored is None:
        stored = await backend.read_step(job_id, step.key) or b""
    try:
        value = json_value(decode_value(stored))
    except CorruptValueError as error:
        return ShownStep(step.key, step.size, None, f"unreadable: step ({error.args[0]})")
    return ShownStep(step.key, step.size, _redacted(context, step.key, value))


def _redacted(context: Context, key: str, value: Any) -> Any:
    """Return what may be shown of a value, which the function of the setting gets under its key.

    :raises Failure: the function of the setting raised, or returned what JSON does not have; nothing is shown then.
    """
    if context.redact is None:
        return value
    try:
        shown: Any = json_value(context.redact("step", {key: value}))
    except Exception as error:  # border: code of the program
        name = context.settings.redact
        raise Failure(f"redact: {name} failed: {type(error).__name__}: {error}") from error
    if isinstance(shown, dict) and list(cast("dict[str, Any]", shown)) == [key]:
        return cast("dict[str, Any]", shown)[key]
    return cast("Any", shown)


def step_line(step: ShownStep) -> str:
    """Return a step as a line for people: its key, and the beginning of its value."""
    if step.unreadable is not None:
        return f"{printable(step.key)}  {printable(step.unreadable)}"
    text = json.encode(step.value).decode()
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}… ({counted(step.size, 'byte')})"
    return f"{printable(step.key)}  {printable(text)}"
