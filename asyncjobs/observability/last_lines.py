"""Keep the last lines of a log in a small file that outlives the process, also one that is killed.

The file has a slot for each line, and a line is one write into the oldest slot. So it costs the same whether the log
is long or short, needs no rotation, and is complete after SIGKILL.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path

KEPT = 20
_SLOT = 2048
_NUMBER = re.compile(rb"([0-9]{16}) (.*)\n", re.DOTALL)


class LastLines(logging.Handler):
    """Keeps the last ``KEPT`` lines at ``path``, which is made anew, with mode 0600.

    :raises OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Never what a link leads to, and never what another process still writes to: it keeps the file it has.
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the lines of one record. A full disk loses them."""
        try:
            lines = self.format(record).splitlines()[-KEPT:]
        except Exception:  # border: the record is the program's own code
            return
        for line in lines:
            self._count += 1
            text = line.encode("utf-8", "backslashreplace")[: _SLOT - 18]
            slot = b"%016d %s\n" % (self._count, text)
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, slot.ljust(_SLOT, b"\0"), self._count % KEPT * _SLOT)

    def close(self) -> None:
        """Close the file; it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


def read_last_lines(path: Path, count: int = KEPT) -> list[str]:
    """Read the lines that were kept at ``path``, the oldest first; none if the file does not exist."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    found: dict[int, str] = {}
    for start in range(0, len(data), _SLOT):
        match = _NUMBER.fullmatch(data[start : start + _SLOT].rstrip(b"\0"))
        if match is not None:
            found[int(match[1])] = match[2].decode("utf-8", "replace")
    return [found[number] for number in sorted(found)][-count:]
