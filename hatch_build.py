"""Write the metadata that depends on where the project is found: its addresses, and the links of its README.

Without a home (``asyncjobs/addresses.py``) there are no addresses, and the README stays as it is.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_RELATIVE = r"(?![#/]|[a-z]+:)"
_IN_MARKDOWN = re.compile(rf"(!?)(\[(?:[^\[\]]|!\[[^\[\]]*\]\([^()]*\))*\])\({_RELATIVE}([^()\s]+)\)")
_IN_HTML = re.compile(rf'\b(src|srcset|href)="{_RELATIVE}([^"\s]+)"')


class Addressed(MetadataHookInterface):
    """What hatchling asks for the dynamic fields of ``[project]``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README and the addresses."""
        root = Path(self.root)
        addresses = runpy.run_path(str(root / "asyncjobs" / "addresses.py"))["ADDRESSES"]
        text = (root / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, addresses)}
        metadata["urls"] = {
            "Homepage": addresses.home,
            "Documentation": addresses.docs or addresses.link("docs/index.md"),
            "Source": addresses.home,
            "Changelog": addresses.link("CHANGELOG.md"),
        } if addresses.home else {}  # fmt: skip


def absolute(text: str, addresses: Any) -> str:
    """Return a page of the root folder as it works elsewhere: each link to a file has the address of that file."""

    def in_markdown(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        address = addresses.picture(target) if picture else addresses.link(target)
        return f"{picture}{links(words)}({address})"

    def in_html(found: re.Match[str]) -> str:
        attribute, target = found.groups()
        address = addresses.link(target) if attribute == "href" else addresses.picture(target)
        return f'{attribute}="{address}"'

    def links(part: str) -> str:
        return _IN_HTML.sub(in_html, _IN_MARKDOWN.sub(in_markdown, part))

    if not addresses.home:
        return text
    return "".join(part if part.startswith("```") else links(part) for part in _FENCED.split(text))
