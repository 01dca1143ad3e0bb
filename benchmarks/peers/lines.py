"""Lines of JSON on the standard output that nothing else is printed among. Only the standard library."""

from __future__ import annotations

import json
import os


class LinesOut:
    """Keeps the standard output for the lines: what a library prints goes to the standard error."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.set_inheritable(self._descriptor, False)
        os.dup2(2, 1)

    def say(self, line: dict[str, object]) -> None:
        """Write one, at once."""
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")
