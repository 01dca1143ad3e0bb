"""Name where the project is found: the one place that the command line, the build and the documentation read.

This module imports nothing of the package: a build runs it alone, before anything is installed.
"""

from __future__ import annotations

from typing import NamedTuple


class Addresses(NamedTuple):
    """The addresses of the project. Without a home, there are none, and nothing prints a link.

    ``home`` is its repository, such as ``https://host/owner/asyncjobs``. ``docs`` is the site of ``make docs``;
    it is empty if the pages are only read in the repository.
    """

    home: str = ""
    docs: str = ""

    def link(self, path: str) -> str | None:
        """Return the address of a file or folder of the repository, perhaps with ``#…``; None without a home."""
        if not self.home:
            return None
        file, mark, anchor = path.partition("#")
        if self.docs and file.startswith("docs/") and file.endswith(".md"):
            return f"{self.docs}/{file.removeprefix('docs/').removesuffix('.md')}.html{mark}{anchor}"
        return f"{self.home}/blob/main/{path}"

    def picture(self, path: str) -> str | None:
        """Return the address of the bytes of a file of the repository; None without a home."""
        return f"{self.home}/raw/main/{path}" if self.home else None


ADDRESSES = Addresses(home="", docs="")
"""Where the project is. Without a slash at their ends."""
