"""Results take the place of handles; a result that does not fit its annotation is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec import msgpack

from asyncjobs.core.codec import (
    CorruptValueError,
    decode_arguments,
    decode_result,
    encode_arguments,
    encode_result,
)
from asyncjobs.exceptions import NotSerializableError
from tests.unit.record_support import Animal, Cat, Dog, Handle, same


def test_a_result_takes_the_place_of_a_handle_by_the_callees_annotation_or_its_own() -> None:
    def make() -> Animal: ...
    def untyped(): ...
    def takes(one: Animal, more: list[Animal | dict[str, str]]) -> None: ...
    def free(one: Any) -> None: ...

    results = {
        "typed": (encode_result(make, Dog("a")), make),
        "unknown": (encode_result(make, Dog("a")), None),
        "untyped": (encode_result(untyped, Dog("a")), untyped),
    }
    for name in results:
        call = encode_arguments(takes, (Handle(name), [Handle(name), {"x": "y"}]), {}, Handle)
        assert call.handles == (name,)
        args, _ = decode_arguments(call.data, takes, results.get)
        assert same(list(args), [Dog("a"), [Dog("a"), {"x": "y"}]])
        call = encode_arguments(free, (Handle(name),), {}, Handle)
        (seen,), _ = decode_arguments(call.data, free, results.get)
        assert same(seen, Dog("a") if name == "typed" else {"name": "a"})
    gone = encode_arguments(takes, (Handle("gone"), []), {}, Handle)
    assert decode_arguments(gone.data, takes, results.get) == ((None, []), {})


def test_a_result_that_does_not_fit_its_annotation_is_refused() -> None:
    def make() -> list[Animal]: ...
    def plain() -> int: ...

    with pytest.raises(NotSerializableError) as caught:
        encode_result(make, [Dog("a"), Cat("b")], "$.result")
    assert caught.value.where == "$.result[1]"
    assert "the annotation of the result of" in caught.value.what
    with pytest.raises(NotSerializableError):
        encode_result(make, 3)
    assert decode_result(encode_result(plain, "not an int"), plain) == "not an int"
    assert decode_result(encode_result(plain, Cat("a")), plain) == {"name": "a"}
    assert decode_result(encode_result(make, None), make) is None


# -- values of which msgpack has all kinds are decoded without a reader


VALUES = [
    *(1, -1, 2**63, 1.5, "a", "", b"a", None, True, [], {}, [1, [2, [3]]], {"a": {"b": []}}, {1: 2}),
    *((1, 2), {1, 2}, 2**80, dt.date(2026, 1, 1), {"a": (1,)}, [dt.timedelta(1)], {(1, 2): 3}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_call_without_handles_is_decoded_as_with_any(value: Any) -> None:
    def free(one: Any, *, named: Any) -> None: ...
    def typed(one: list[Animal] | None, *, named: Any) -> None: ...

    for func in (free, typed):
        data = encode_arguments(free, (value,), {"named": value}).data
        long = _outcome(partial(decode_arguments, data, func, lambda _: None))
        assert same(_outcome(partial(decode_arguments, data, func, None)), long)
        if func is free:
            assert same(long, ((value,), {"named": value}))


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_result_is_decoded_alike_with_and_without_what_returned_it(value: Any) -> None:
    def free(): ...

    data = encode_result(free, value)
    assert same(decode_result(data, free), value)
    assert same(decode_result(data, None), value)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xc1", b"\x91", b"\x01\x02", b"\x91" * 1_000_000 + b"\x01"),
        *map(msgpack.encode, (1, [], [[], {}, 1], [{}, {}], [[], {1: 2}], msgpack.Ext(99, b"a"))),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_a_damaged_call_is_the_same_error_with_and_without_handles(data: bytes) -> None:
    def free(one: Any) -> None: ...

    with pytest.raises(CorruptValueError) as long:
        decode_arguments(data, free, lambda _: None)
    with pytest.raises(CorruptValueError) as short:
        decode_arguments(data, free, None)
    assert str(short.value) == str(long.value)


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return type(error), str(error)
