"""Parse server-sent events by the rules of the HTML standard: bytes in, blocks out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Block(Struct):
    """The lines between two empty lines. A ping is a block without fields."""

    id: str | None = None
    event: str = "message"
    data: str | None = None
    retry: float | None = None
    """Seconds."""


class BlockParser:
    """Parses bytes in chunks of any size. An incomplete block is not returned: the server sends it again."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._lines: list[bytes] = []
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[Block]:
        """Yield the blocks that ``chunk`` completes."""
        # Search only the new bytes: a long line in many chunks is not searched again with each chunk.
        begin = max(0, len(self._rest) - 1)
        self._rest += chunk
        done = 0
        while (end := _LINE_END.search(self._rest, begin)) is not None:
            if end.group() == b"\r" and end.end() == len(self._rest):
                break  # the \n after this \r may be in the next chunk
            line = bytes(self._rest[done : end.start()])
            done = begin = end.end()
            if not self._begun:
                self._begun = True
                line = line.removeprefix(_BOM)
            if line:
                self._lines.append(line)
            elif self._lines:
                yield _block(self._lines)
                self._lines = []
        del self._rest[:done]


def _block(lines: list[bytes]) -> Block:
    block = Block()
    data: list[str] = []
    for line in lines:
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            block.event = value or "message"
        elif name == "id" and "\0" not in value:
            block.id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            block.retry = int(value) / 1000
    if data:
        block.data = "\n".join(data)
    return block
