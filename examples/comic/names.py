"""Ids that become part of job ids and of file names."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
NAMED = "1 to 100 letters, digits, '.', '_' or '-', and not dots alone"


def is_name(value: object) -> bool:
    """Return whether a value may be an id."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None and value.strip(".") != ""
