"""Callables in layers: wrappers, methods and objects, and the records that they take."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Page:
    number: int


@dataclass
class Panel:
    x: int
    y: int


@dataclass
class Sheet:
    number: int


PAGE = {"number": 1}


def passing_on(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


def with_session(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func("session", *args, **kwargs)

    return wrapper


@passing_on
def draw(page: Page, size: int = 1, *, ink: str = "black") -> Page:
    return page


@with_session
def query(session: str, page: Page) -> Any:
    return [session, page]


def by_position_only(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        return func(*args)

    return wrapper


def by_name_only(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(**kwargs: Any) -> Any:
        return func(**kwargs)

    return wrapper


def loading(func: Callable[..., Any]) -> Callable[..., Any]:
    """Named parameters that are not those of the wrapped function."""

    @functools.wraps(func)
    def wrapper(number: int, *, twice: bool = False) -> Any:
        return func(Page(number * (2 if twice else 1)))

    return wrapper


@by_position_only
def positional(a: int, b: int) -> Any:
    return [a, b]


@by_name_only
def named(a: int, b: int = 0) -> Any:
    return [a, b]


@loading
def loaded(page: Page) -> Any:
    return page.number


class Counted:
    """A decorator that is a class."""

    def __init__(self, func: Callable[..., Any]) -> None:
        functools.update_wrapper(self, func)
        self.func = func
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.func(*args, **kwargs)


@Counted
def counted(page: Page, by: int = 1) -> Any:
    return page.number + by


class Pages:
    @classmethod
    @passing_on
    def make(cls, page: Page, by: int = 1) -> Any:
        return page.number + by

    @staticmethod
    @with_session
    def static(session: str, page: Page) -> Any:
        return [session, page]

    @passing_on
    def __init__(self, page: Page) -> None:
        self.page = page


def own_first(func: Callable[..., Any]) -> Callable[..., Any]:
    """The parameters that it names are those of the wrapped function, in their place."""

    @functools.wraps(func)
    def wrapper(page: Any, *args: Any, trace: bool = False, **kwargs: Any) -> Any:
        return func(page, *args, **kwargs)

    return wrapper


@own_first
def traced(page: Page, panel: Panel) -> Any:
    return [page, panel]


@functools.lru_cache
def cached(a: int, b: int = 1) -> int:
    return a + b


def opening(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(page: Any) -> Any:
        return func(Page(int(page)))

    return wrapper


@opening
def opened(page: Page) -> Page:
    return page


@passing_on
def returns_a_page() -> Page:
    return Page(1)


class AnyAttribute:
    def __getattr__(self, name: str) -> Any:
        return AnyAttribute()

    def __call__(self, a: Page) -> Page:
        return a


class Unwilling:
    """Whatever is asked of it raises; it can be called."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __call__(self, page: Page) -> Page:
        return page


class Below(AnyAttribute):
    pass


class Tool:
    """The annotations that its instances show are those of its attributes."""

    page: int = 1
    a: str

    def __call__(self, page: Page) -> Page:
        return page


class Static:
    @staticmethod
    def __call__(page: Page) -> Page:
        return page


class OfClass:
    @classmethod
    def __call__(cls, page: Page) -> Page:
        return page
