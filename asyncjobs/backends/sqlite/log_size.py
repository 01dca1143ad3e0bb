"""Measure how much of a write-ahead log is in use.

Once all of a log is in the database and no reader needs it, the next writer restarts it at its beginning, with new
salts. Later frames are left over from earlier generations, so the size of the file is only the longest that the log has
been. The format is documented at https://sqlite.org/fileformat2.html#walformat, and never changes for an existing file.

SQLite locks the database and the -shm, never the -wal: reading it drops no lock of this process.
"""

from __future__ import annotations

import os
import struct

from msgspec import Struct

_HEADER = struct.Struct(">I4xI12s8x")  # magic, version, page size, number and salts, checksum
_MAGIC = (0x377F0682, 0x377F0683)
_SALTS = slice(4, 12)
_FRAME_HEADER = 24
_SALTS_OF_FRAME = slice(8, 16)


class LogSize(Struct, frozen=True):
    """The current length of a log: ``used`` bytes since it was last restarted.

    :param generation: changes each time the log is restarted.
    """

    generation: bytes
    used: int

    def since(self, emptied: LogSize) -> int:
        """Return the bytes written since the log was in the state ``emptied``, when all of it had been written back."""
        return self.used - emptied.used if self.generation == emptied.generation else self.used


NO_LOG = LogSize(b"", 0)


def measure_log(path: str | os.PathLike[str]) -> LogSize:
    """Return how long the log at this path is; without one, ``NO_LOG``. Reads some 20 bytes of ten of its frames.

    Other processes may write meanwhile, so the answer may be slightly out of date.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return NO_LOG
    try:
        return _measure(file)
    except OSError:
        return NO_LOG
    finally:
        os.close(file)


def _measure(file: int) -> LogSize:
    size = os.fstat(file).st_size
    header = os.pread(file, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return NO_LOG
    magic, page_size, generation = _HEADER.unpack(header)
    if magic not in _MAGIC:
        return NO_LOG
    frame = _FRAME_HEADER + page_size
    first, end = 0, (size - _HEADER.size) // frame
    # Frames are written one after the other: behind the first that has other salts, all have.
    while first < end:
        middle = (first + end) // 2
        if os.pread(file, _FRAME_HEADER, _HEADER.size + middle * frame)[_SALTS_OF_FRAME] == generation[_SALTS]:
            first = middle + 1
        else:
            end = middle
    return LogSize(generation, _HEADER.size + first * frame if first else 0)
