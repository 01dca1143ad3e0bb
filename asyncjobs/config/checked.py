"""Refuse what no setting can be, where the settings are made."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Self

from asyncjobs.checks import is_a, refuse_unknown
from asyncjobs.exceptions import ConfigurationError

MEBIBYTE = 1 << 20


class Checked:
    """Refuses unknown settings, naming the nearest known one, before ``__init__`` could raise a bare TypeError."""

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """Check the names of the settings."""
        known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type] - every subclass is a dataclass
        refuse_unknown(cls.__name__, settings, known)
        if args:
            raise ConfigurationError(
                cls.__name__,
                args[0],
                problem=f"{cls.__name__} takes its settings by name",
                hint=f"{cls.__name__}({next(iter(cls.__annotations__), known[0])}={args[0]!r})",
            )
        return super().__new__(cls)

    def _number(
        self, name: str, low: float, high: float = math.inf, *, whole: bool = False, above: bool = False
    ) -> None:
        value = getattr(self, name)
        kind = "a whole number" if whole else "a number"
        allowed = f"{kind} {'above' if above else 'from'} {low:g}" + ("" if high == math.inf else f" to {high:g}")
        numeric = issubclass(type(value), int if whole else (int, float)) and not is_a(value, bool)
        if not numeric or not low <= value <= high or (above and value == low) or value == math.inf:
            raise ConfigurationError(f"{type(self).__name__}.{name}", value, allowed=allowed)
