"""Calls of ``singledispatch`` functions, and what stands in for a callable that is gone."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    refuse_reserved_parameters,
    result_stand_in,
)
from asyncjobs.core.codec.layers import find_callee
from asyncjobs.exceptions import ConversionError, NotSerializableError, SubmissionError
from tests.unit.layered import (
    PAGE,
    AnyAttribute,
    OfClass,
    Page,
    Pages,
    Panel,
    Sheet,
    Static,
    Tool,
    counted,
    draw,
    opened,
    own_first,
    passing_on,
    query,
    returns_a_page,
)

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
    def sell(self, page: Page) -> Any:
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
def unsaid(what):
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


# -- what stands in for a local callable


def outcome(func: Callable[..., Any] | None, value: Any) -> Any:
    try:
        return value if func is None else convert_result(func, value)
    except ConversionError as error:
        return str(error)


def test_what_stands_in_for_a_callable_reads_results_as_the_callable_does() -> None:
    def typed() -> list[Page]: ...
    def unresolved() -> Nothing: ...  # noqa: F821 - it is not defined anywhere

    untyped: Any = lambda: None  # noqa: E731 - a lambda with a name
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
