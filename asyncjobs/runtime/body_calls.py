"""Name what the parts of ``current_job()`` need of the whole: submit a child, and call async functions from threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BodyCalls(ABC):
    """The calls of a body."""

    @abstractmethod
    def run_sync(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call an async function from the body's thread."""

    @abstractmethod
    def refuse_on_loop(self, call: str, twin: str) -> None:
        """Refuse a call that would block its thread forever."""

    @abstractmethod
    async def _call_submit(
        self, func: Callable[..., Any] | None, args: tuple[Any, ...], key: str | None, options: dict[str, Any]
    ) -> Any:
        """Submit a child; without a function, a gate whose question is the argument."""
