"""Callables and their stored names: what is accepted, what is refused and in which words, and the way back."""

from __future__ import annotations

import functools
import math
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from asyncjobs.core.codec import (
    CallableNotFoundError,
    callable_label,
    describe_callable,
    is_async_callable,
    resolve_callable,
    wraps_async,
)
from asyncjobs.exceptions import NotSerializableError, SubmissionError

HERE = __name__


def plain(a: int, b: int = 0) -> int:
    return a + b


async def coroutine(a: int) -> int:
    return a


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


def doubling(func: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> int:
        return 2 * func(*args, **kwargs)

    return wrapper


@doubling
def decorated(a: int) -> int:
    return a


class Base:
    @classmethod
    def make(cls) -> str:
        return cls.__name__

    @staticmethod
    def static() -> int:
        return 1

    def method(self) -> int:
        return 2


class Sub(Base):
    pass


append = [].append


class Callback:
    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self) -> int:
        return self.n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callback)

    __hash__ = None


class AsyncCallback:
    async def __call__(self) -> int:
        return 1


found_here = Callback(1)
also_here = Callback(2)
not_callable = 3
module_like = SimpleNamespace(plain=plain)
lambda_here = lambda: 1  # noqa: E731 - a lambda with a name


@pytest.mark.parametrize(
    ("callee", "name"),
    [
        (plain, f"{HERE}:plain"),
        (coroutine, f"{HERE}:coroutine"),
        (decorated, f"{HERE}:decorated"),
        (Base, f"{HERE}:Base"),
        (Base.make, f"{HERE}:Base.make"),
        (Sub.make, f"{HERE}:Sub.make"),
        (Base.static, f"{HERE}:Base.static"),
        (Base.method, f"{HERE}:Base.method"),
        (found_here, f"{HERE}:found_here"),
        (also_here, f"{HERE}:also_here"),
        (len, "builtins:len"),
        (math.sqrt, "math:sqrt"),
        (dict.fromkeys, "builtins:dict.fromkeys"),
        (str.upper, "builtins:str.upper"),
        (int, "builtins:int"),
    ],
)
def test_a_name_leads_back(callee: Callable[..., Any], name: str) -> None:
    for _ in range(2):  # the second time from the cache
        ref = describe_callable(callee)
        assert (ref.name, ref.func, ref.args, ref.kwargs) == (name, callee, (), {})
        assert resolve_callable(ref.name) == callee
        assert callable_label(callee) == name or isinstance(callee, Callback)


def test_partials_are_unwrapped_into_their_arguments() -> None:
    inner = functools.partial(plain, 1, b=2)

    class Odd(functools.partial[int]):  # a subclass is not flattened by functools
        pass

    ref = describe_callable(functools.partial(Odd(inner, b=3), c=4))
    assert (ref.name, ref.func, ref.args, ref.kwargs) == (f"{HERE}:plain", plain, (1,), {"b": 3, "c": 4})
    assert ref.join((5,), {"b": 6}) == ((1, 5), {"b": 6, "c": 4})
    assert describe_callable(plain).join((5,), {"b": 6}) == ((5,), {"b": 6})


def test_a_lambda_is_refused_with_its_place() -> None:
    line = sys._getframe().f_lineno + 1
    func = lambda: 1  # noqa: E731 - a lambda with a name
    with pytest.raises(NotSerializableError) as caught:
        describe_callable(func)
    assert str(caught.value) == (
        f"$.func is <lambda> at test_codec_callables.py:{line}, which another process could not find again\n"
        "  hint: move it to module level, or submit it with local=True (it then runs in this process only)"
    )
    assert caught.value.where == "$.func"
    with pytest.raises(NotSerializableError, match="<lambda> at test_codec_callables"):
        describe_callable(lambda_here)


def _refused(func: Any) -> str:
    with pytest.raises(NotSerializableError) as caught:
        describe_callable(func)
    assert "local=True" in str(caught.value) or "submit what" in str(caught.value)
    message = str(caught.value.args[0])
    assert message.startswith("$.func is ")
    assert message.endswith(", which another process could not find again")
    return message.removeprefix("$.func is ").removesuffix(", which another process could not find again")


