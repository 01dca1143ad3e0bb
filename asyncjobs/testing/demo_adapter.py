"""Adapt factories of objects that have a method ``run(inputs)``: the smallest adapter, for tests of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def adapt(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return a body that calls the factory, and ``run(inputs)`` of the object that it makes."""

    def body(*args: Any, inputs: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        return factory(*args, **kwargs).run({} if inputs is None else inputs)

    return body
