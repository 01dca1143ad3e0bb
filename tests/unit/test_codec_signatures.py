"""Arguments bound at submit: one form for one call, and mistakes in words."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from asyncjobs.core.codec import RESERVED, bind_arguments, refuse_reserved_parameters, signatures
from asyncjobs.exceptions import SubmissionError
from asyncjobs.requests import JobRequest


def plain(path: str, size: int, quality: int = 90) -> None: ...


def none() -> None: ...


def one(path: str) -> None: ...


def everything(a: int, /, b: int, *rest: int, key: int, other: int = 0, **more: int) -> None: ...


def keywords(a: int, *, size: int, mode: str = "") -> None: ...


def only_position(a: int, b: int = 0, /) -> None: ...


class Made:
    def __init__(self, size: int) -> None: ...


class Tool:
    def __call__(self, size: int) -> None: ...


@pytest.mark.parametrize(
    ("callee", "args", "kwargs", "bound"),
    [
        (plain, ("p", 1), {}, (("p", 1), {})),
        (plain, ("p", 1, 2), {}, (("p", 1, 2), {})),
        (plain, ("p",), {"quality": 2, "size": 1}, (("p", 1, 2), {})),
        (plain, ("p",), {"size": 1}, (("p", 1), {})),
        (plain, (), {"quality": 2, "size": 1, "path": "p"}, (("p", 1, 2), {})),
        (none, (), {}, ((), {})),
        (everything, (1, 2, 3), {"key": 4, "z": 5}, ((1, 2, 3), {"key": 4, "z": 5})),
        (everything, (1,), {"b": 2, "key": 4}, ((1, 2), {"key": 4})),
        (keywords, (1,), {"size": 2}, ((1,), {"size": 2})),
        (Made, (), {"size": 2}, ((2,), {})),
        (Tool(), (), {"size": 2}, ((2,), {})),
        (functools.partial(plain, "p"), (1,), {}, ((1,), {})),
        (max, (1, 2), {"key": 3}, ((1, 2), {"key": 3})),  # no signature: unchecked
    ],
)
def test_one_form_for_one_call(
    callee: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], bound: tuple[Any, Any]
) -> None:
    for _ in range(2):
        assert bind_arguments(callee, args, kwargs) == bound


@pytest.mark.parametrize(
    ("callee", "args", "kwargs", "message", "hint"),
    [
        (plain, (), {}, "plain() is missing the arguments 'path', 'size'", "its signature is plain("),
        (plain, ("p",), {}, "plain() is missing the argument 'size'", "its signature is plain("),
        (plain, ("p",), {"siez": 1}, "plain() has no parameter 'siez'", "did you mean 'size'?"),
        (plain, ("p", 1), {"priorty": 1}, "plain() has no parameter 'priorty'", "did you mean the option 'priority'?"),
        (plain, ("p", 1), {"zzz": 1}, "plain() has no parameter 'zzz'", "its signature is plain("),
        (plain, (1, 2, 3, 4), {}, "plain() takes at most 3 arguments by position, and 4 were given", "its signature"),
        (one, (1, 2), {}, "one() takes at most 1 argument by position, and 2 were given", "its signature is one("),
        (none, (1,), {}, "none() takes at most 0 arguments by position, and 1 was given", "its signature is none("),
        (plain, ("p", 1), {"path": 1}, "plain() got 'path' twice, by position and by name", "its signature is plain("),
        (keywords, (1,), {}, "keywords() is missing the argument 'size'", "its signature is keywords("),
        (everything, (1,), {"key": 1}, "everything() is missing the argument 'b'", "its signature is everything("),
        (only_position, (), {"a": 1}, "only_position() takes 'a' by position only", "its signature is only_position("),
        (Tool(), (), {}, "Tool() is missing the argument 'size'", "its signature is ("),
    ],
)
def test_mistakes_in_words(
    callee: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(SubmissionError) as caught:
        bind_arguments(callee, args, kwargs)
    assert caught.value.args[0] == message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)


def test_a_signature_that_disagrees_still_gets_an_answer() -> None:
    # A name that is not a string, for a callee that takes any: nothing of ours to name.
    with pytest.raises(SubmissionError) as caught:
        bind_arguments(only_by_any_name, (), {3: 1})
    assert caught.value.args[0].startswith("only_by_any_name() cannot be called with these arguments: ")


def only_by_any_name(**kwargs: int) -> None: ...


def test_long_signatures_are_shortened() -> None:
    namespace: dict[str, Any] = {}
    exec(f"def wide({', '.join(f'parameter_{i}' for i in range(60))}): ...", namespace)
    with pytest.raises(SubmissionError) as caught:
        bind_arguments(namespace["wide"], (), {"x": 1})
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("…")


def test_option_names_are_reserved() -> None:
    def with_timeout(url: str, timeout: float = 3) -> None: ...
    def keyword_limit(url: str, *, limit: int) -> None: ...
    def free(timeout: float, /, url: str, *args: int, **kwargs: int) -> None: ...

    refuse_reserved_parameters(plain)
    refuse_reserved_parameters(free)
    refuse_reserved_parameters(max)
    for func, name in [(with_timeout, "timeout"), (keyword_limit, "limit")]:
        with pytest.raises(SubmissionError) as caught:
            refuse_reserved_parameters(func)
        label = func.__qualname__
        assert str(caught.value) == (
            f"{label}() has a parameter {name!r}, which is also an option of submit_job\n"
            f"  hint: pass its arguments as such: args=(…), kwargs={{{name!r}: …}}; or rename the parameter"
        )
    assert {"job_id", "depends_on", "isolation", "max_interruptions", "kwargs"} < RESERVED
    assert len(RESERVED) == 20
    assert set(JobRequest.__struct_fields__) - {"func"} < RESERVED


def several(first: int, *rest: int, last: int = 0) -> None:
    """Takes any number."""


def named(*, width: int, height: int = 1) -> None:
    """Takes its arguments by name."""


def open_ended(name: str, /, **options: int) -> None:
    """Takes any option."""


@pytest.mark.parametrize(
    ("callee", "args", "kwargs"),
    [
        (several, (1, 2, 3), {"last": 4}),
        (named, (), {"width": 2}),
        (open_ended, ("x",), {"colour": 1}),
    ],
)
def test_a_signature_is_looked_at_once_for_all_calls_of_a_function(
    callee: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bind_arguments(callee, args, kwargs) == (args, kwargs)

    def again(*_: object) -> None:
        raise AssertionError("looked at again")

    monkeypatch.setattr(signatures, "find_callee", again)
    assert bind_arguments(callee, args, kwargs) == (args, kwargs)


def test_what_is_known_of_a_signature_keeps_no_function_alive() -> None:
    class Held:
        """The default of a parameter, which refers to the function."""

    held = Held()

    def local(*values: Held, last: object = held) -> None: ...

    held.function = local  # a circle, as registries of functions have them
    assert bind_arguments(local, (1, 2), {}) == ((1, 2), {})
    gone = weakref.ref(local)
    del local, held
    gc.collect()
    assert gone() is None
