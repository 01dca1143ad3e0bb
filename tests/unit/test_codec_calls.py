"""Results take the place of handles; a result that does not fit its annotation is refused."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs.core.codec import (
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
