"""Reading untrusted JSON: every mistake is noted with its path, and reading goes on, so that all are told at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from examples.comic.names import NAMED, is_name

LONGEST = 10_000
HIGHEST_ID = 2**31 - 1


class ScreenplayError(ValueError):
    """A screenplay that cannot be filmed: ``mistakes`` are all of them, as (path, what is wrong)."""

    def __init__(self, mistakes: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{path}: {what}" for path, what in mistakes))
        self.mistakes = mistakes


class Reader:
    """Reads the fields of one JSON object, and notes what is wrong with them under their path."""

    def __init__(self, value: Any, path: str, mistakes: list[tuple[str, str]]) -> None:
        self.path, self.mistakes = path, mistakes
        self.fields: dict[str, Any] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.note("", f"an object is needed, not {_shown(value)}")

    def note(self, field: str, what: str) -> None:
        """Note a mistake of a field, or of the object itself."""
        self.mistakes.append((f"{self.path}.{field}" if field else self.path, what))

    def text(self, field: str, default: str | None = None) -> str:
        """Return a text; null or a missing one is the default, where there is one."""
        value = self.fields.get(field)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (default is None and not value.strip()):
            self.note(field, f"a text is needed, not {_shown(value)}")
            return ""
        if len(value) > LONGEST:
            self.note(field, f"a text of {len(value)} characters is too long: {LONGEST} are the most")
        if not _is_unicode(value):
            self.note(field, "this text has half of a surrogate pair, which nothing can store")
            return ""
        return value.strip()

    def name(self, field: str) -> str:
        """Return an id that may be part of a file name."""
        value = self.fields.get(field)
        if is_name(value):
            return str(value)
        self.note(field, f"{NAMED} are needed, not {_shown(value)}")
        return ""

    def number(self, field: str, lowest: float, highest: float, default: float | None = None) -> float:
        """Return a number within bounds."""
        value = self.fields.get(field)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_within(value, lowest, highest):
            self.note(field, f"a number from {lowest:g} to {highest:g} is needed, not {_shown(value)}")
            return lowest
        return float(value)

    def flag(self, field: str, default: bool) -> bool:
        """Return true or false."""
        value = self.fields.get(field)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.note(field, f"true or false is needed, not {_shown(value)}")
        return default

    def whole(self, field: str) -> int | None:
        """Return a number that counts or names, 0 and more, or None if it is missing."""
        value = self.fields.get(field)
        return None if value is None else self._checked_whole(value, field)

    def wholes(self, field: str) -> list[tuple[str, int]]:
        """Return a list of such numbers, each with the name of its place."""
        value = self.fields.get(field)
        if value is None:
            return []
        if not isinstance(value, list):
            self.note(field, f"a list is needed, not {_shown(value)}")
            return []
        read = [(f"{field}[{i}]", self._checked_whole(item, f"{field}[{i}]")) for i, item in enumerate(value)]
        return [(place, number) for place, number in read if number is not None]

    def _checked_whole(self, value: Any, field: str) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST_ID:
            self.note(field, f"a whole number from 0 on is needed, not {_shown(value)}")
            return None
        return value

    def inner(self, field: str) -> Reader:
        """Return the reader of an object inside; a missing one is empty."""
        value = self.fields.get(field)
        return Reader({} if value is None else value, f"{self.path}.{field}", self.mistakes)

    def each(self, field: str, most: int) -> Iterator[Reader]:
        """Return the readers of a list of objects."""
        value = self.fields.get(field)
        if not isinstance(value, list):
            self.note(field, f"a list is needed, not {_shown(value)}")
            return
        if len(value) > most:
            self.note(field, f"{len(value)} are too many: {most} are the most")
            return
        for i, item in enumerate(value):
            yield Reader(item, f"{self.path}.{field}[{i}]", self.mistakes)


def _is_within(value: float, lowest: float, highest: float) -> bool:
    return (
        math.isfinite(value) and lowest <= value <= highest if isinstance(value, float) else lowest <= value <= highest
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
