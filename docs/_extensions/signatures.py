"""Classes show the parameters of their ``__init__``: a ``__new__`` that only refuses misspelt ones takes anything."""

from __future__ import annotations

import inspect
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature


def _on_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str, None] | None:
    if what != "class" or not inspect.isclass(obj) or obj.__new__ is object.__new__ or obj.__init__ is object.__init__:
        return None
    if not inspect.isfunction(obj.__init__) or "**arguments" not in (arguments or ""):
        return None
    return stringify_signature(signature(obj.__init__, bound_method=True), unqualified_typehints=True), None


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of it."""
    app.connect("autodoc-process-signature", _on_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