def test_refusals_say_what_it_is() -> None:
    def nested() -> None: ...

    place = f"test_codec_callables.py:{nested.__code__.co_firstlineno}"
    assert _refused(nested) == (f"test_refusals_say_what_it_is.<locals>.nested at {place} (defined inside a function)")
    assert _refused(functools.partial(nested)) == _refused(nested)
    assert _refused(Base().method).startswith(f"a method of a {HERE}.Base object at test_codec_callables.py:")
    assert _refused([].append) == "a method of a list object"
    assert _refused(random.randint).startswith("a method of a random.Random object at random.py:")
    assert _refused(Callback(3)) == f"a {HERE}.Callback object without a name"
    assert _refused(decorated.__wrapped__).endswith(
        "(a name that now leads to something else: decorated, shadowed or reloaded)"
    )
    assert _refused(list[int]).startswith("builtins:list (a name that now leads to something else")


def test_names_that_lead_nowhere_are_refused() -> None:
    namespace: dict[str, Any] = {"__name__": "asyncjobs_no_such_module"}
    exec("def lost(): ...", namespace)
    assert _refused(namespace["lost"]) == "asyncjobs_no_such_module:lost at <string>:1 (a name that leads nowhere)"
    nameless: dict[str, Any] = {}
    exec("def lost(): ...", nameless)
    nameless["lost"].__module__ = None
    assert _refused(nameless["lost"]) == "lost at <string>:1 (it does not name the module it belongs to)"
    assert callable_label(nameless["lost"]) == "__main__:lost"

    class Elsewhere:
        __module__ = "asyncjobs_no_such_module"

        def __call__(self) -> None: ...

    assert _refused(Elsewhere()).endswith("Elsewhere object without a name")


@pytest.mark.parametrize(
    ("callee", "message"),
    [
        (generator, f"{HERE}:generator is a generator function, and a job returns one value"),
        (async_generator, f"{HERE}:async_generator is a generator function, and a job returns one value"),
        (functools.partial(generator), f"{HERE}:generator is a generator function, and a job returns one value"),
        (3, "an int is not callable"),
    ],
)
def test_what_cannot_be_a_job_is_refused(callee: Any, message: str) -> None:
    with pytest.raises(SubmissionError) as caught:
        describe_callable(callee)
    assert caught.value.args[0] == message
    assert caught.value.hint


def test_async_callables_are_told_apart() -> None:
    class Task:
        @classmethod
        async def make(cls) -> None: ...

    assert is_async_callable(coroutine)
    assert is_async_callable(functools.partial(functools.partial(coroutine), 1))
    assert is_async_callable(AsyncCallback())
    assert is_async_callable(Task.make)
    assert not any(map(is_async_callable, (plain, AsyncCallback, len, found_here, decorated)))
    assert describe_callable(coroutine).is_async
    assert not describe_callable(plain).is_async


def test_labels_never_fail() -> None:
    assert callable_label(functools.partial(lambda_here)) == f"{HERE}:<lambda>"
    assert callable_label(Callback(3)) == f"{HERE}:Callback.__call__"
    assert callable_label(Base().method) == f"{HERE}:Base.method"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is not a name of the form 'module:function'"),
        ("plain", "it is not a name of the form 'module:function'"),
        (f"{HERE}:", "it is not a name of the form 'module:function'"),
        (f"{HERE}:gone", f"the module {HERE} has no gone"),
        (f"{HERE}:Base.gone", f"the module {HERE} has no Base.gone"),
        (f"{HERE}:not_callable", "it is an int, which cannot be called"),
        (f"{HERE}:module_like.plain", "module_like.plain leads through something that is not a class"),
        (f"{HERE}:math.sqrt", "math.sqrt leads through something that is not a class"),
        (f"{HERE}:append", "it is a builtin_function_or_method, which does not name the module it belongs to"),
        (f"{HERE}:describe_callable", "it belongs to the module asyncjobs.core.codec.callables, and a function is "
                                      "named by its own module"),
        ("asyncjobs_no_such_module:f", "the module asyncjobs_no_such_module is not loaded in this process"),
    ],
)  # fmt: skip
def test_a_name_that_does_not_resolve_says_why(name: str, reason: str) -> None:
    with pytest.raises(CallableNotFoundError) as caught:
        resolve_callable(name)
    assert (caught.value.name, caught.value.reason) == (name, reason)
    assert isinstance(caught.value, LookupError)
    assert str(caught.value) == f"{name} cannot run here: {reason}"


