"""What differs between two screenplays, by path."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

MOST = 5


def name_differences(old: Any, new: Any) -> list[str]:
    """Return the first few differences, and that there are more."""
    found = list(islice(_walk(old, new, "$"), MOST + 1))
    return found if len(found) <= MOST else [*found[:MOST], "and more"]


def _walk(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key not in new:
                yield f"{path}.{key} is gone"
            elif key not in old:
                yield f"{path}.{key} is new"
            else:
                yield from _walk(old[key], new[key], f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{path} has {len(new)} entries instead of {len(old)}"
        for i, (one, two) in enumerate(zip(old, new, strict=False)):
            yield from _walk(one, two, f"{path}[{i}]")
    elif type(old) is not type(new) or old != new:
        yield f"{path} is {_shown(new)} instead of {_shown(old)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
