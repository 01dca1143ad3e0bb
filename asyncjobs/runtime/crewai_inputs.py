"""Check the inputs of a run before it is stored: CrewAI refuses them when it is started, which may be much later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from asyncjobs.checks import is_a
from asyncjobs.exceptions import NotSerializableError
from asyncjobs.models import Handle

_TAKEN = (str, int, float, bool, type(None))
_DEEPEST = 100
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)\}")


def check_inputs(inputs: object) -> None:
    """Make sure that CrewAI will take these inputs.

    :param inputs: a dict by name, or None; handles stand for values that come later.
    :raises NotSerializableError: it will not; the path begins with ``$.inputs``.
    """
    if inputs is None or is_a(inputs, Handle):
        return
    if not is_a(inputs, dict):
        raise NotSerializableError("$.inputs", type(inputs).__name__, hint='give a dict by name: {"topic": "noir"}')
    _check(cast("object", inputs), "$.inputs", 0)


def _check(value: object, path: str, depth: int) -> None:
    if is_a(value, Handle) or isinstance(value, _TAKEN):
        _check_text(value, path)
        return
    if depth > _DEEPEST:
        raise NotSerializableError(path, "nested too deeply")
    if isinstance(value, dict):
        for name, item in cast("dict[Any, Any]", value).items():
            if not isinstance(name, str):
                raise NotSerializableError(
                    path, f"a key of type {type(name).__name__}", hint="keys of inputs are strings"
                )
            _check(item, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            _check(item, f"{path}[{index}]", depth + 1)
    else:
        raise NotSerializableError(
            path,
            type(value).__name__,
            hint="CrewAI takes texts, numbers, True, False, None, and lists and dicts of these",
        )


def _check_text(value: object, path: str) -> None:
    try:
        _ = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError as error:
        what = f"a string with a lone surrogate at index {error.start}"
        raise NotSerializableError(path, what, hint="text.encode('utf-8', 'replace').decode() cleans it") from None


def find_unfilled(texts: Iterable[str | None], inputs: Mapping[str, Any]) -> list[str]:
    """Return the placeholders in these texts for which there is no input: the model would read ``{topic}``."""
    found = {name for text in texts for name in _PLACEHOLDER.findall(text or "")}
    return sorted(found - inputs.keys())