def test_a_name_in_the_main_script_says_so() -> None:
    """The main script is pytest, or what runs tests side by side: there is no such function in either."""
    with pytest.raises(CallableNotFoundError, match="the module __main__ (is not loaded|has no f)"):
        resolve_callable("__main__:f")


class Silent:
    """A lazy proxy outside of its context."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("working outside of the context")

    def __call__(self) -> None: ...


class Unprintable(Exception):
    def __repr__(self) -> str:
        raise ValueError("no text")


class Worse(Silent):
    def __getattribute__(self, name: str) -> Any:
        raise Unprintable


class Homeless:
    """An object of a class in C has no module of its own either."""

    def __getattribute__(self, name: str) -> Any:
        raise AttributeError(name)

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Silent, "RuntimeError('working outside of the context')"),
        (Worse, "<Unprintable that cannot be printed>"),
        (Homeless, "AttributeError('__module__')"),
    ],
)
def test_what_cannot_be_asked_for_its_module_is_not_taken_from_another_one(
    monkeypatch: pytest.MonkeyPatch, kind: type, says: str
) -> None:
    home = ModuleType("has_proxies")
    vars(home)["work"] = kind()
    monkeypatch.setitem(sys.modules, "has_proxies", home)
    with pytest.raises(CallableNotFoundError) as caught:
        resolve_callable("has_proxies:work")
    assert caught.value.reason == f"it is a {HERE}.{kind.__name__}, whose __module__ raises {says}"


def test_modules_are_imported_only_when_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "codec_fresh.py").write_text("def task(): return 7\n")
    (tmp_path / "codec_broken.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CallableNotFoundError, match="is not loaded"):
        resolve_callable("codec_fresh:task")
    try:
        assert resolve_callable("codec_fresh:task", allow_import=True)() == 7
    finally:
        sys.modules.pop("codec_fresh", None)
    with pytest.raises(CallableNotFoundError, match="importing codec_broken failed with SystemExit: 3"):
        resolve_callable("codec_broken:task", allow_import=True)
    with pytest.raises(CallableNotFoundError, match="importing codec_absent failed with ModuleNotFoundError"):
        resolve_callable("codec_absent:task", allow_import=True)


def test_a_module_that_answers_badly_is_a_reason_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("codec_moody")

    def moody(name: str) -> Any:
        raise RuntimeError(name)

    module.__getattr__ = moody
    monkeypatch.setitem(sys.modules, "codec_moody", module)
    with pytest.raises(CallableNotFoundError, match="the module codec_moody has no f"):
        resolve_callable("codec_moody:f")


# -- wrappers around async functions


def test_a_plain_wrapper_around_an_async_function_is_known() -> None:
    async def body() -> int:
        return 1

    def wrapper() -> Any: ...

    functools.update_wrapper(wrapper, body)
    around = functools.wraps(wrapper)(lambda: None)
    assert wraps_async(wrapper)
    assert wraps_async(around)
    assert wraps_async(functools.partial(around))
    assert wraps_async(doubling(body))
    assert not wraps_async(body)  # it is one itself
    assert not wraps_async(decorated)
    assert not wraps_async(plain)
    assert not wraps_async(Callback(1))


def test_a_function_that_wraps_itself_wraps_nothing_async() -> None:
    def one() -> None: ...
    def other() -> None: ...

    one.__wrapped__ = other
    other.__wrapped__ = one
    assert not wraps_async(one)
