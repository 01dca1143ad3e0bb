"""A callable is what Python calls: wrappers, objects, dispatchers are bound and converted as a call of them goes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from asyncjobs.core.codec import (
    bind_arguments,
    convert_arguments,
    convert_result,
    refuse_reserved_parameters,
)
from asyncjobs.core.codec.layers import callee_of
from asyncjobs.exceptions import ConversionError, SubmissionError


@dataclass
class Page:
    number: int


@dataclass
class Panel:
    x: int
    y: int


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


@pytest.mark.parametrize(
    ("callee", "args", "kwargs", "stored"),
    [
        (draw, (1,), {"size": 2, "ink": "red"}, ((1, 2), {"ink": "red"})),  # it fits the wrapped function: as ever
        (draw, (1, 2, 3), {}, ((1, 2, 3), {})),  # it does not, and what the wrapper makes of it nobody knows
        (draw, (), {"pages": 1}, ((), {"pages": 1})),
        (query, (PAGE,), {}, ((PAGE,), {})),
        (query, (), {"page": PAGE}, ((), {"page": PAGE})),
        (positional, (1, 2), {}, ((1, 2), {})),
        (positional, (1,), {}, ((1,), {})),
        (named, (), {"b": 2, "a": 1}, ((), {"b": 2, "a": 1})),  # never by position, where it would break
        (loaded, (), {"number": 3}, ((3,), {})),
        (loaded, (3,), {"twice": True}, ((3,), {"twice": True})),
        (counted, (), {"by": 2, "page": 1}, ((1, 2), {})),
        (counted, (1, 2, 3), {}, ((1, 2, 3), {})),
        (Pages.make, (), {"by": 2, "page": 1}, ((1, 2), {})),
        (Pages.static, (PAGE,), {}, ((PAGE,), {})),
        (traced, (1,), {"panel": 2}, ((1, 2), {})),
        (traced, (1,), {"panel": 2, "trace": True}, ((1, 2), {"trace": True})),
        (cached, (), {"b": 2, "a": 1}, ((1, 2), {})),
        (functools.partial(draw, size=2), (1,), {}, ((1,), {})),
        (functools.partial(query, PAGE), (), {}, ((), {})),
        (functools.partial(loaded, 3), (), {"twice": True}, ((), {"twice": True})),
        (passing_on(passing_on(draw)), (), {"page": 1}, ((1,), {})),
        (passing_on(loaded), (), {"number": 3}, ((3,), {})),
    ],
)
def test_a_call_is_bound_as_the_wrapper_and_then_what_it_wraps_take_it(
    callee: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], stored: Any
) -> None:
    for _ in range(2):  # the second time from the cache
        assert bind_arguments(callee, args, kwargs) == stored


@pytest.mark.parametrize(
    ("callee", "args", "kwargs", "message"),
    [
        (positional, (1,), {"b": 2}, "positional() has no parameter 'b'"),
        (named, (1,), {}, "named() takes at most 0 arguments by position, and 1 were given"),
        (loaded, (), {"page": PAGE}, "loaded() has no parameter 'page'"),
        (loaded, (), {}, "loaded() is missing the argument 'number'"),
        (cached, (1, 2, 3), {}, "cached() takes at most 2 arguments by position, and 3 were given"),
        (traced, (), {}, "traced() is missing the argument 'page'"),
        (functools.partial(loaded, 3, 4), (), {}, "loaded() takes at most 1 argument by position, and 2 were given"),
    ],
)
def test_what_python_would_not_call_is_refused(
    callee: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(SubmissionError) as caught:
        bind_arguments(callee, args, kwargs)
    assert str(caught.value.args[0]) == message
    with pytest.raises(TypeError):
        callee(*args, **kwargs)


@pytest.mark.parametrize(
    ("callee", "args", "kwargs", "wanted"),
    [
        (draw, (PAGE,), {}, ((Page(1),), {})),
        (draw, (), {"page": PAGE}, ((), {"page": Page(1)})),
        (draw, (PAGE, 1, 2), {}, ((PAGE, 1, 2), {})),  # it does not fit the wrapped function
        (query, (PAGE,), {}, ((PAGE,), {})),
        (query, ("mine", PAGE), {}, (("mine", Page(1)), {})),
        (loaded, (3,), {}, ((3,), {})),
        (counted, (PAGE,), {}, ((Page(1),), {})),
        (Pages.make, (PAGE,), {}, ((Page(1),), {})),
        (Pages, (PAGE,), {}, ((Page(1),), {})),
        (traced, (PAGE, {"x": 1, "y": 2}), {"trace": True}, ((Page(1), Panel(1, 2)), {"trace": True})),
        (functools.partial(traced, PAGE), ({"x": 1, "y": 2},), {}, ((Panel(1, 2),), {})),
    ],
)
def test_records_are_rebuilt_by_the_function_that_gets_them(
    callee: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], wanted: Any
) -> None:
    assert convert_arguments(callee, args, kwargs) == wanted


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


def test_annotations_that_wraps_copied_bind_what_they_fit_and_no_more() -> None:
    """``functools.wraps`` puts the wrapped function's annotations on the wrapper: they are not the wrapper's own."""
    assert convert_arguments(opened, ("7",), {}) == (("7",), {})
    assert convert_arguments(opened, (PAGE,), {}) == ((Page(1),), {})
    assert convert_result(returns_a_page, PAGE) == Page(1)
    assert convert_result(returns_a_page, "<page/>") == "<page/>"
    with pytest.raises(ConversionError):
        convert_result(returns_a_page.__wrapped__, "<page/>")  # type: ignore[attr-defined]


# -- singledispatch


@functools.singledispatch
def show(what: Any, size: int = 1) -> Any:
    return ["anything", what, size]


@show.register
def _(what: Page, bold: bool = False, size: int = 1) -> Any:
    return ["page", what, bold, size]


@show.register
def _(what: Panel, other: Page) -> Any:
    return ["panel", what, other]


class Later(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("args", "kwargs", "stored"),
    [
        ((Page(1),), {"size": 3}, ((Page(1),), {"size": 3})),
        ((Page(1),), {"bold": True}, ((Page(1), True), {})),
        (("text",), {"size": 3}, (("text", 3), {})),
        ((Later("id"),), {"bold": True}, ((Later("id"),), {"bold": True})),  # of what class it will be, nobody knows
    ],
)
def test_the_implementation_that_singledispatch_takes_binds_the_call(args: Any, kwargs: Any, stored: Any) -> None:
    assert bind_arguments(show, args, kwargs, (Later,)) == stored
    assert bind_arguments(passing_on(show), args, kwargs, (Later,)) == stored


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"what": 1}, "needs its first argument by position"),
        (("text",), {"bold": True}, "show() has no parameter 'bold'"),
        ((Panel(1, 2),), {}, "show() is missing the argument 'other'"),
    ],
)
def test_what_singledispatch_would_not_call_is_refused(args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(SubmissionError) as caught:
        bind_arguments(show, args, kwargs)
    assert message in str(caught.value)
    with pytest.raises(TypeError):
        show(*args, **kwargs)


@pytest.mark.parametrize("callee", [show, passing_on(show)])
def test_the_chosen_implementations_annotations_count(callee: Callable[..., Any]) -> None:
    assert convert_arguments(callee, (PAGE,), {}) == ((Page(1),), {})
    assert convert_arguments(callee, ({"x": 1, "y": 2}, PAGE), {}) == ((Panel(1, 2), Page(1)), {})
    assert convert_arguments(callee, ("text", PAGE), {}) == (("text", PAGE), {})
    assert convert_arguments(callee, ({"other": 1},), {}) == (({"other": 1},), {})
    assert convert_arguments(functools.partial(callee, Panel(1, 2)), (PAGE,), {}) == ((Page(1),), {})


# -- signatures that are set, and objects that have every attribute


def test_a_declared_signature_binds_what_the_wrapper_takes() -> None:
    def body(*args: Any, **kwargs: Any) -> Any: ...

    body.__signature__ = inspect.signature(lambda a, b: None)  # type: ignore[attr-defined]
    assert bind_arguments(body, (1,), {"b": 2}) == ((1, 2), {})
    assert bind_arguments(body, (1,), {"c": 2}) == ((1,), {"c": 2})


def test_a_signature_that_lies_is_not_what_python_calls() -> None:
    def body(a: int, b: int) -> Any: ...

    body.__signature__ = inspect.signature(lambda: None)  # type: ignore[attr-defined]
    assert bind_arguments(body, (1,), {"b": 2}) == ((1, 2), {})
    with pytest.raises(SubmissionError, match="missing the argument"):
        bind_arguments(body, (), {})


def test_a_signature_that_wraps_copied_is_that_of_the_wrapped_function() -> None:
    def body(session: str, a: int, b: int) -> Any: ...

    body.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
    assert bind_arguments(with_session(body), (1,), {"b": 2}) == ((1,), {"b": 2})
    assert bind_arguments(loading(body), (), {"number": 2}) == ((2,), {})


class AnyAttribute:
    def __getattr__(self, name: str) -> Any:
        return AnyAttribute()

    def __call__(self, a: int) -> int:
        return a


def test_an_object_with_any_attribute_is_no_wrapper() -> None:
    assert bind_arguments(AnyAttribute(), (), {"a": 1}) == ((1,), {})


def test_a_function_that_wraps_itself_is_a_function() -> None:
    def body(*args: Any, **kwargs: Any) -> Any: ...

    body.__wrapped__ = body  # type: ignore[attr-defined]
    assert bind_arguments(body, (1,), {"b": 2}) == ((1,), {"b": 2})


@pytest.mark.parametrize("callee", [passing_on(lambda timeout: timeout), own_first(lambda page, queue: page)])
def test_a_reserved_name_behind_a_wrapper_is_found(callee: Callable[..., Any]) -> None:
    with pytest.raises(SubmissionError, match="which is also an option"):
        refuse_reserved_parameters(callee)


def test_what_is_kept_of_a_callee_does_not_keep_it() -> None:
    """Caches are keyed by the callable: a value that referred to it would keep it for ever."""
    import gc
    import weakref

    class Big:
        pass

    held = Big()
    gone = weakref.ref(held)

    @passing_on
    def body(page: Page, big: Any = held) -> Page:
        return page

    local = functools.partial(body, big=held)
    for func in (body, local):
        bind_arguments(func, (PAGE,), {})
        convert_arguments(func, (PAGE,), {})
        convert_result(func, PAGE)
    assert callee_of(local).target is not None
    del body, local, held, func
    gc.collect()
    assert gone() is None
