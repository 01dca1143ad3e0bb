"""A callable is what Python calls: wrappers, objects, dispatchers are bound and converted as a call of them goes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from asyncjobs.core.codec import (
    bind_arguments,
    convert_arguments,
    convert_result,
    decode_result,
    encode_result,
    is_async_callable,
)
from asyncjobs.exceptions import ConversionError, NotSerializableError, SubmissionError
from tests.unit.layered import (
    PAGE,
    AnyAttribute,
    Below,
    OfClass,
    Page,
    Pages,
    Panel,
    Static,
    Tool,
    Unwilling,
    cached,
    counted,
    draw,
    loaded,
    loading,
    named,
    opened,
    passing_on,
    positional,
    query,
    returns_a_page,
    traced,
    with_session,
)


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
        (named, (1,), {}, "named() takes at most 0 arguments by position, and 1 was given"),
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


def test_annotations_that_wraps_copied_bind_what_they_fit_and_no_more() -> None:
    """``functools.wraps`` puts the wrapped function's annotations on the wrapper: they are not the wrapper's own."""
    assert convert_arguments(opened, ("7",), {}) == (("7",), {})
    assert convert_arguments(opened, (PAGE,), {}) == ((Page(1),), {})
    assert convert_result(returns_a_page, PAGE) == Page(1)
    assert convert_result(returns_a_page, "<page/>") == "<page/>"
    with pytest.raises(ConversionError):
        convert_result(returns_a_page.__wrapped__, "<page/>")
    # What a wrapper makes of it is checked as far as it is a record.
    assert decode_result(encode_result(returns_a_page, Page(1)), returns_a_page) == Page(1)
    assert decode_result(encode_result(returns_a_page, "<page/>"), returns_a_page) == "<page/>"
    with pytest.raises(NotSerializableError):
        encode_result(returns_a_page, Panel(1, 2))
    with pytest.raises(NotSerializableError):
        encode_result(returns_a_page.__wrapped__, "<page/>")


# -- signatures that are set, and objects that have every attribute


def test_a_declared_signature_binds_what_the_wrapper_takes() -> None:
    def body(*args: Any, **kwargs: Any) -> Any: ...

    body.__signature__ = inspect.signature(lambda a, b: None)
    assert bind_arguments(body, (1,), {"b": 2}) == ((1, 2), {})
    assert bind_arguments(body, (1,), {"c": 2}) == ((1,), {"c": 2})


def test_a_signature_that_lies_is_not_what_python_calls() -> None:
    def body(a: int, b: int) -> Any: ...

    body.__signature__ = inspect.signature(lambda: None)
    assert bind_arguments(body, (1,), {"b": 2}) == ((1, 2), {})
    with pytest.raises(SubmissionError, match="missing the argument"):
        bind_arguments(body, (), {})


def test_a_signature_that_wraps_copied_is_that_of_the_wrapped_function() -> None:
    def body(session: str, a: int, b: int) -> Any: ...

    body.__signature__ = inspect.signature(body)
    assert bind_arguments(with_session(body), (1,), {"b": 2}) == ((1,), {"b": 2})
    assert bind_arguments(loading(body), (), {"number": 2}) == ((2,), {})


def test_an_object_with_any_attribute_is_no_wrapper() -> None:
    for callee in (AnyAttribute(), Below()):
        assert bind_arguments(callee, (), {"a": 1}) == ((1,), {})


def test_an_object_is_annotated_as_its_call_is() -> None:
    for callee in (AnyAttribute(), Below(), Tool(), Static(), OfClass(), Unwilling(), functools.partial(Tool())):
        assert not is_async_callable(callee)
        assert bind_arguments(callee, (1,), {}) == ((1,), {})
        assert convert_arguments(callee, (PAGE,), {}) == ((Page(1),), {})
        assert convert_result(callee, PAGE) == Page(1)


def test_a_function_that_wraps_itself_is_a_function() -> None:
    def body(*args: Page, **kwargs: Any) -> Page: ...
    def other() -> None: ...

    other.__wrapped__ = body
    for wrapped in (body, other):
        body.__wrapped__ = wrapped
        assert bind_arguments(body, (1,), {"b": 2}) == ((1,), {"b": 2})
        assert convert_arguments(body, (PAGE,), {}) == ((Page(1),), {})
        assert convert_result(body, PAGE) == Page(1)


def test_a_class_whose_constructor_wraps_itself_is_a_class() -> None:
    class Made:
        def __init__(self, page: Page) -> None: ...

    Made.__init__.__wrapped__ = Made.__init__
    assert bind_arguments(Made, (), {"page": 1}) == ((1,), {})
    assert convert_arguments(Made, (PAGE,), {}) == ((Page(1),), {})


def test_a_class_whose_signature_is_not_known_takes_what_it_is_given() -> None:
    assert bind_arguments(dict, ([],), {"a": 1}) == (([],), {"a": 1})
    assert convert_arguments(dict, ([PAGE],), {"a": PAGE}) == (([PAGE],), {"a": PAGE})
