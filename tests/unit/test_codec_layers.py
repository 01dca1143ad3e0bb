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
    decode_arguments,
    decode_result,
    encode_arguments,
    encode_result,
    is_async_callable,
    refuse_reserved_parameters,
    result_stand_in,
)
from asyncjobs.core.codec.layers import find_callee
from asyncjobs.exceptions import ConversionError, NotSerializableError, SubmissionError


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
    # What a wrapper makes of it is checked as far as it is a record.
    assert decode_result(encode_result(returns_a_page, Page(1)), returns_a_page) == Page(1)
    assert decode_result(encode_result(returns_a_page, "<page/>"), returns_a_page) == "<page/>"
    with pytest.raises(NotSerializableError):
        encode_result(returns_a_page, Panel(1, 2))
    with pytest.raises(NotSerializableError):
        encode_result(returns_a_page.__wrapped__, "<page/>")  # type: ignore[attr-defined]


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


def test_behind_a_wrapper_a_call_that_fits_no_implementation_is_the_wrappers() -> None:
    for args, kwargs in (((), {"what": 1}), (("text",), {"bold": True}), ((Panel(1, 2),), {})):
        assert bind_arguments(passing_on(show), args, kwargs) == (args, kwargs)


def test_an_implementation_whose_signature_is_not_known_takes_the_call_as_it_was_written() -> None:
    @functools.singledispatch
    def most(what: Any) -> Any:
        return what

    most.register(int, max)
    assert bind_arguments(most, (1,), {}) == ((1,), {})
    assert bind_arguments(most, (True,), {}) == ((True,), {})
    with pytest.raises(SubmissionError, match="at most 1 argument"):
        bind_arguments(most, ("text", 2), {})


@pytest.mark.parametrize("callee", [show, passing_on(show)])
def test_the_chosen_implementations_annotations_count(callee: Callable[..., Any]) -> None:
    assert convert_arguments(callee, (PAGE,), {}) == ((Page(1),), {})
    assert convert_arguments(callee, ({"x": 1, "y": 2}, PAGE), {}) == ((Panel(1, 2), Page(1)), {})
    assert convert_arguments(callee, ("text", PAGE), {}) == (("text", PAGE), {})
    assert convert_arguments(callee, ({"other": 1},), {}) == (({"other": 1},), {})
    assert convert_arguments(functools.partial(callee, Panel(1, 2)), (PAGE,), {}) == ((Page(1),), {})


def sent(callee: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], Any]:
    """The arguments of a call as they arrive."""
    results: dict[str, Any] = {"page": (encode_result(returns_a_page, Page(3)), returns_a_page)}
    return decode_arguments(encode_arguments(callee, args, kwargs, Later).data, callee, results.get)


@pytest.mark.parametrize("callee", [show, passing_on(show)])
def test_what_an_implementation_takes_arrives(callee: Callable[..., Any]) -> None:
    assert sent(callee, Page(1), True) == ((Page(1), True), {})
    assert sent(callee, Panel(1, 2), Page(1)) == ((Panel(1, 2), Page(1)), {})
    assert sent(callee, Panel(1, 2), other=Page(1)) == ((Panel(1, 2),), {"other": Page(1)})
    assert sent(callee, "text", size=2) == (("text",), {"size": 2})
    # The implementation for any object: its annotation leaves open what there is.
    assert sent(callee, Sheet(1)) == (({"number": 1},), {})
    # Which implementation takes it is known when the result is there.
    assert sent(callee, Later("page")) == ((Page(3),), {})
    assert sent(callee, Panel(1, 2), Later("page")) == ((Panel(1, 2), Page(3)), {})
    # The first argument is the partial's.
    assert sent(functools.partial(callee, Panel(1, 2)), Page(1)) == ((Page(1),), {})
    assert sent(functools.partial(callee, Panel(1, 2)), Later("page")) == ((Page(3),), {})
    assert sent(functools.partial(callee, size=2), Page(1)) == ((Page(1),), {})
    assert sent(functools.partial(callee, size=2), Sheet(1)) == (({"number": 1},), {})


def test_records_that_a_wrapper_takes_in_its_own_way_arrive_as_plain_dicts() -> None:
    assert sent(query, Page(1)) == (({"number": 1},), {})  # it does not fit the wrapped function
    assert sent(query, "session", Page(1)) == (("session", Page(1)), {})
    assert sent(passing_on(show), what=Page(1)) == ((), {"what": {"number": 1}})  # nothing says by which class
    assert sent(opened, "7") == (("7",), {})  # its annotations are copied
    assert sent(opened, Page(1)) == ((Page(1),), {})
    with pytest.raises(NotSerializableError):
        sent(opened, Panel(1, 2))


@pytest.mark.parametrize(
    ("callee", "args", "where"),
    [
        (show, (Panel(1, 2), Panel(1, 2)), "$.args[1]"),
        (show, (Panel(1, 2), "text"), "$.args[1]"),
        (show, (Page(1), [Page(1)]), "$.args[1][0]"),
        (functools.partial(show, Panel(1, 2)), (Panel(1, 2),), "$.args[0]"),
    ],
)
def test_what_the_chosen_implementation_does_not_name_is_refused(
    callee: Callable[..., Any], args: tuple[Any, ...], where: str
) -> None:
    with pytest.raises(NotSerializableError) as caught:
        encode_arguments(callee, args, {})
    assert caught.value.where == where


