"""Jobs that the tests of the HTTP interface run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from asyncjobs import current_job


async def add(a: int, b: int = 0) -> int:
    return a + b


async def echo(value: Any = None, **more: Any) -> Any:
    return {"value": value, **more} if more else value


async def fail(message: str) -> None:
    raise ConnectionError(message)


async def talk(*lines: str) -> None:
    for line in lines:
        current_job().log(line, password="hunter2")
    current_job().emit("output", {"lines": len(lines), "password": "hunter2"})


def named(function: Any) -> str:
    """The name under which it is registered."""
    return f"{function.__module__}:{function.__name__}"


class Quality(Enum):
    FINE = "fine"


@dataclass
class Moment:
    at: datetime
    name: str


def moment_of(moment: Moment) -> str:
    return type(moment.at).__name__


@dataclass
class Order:
    price: Decimal
    sizes: tuple[int, ...]
    tags: frozenset[str]
    paid: Moment | None = None


def order_of(order: Order, *orders: Order) -> list[str]:
    """The types that arrived, all the way down."""
    return [type(value).__name__ for each in (order, *orders) for value in (each, *vars(each).values())]


async def sign_in(token: str, user: str, *more: str) -> str:
    """It never runs: what is looked at are its arguments."""
    raise AssertionError(token, user, more)
