"""Pictures of pages: where ``name-dark.png`` stands beside ``name.png``, readers of the dark scheme see that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class DarkPictures(SphinxTransform):
    """Puts the dark picture behind the light one. The theme shows one of the two."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Look at each picture of a page."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for picture in list(self.document.findall(nodes.image)):
            dark = picture["uri"].removesuffix(".png") + "-dark.png"
            if picture["uri"].endswith(".png") and (folder / dark).exists():
                other = picture.deepcopy()
                other["uri"] = dark
                picture["classes"].append("only-light")
                other["classes"].append("only-dark")
                picture.parent.insert(picture.parent.index(picture) + 1, other)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of it."""
    app.add_transform(DarkPictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