class Shop:
    @functools.singledispatch
    def sell(self, page: Page) -> Any:  # type: ignore[misc]
        return [self, page]


def test_a_method_that_dispatches_on_its_object_binds_and_converts_the_rest() -> None:
    assert bind_arguments(Shop().sell, (), {"page": 1}) == ((1,), {})
    assert convert_arguments(Shop().sell, (PAGE,), {}) == ((Page(1),), {})
    assert convert_arguments(functools.partial(Shop().sell, PAGE), (), {}) == ((), {})


@functools.singledispatch
def make(what: Any) -> Page | None:
    return None


@make.register
def _(what: int) -> Page:
    return Page(what)


@make.register
def _(what: str) -> list[Panel]:
    return [Panel(1, 2)] * len(what)


@functools.singledispatch
def unsaid(what):  # type: ignore[no-untyped-def]
    return what


unsaid.register(int, make.dispatch(int))


@functools.singledispatch
def plain_or_page(what: Any) -> Any:
    return what


plain_or_page.register(int, make.dispatch(int))


def test_a_result_is_one_of_any_implementation() -> None:
    for value in (Page(1), [Panel(1, 2)], None, []):
        assert decode_result(encode_result(make, value), make) == value
    for value in ("text", Sheet(1), [Page(1)]):  # a dispatcher changes nothing of what the implementation returns
        with pytest.raises(NotSerializableError):
            encode_result(make, value)
    for value in (3, {"number": 1}, Page(1)):  # one implementation does not say what it returns
        wanted = {"number": 1} if isinstance(value, Page) else value
        assert decode_result(encode_result(unsaid, value), unsaid) == wanted
    for value in (3, {"number": 1}, Page(1)):  # one may return anything
        assert decode_result(encode_result(plain_or_page, value), plain_or_page) == value


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

    other.__wrapped__ = body  # type: ignore[attr-defined]
    for wrapped in (body, other):
        body.__wrapped__ = wrapped  # type: ignore[attr-defined]
        assert bind_arguments(body, (1,), {"b": 2}) == ((1,), {"b": 2})
        assert convert_arguments(body, (PAGE,), {}) == ((Page(1),), {})
        assert convert_result(body, PAGE) == Page(1)


def test_a_class_whose_constructor_wraps_itself_is_a_class() -> None:
    class Made:
        def __init__(self, page: Page) -> None: ...

    Made.__init__.__wrapped__ = Made.__init__  # type: ignore[attr-defined]
    assert bind_arguments(Made, (), {"page": 1}) == ((1,), {})
    assert convert_arguments(Made, (PAGE,), {}) == ((Page(1),), {})


def test_a_class_whose_signature_is_not_known_takes_what_it_is_given() -> None:
    assert bind_arguments(dict, ([],), {"a": 1}) == (([],), {"a": 1})
    assert convert_arguments(dict, ([PAGE],), {"a": PAGE}) == (([PAGE],), {"a": PAGE})


# -- what stands in for a local callable


def outcome(func: Callable[..., Any] | None, value: Any) -> Any:
    try:
        return value if func is None else convert_result(func, value)
    except ConversionError as error:
        return str(error)


def test_what_stands_in_for_a_callable_reads_results_as_the_callable_does() -> None:
    def typed() -> list[Page]: ...
    def unresolved() -> Nothing: ...  # type: ignore[name-defined]  # noqa: F821

    untyped: Any = lambda: None  # noqa: E731
    callables: list[Callable[..., Any]] = [
        typed, unresolved, untyped, functools.partial(typed), functools.partial(untyped), Page, functools.partial(Page),
        Tool(), Static(), OfClass(), AnyAttribute(), counted, draw, returns_a_page, opened, make, plain_or_page, unsaid,
        passing_on(make), Pages.make, len, dict, functools.partial(Tool()),
    ]  # fmt: skip
    for func in callables:
        for local in (True, False):
            stand_in = result_stand_in(func, local=local)
            for value in (PAGE, [PAGE], [{"x": 1, "y": 2}], "text", None, {"x": 1, "y": 2}):
                assert outcome(stand_in, value) == outcome(func, value)
    assert result_stand_in(untyped, local=True) is result_stand_in(unsaid, local=True) is None


def test_what_stands_in_for_a_local_callable_holds_nothing_of_it() -> None:
    import gc
    import weakref

    class Big:
        def __call__(self) -> Page: ...

    def closing(big: Any) -> Callable[..., Any]:
        def body(big: Any = big) -> Page: ...

        return functools.partial(body, big)

    held = Big()
    gone = weakref.ref(held)
    stand_ins = [result_stand_in(func, local=True) for func in (held, closing(held), functools.partial(held))]
    del held
    gc.collect()
    assert gone() is None
    assert [convert_result(stand_in, PAGE) for stand_in in stand_ins if stand_in is not None] == [Page(1)] * 3


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
    assert find_callee(local).target is not None
    del body, local, held, func
    gc.collect()
    assert gone() is None
