"""Healthy bodies, and such as do everything that a body should not; some are something else in the next version."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

from asyncjobs import current_job

VERSION = "ASYNCJOBS_TEST_HOSTILE_VERSION"
"""``new`` in the environment: of the version that follows the one that submitted."""


async def healthy(n: int) -> int:
    current_job().progress(1, 2)
    current_job().emit("output", {"n": n})
    return n


def healthy_plain(n: int) -> int:
    current_job().log("fine", n=n)
    return n


class Odd:
    """A lazy proxy outside of its context: whatever is asked of it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("outside of the context")

    def __call__(self, n: int) -> int:
        return n


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in {"__qualname__", "__name__", "__module__"}:
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class NamelessError(Exception, metaclass=Meta):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NamelessExit(SystemExit, metaclass=Meta):
    pass


async def raises_nameless(n: int) -> None:
    raise NamelessError


def raises_nameless_plain(n: int) -> None:
    raise NamelessError


async def exits(n: int) -> None:
    raise NamelessExit(3)


async def returns_odd(n: int) -> Any:
    return {"odd": [Odd()]}


def returns_too_deep(n: int) -> Any:
    value: Any = n
    for _ in range(10_000):
        value = [value]
    return value


async def reports_oddly(n: int) -> int:
    me: Any = current_job()
    me.emit("tokens", {1: "a", 2: {3: b"c"}})
    me.emit("tokens", {"x": Odd()})
    me.emit("completed", {})
    me.emit("deep", {"v": returns_too_deep(n)})
    me.progress(Decimal("0.5"), float("nan"))
    me.log(Odd(), Odd(), field=Odd())
    return n


class Steps(list[Any]):
    """A callable that is false."""

    def __call__(self, n: int) -> int:
        return n


class Expression:
    """A callable without a truth value."""

    def __bool__(self) -> bool:
        raise ValueError("its truth value is ambiguous")

    def __call__(self, n: int) -> int:
        return n


steps = Steps()
expression = Expression()

if os.environ.get(VERSION) == "new":

    def became_generator(n: int) -> Any:
        yield n

    class became_class:
        def __init__(self) -> None: ...

    became_proxy: Any = Odd()
else:

    def became_generator(n: int) -> Any:
        return n

    def became_class(n: int) -> Any:
        return n

    def became_proxy(n: int) -> Any:
        return n


FINE = [healthy, healthy_plain, steps, expression, reports_oddly]
"""What completes."""
POISON = [raises_nameless, raises_nameless_plain, exits, returns_odd, returns_too_deep]
"""What fails, and must do no more than that."""
