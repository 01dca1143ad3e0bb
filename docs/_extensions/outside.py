"""Links to files of the project that are no pages: to its home where there is one, else text without a link."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from asyncjobs.addresses import ADDRESSES, Addresses

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\[([^\[\]]+)\]\((\.\.?/[^()\s]+)\)")


def resolve(page: Path, text: str, addresses: Addresses = ADDRESSES) -> str:
    """Return the text of a page with its links out of the documentation resolved."""

    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        file = (page.parent / target.partition("#")[0]).resolve()
        if not file.exists() or file.is_relative_to(ROOT / "docs"):
            return found[0]
        address = addresses.link(str(file.relative_to(ROOT)))
        return f"[{words}]({address})" if address else words

    return _LINK.sub(link, text)


def changelog() -> str:
    """Return the changelog of the project as a page of the documentation."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    text = re.sub(r"\]\((?!\.|#|[a-z]+:)", "](./", text)
    return resolve(ROOT / "CHANGELOG.md", text).replace("](./docs/", "](")


def _on_read(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = changelog() if name == "changelog" else resolve(Path(app.env.doc2path(name)), source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of it."""
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
