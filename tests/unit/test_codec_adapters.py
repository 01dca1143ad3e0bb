"""Stored names with an adapter: what they are made of, what they lead to, and how a call of them is checked."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from msgspec import Struct

from asyncjobs import ConfigurationError, NotSerializableError, SubmissionError
from asyncjobs.core.codec import (
    CallableNotFoundError,
    adapted,
    adapted_by_name,
    adapters,
    bind_arguments,
    decode_arguments,
    decode_result,
    describe_callable,
    encode_arguments,
    encode_result,
    is_async_callable,
    resolve_callable,
    same_function,
)
from asyncjobs.core.codec.adapted import find_mark, heeds_stop
from asyncjobs.core.codec.annotations import get_result_plan
from asyncjobs.core.codec.callables import result_reader
from asyncjobs.core.codec.names import module_of, split_name
from asyncjobs.integrations.crewai.library import check_version
from tests.runtime import factories
from tests.runtime.factories import Maker, Mood, Poem, make

MAKE = "demo+tests.runtime.factories:make"


@dataclass
class Colour:
    shade: str


# -- names


@pytest.mark.parametrize(
    ("name", "adapter", "module"),
    [
        ("pkg.mod:make", None, "pkg.mod"),
        ("demo+pkg.mod:make", "demo", "pkg.mod"),
        ("crew+/app/jobs.py:make", "crew", "/app/jobs.py"),
        ("/app/a+b.py:make", None, "/app/a+b.py"),
        ("/a+b/jobs.py:make", None, "/a+b/jobs.py"),
        ("demo+/a+b/jobs.py:make", "demo", "/a+b/jobs.py"),
        ("local:/a+b.py:make", None, "local:/a+b.py"),
        ("+pkg:make", "", "pkg"),
        ("demo+", "demo", ""),
        ("a b+pkg:make", "a b", "pkg"),
        ("", None, ""),
    ],
)
def test_a_name_is_split_before_the_module(name: str, adapter: str | None, module: str) -> None:
    assert split_name(name)[0] == adapter
    assert module_of(name) == module


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("demo+/app/jobs.py:make", "demo+jobs:make", True),
        ("demo+jobs:make", "demo+jobs:make", True),
        ("demo+jobs:make", "jobs:make", False),
        ("crew+jobs:make", "demo+jobs:make", False),
        ("demo+/app/jobs.py:make", "demo+jobs:other", False),
    ],
)
def test_two_names_are_of_one_function_only_with_the_same_adapter(one: str, other: str, same: bool) -> None:
    assert same_function(one, other) is same


@pytest.mark.parametrize("factory", [make, Poem, Maker.of_class, Maker.static], ids=lambda f: f.__qualname__)
def test_a_factory_is_stored_by_its_name_and_found_again(factory: Any) -> None:
    described = describe_callable(adapted("demo", factory))
    assert described.name == f"demo+{describe_callable(factory).name}"
    assert not described.is_async
    found = find_mark(resolve_callable(described.name))
    assert found is not None
    assert found.factory == factory
    assert found.adapter == "demo"


def test_there_is_one_callable_for_each_name() -> None:
    assert adapted("demo", make) is adapted("demo", make) is resolve_callable(MAKE)
    assert is_async_callable(resolve_callable(MAKE)) is False


def test_what_is_kept_of_them_is_bounded_and_another_callable_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncjobs.core.codec.callables._bodies", bodies := {})
    monkeypatch.setattr("asyncjobs.core.codec.callables._MOST_BODIES", 2)
    first = adapted("demo", make)
    for factory in (Poem, Maker.static, Maker.of_class):
        adapted("demo", factory)
    assert len(bodies) <= 2
    again = adapted("demo", make)
    assert again is not first
    assert describe_callable(again).name == describe_callable(first).name == MAKE


def test_arguments_of_a_partial_go_with_the_job() -> None:
    described = describe_callable(adapted("demo", functools.partial(make, "noir")))
    assert (described.name, described.args) == (MAKE, ("noir",))


def test_what_no_other_process_finds_is_refused_as_without_an_adapter() -> None:
    with pytest.raises(NotSerializableError, match="<lambda>"):
        describe_callable(adapted("demo", lambda: Poem("x")))


def test_a_decorator_that_copies_the_mark_is_not_what_it_wraps() -> None:
    @functools.wraps(adapted("demo", make))
    def other(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert find_mark(other) is None
    with pytest.raises(NotSerializableError, match="leads to something else"):
        describe_callable(other)


def test_a_module_whose_name_looks_like_an_adapter_is_refused_at_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("demo+x")
    exec("def f(): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "demo+x", module)
    with pytest.raises(NotSerializableError, match=r"a module whose name has a '\+'"):
        describe_callable(module.f)


# -- what a name may not lead to


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("newer+tests.runtime.factories:make", "has no adapter 'newer' (it has crew, demo, flow)"),
        ("+tests.runtime.factories:make", "has no adapter ''"),
        ("DEMO+tests.runtime.factories:make", "has no adapter 'DEMO'"),
        (
            "asyncjobs.testing.demo_adapter+tests.runtime.factories:make",
            "has no adapter 'asyncjobs.testing.demo_adapter'",
        ),
        ("demo+demo+tests.runtime.factories:make", "has one adapter, not several"),
        ("demo+crew+tests.runtime.factories:make", "has one adapter, not several"),
        ("demo+", "it is not a name of the form"),
        ("demo+make", "it is not a name of the form"),
        ("demo+not.there:make", "the module not.there is not loaded"),
        ("demo+tests.runtime.factories:nothing", "has no nothing"),
        ("demo+tests.runtime.factories:os.getpid", "leads through something that is not a class"),
        ("demo+tests.runtime.factories:dataclass", "it belongs to the module dataclasses"),
        ("demo+tests.runtime.factories:make_async", "make_async() is an async def function"),
        ("demo+tests.runtime.factories:make_many", "make_many() is a generator function"),
        ("demo+tests.runtime.factories:with_inputs", "has a parameter 'inputs', which the adapter 'demo' takes"),
    ],
)
def test_a_name_that_leads_to_no_factory_is_a_reason_and_imports_nothing(name: str, reason: str) -> None:
    before = set(sys.modules)
    with pytest.raises(CallableNotFoundError) as raised:
        resolve_callable(name)
    assert reason in raised.value.reason
    assert set(sys.modules) == before


def test_an_adapter_whose_library_is_missing_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "ADAPTERS", {"crew": "asyncjobs_has_no_such_module"})
    monkeypatch.setattr("asyncjobs.core.codec.callables._bodies", {})
    with pytest.raises(CallableNotFoundError, match="the adapter 'crew' cannot be imported: No module named"):
        resolve_callable("crew+tests.runtime.factories:make")


def test_every_adapter_of_the_table_is_there() -> None:
    for name in adapters.ADAPTERS:
        assert find_mark(adapted(name, make)) is not None


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (factories.make_async, "make_async() is an async def function, and an adapter calls a plain function"),
        (factories.make_many, "make_many is a generator function"),
        (factories.with_inputs, "with_inputs() has a parameter 'inputs'"),
        (adapted("demo", make), "make() is adapted already"),
    ],
)
def test_what_is_no_factory_is_refused_at_submit(factory: Any, words: str) -> None:
    with pytest.raises(SubmissionError) as raised:
        adapted("demo", factory)
    assert words in str(raised.value)


def test_an_adapter_that_there_is_not_is_refused_at_submit() -> None:
    with pytest.raises(ConfigurationError, match="adapter cannot be 'crw'; allowed: 'crew', 'demo', 'flow'"):
        adapted("crw", make)


# -- calls


def test_its_signature_is_the_factorys_with_the_inputs() -> None:
    assert str(find_mark(adapted("demo", make)).signature) == (
        "(title: 'str', mood: 'Mood | None' = None, *, inputs: 'dict[str, Any] | None' = None) -> Poem"
    ).replace(" -> Poem", "")
    assert list(find_mark(adapted("demo", Poem)).signature.parameters) == ["title", "mood", "inputs", "more"]


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "make() is missing the argument 'title'"),
        (("a", None, 3), {}, "make() takes at most 2 arguments by position, and 3 were given"),
        (("a",), {"titel": "b"}, "make() has no parameter 'titel'"),
        (("a",), {"title": "b"}, "make() got 'title' twice"),
        (("a",), {"input": {}}, "did you mean 'inputs'?"),
    ],
)
def test_a_call_that_does_not_fit_the_factory_is_refused_at_submit(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(SubmissionError) as raised:
        bind_arguments(adapted("demo", make), args, kwargs)
    assert words in str(raised.value)


def test_a_call_has_one_form() -> None:
    body = adapted("demo", make)
    for args, kwargs in ((("a",), {"mood": None}), ((), {"title": "a", "mood": None}), (("a", None), {})):
        assert bind_arguments(body, args, {**kwargs, "inputs": {}}) == (("a", None), {"inputs": {}})


def test_records_come_back_by_the_annotations_of_the_factory() -> None:
    body = adapted("demo", make)
    call = encode_arguments(body, ("a", Mood("grim")), {"inputs": {"n": 1}})
    assert decode_arguments(call.data, body, lambda _: None) == (("a", Mood("grim")), {"inputs": {"n": 1}})


def test_a_record_that_does_not_fit_is_refused_at_submit() -> None:
    with pytest.raises(NotSerializableError, match=r"\$\.args\[1\]"):
        encode_arguments(adapted("demo", make), ("a", Colour("red")), {})


def test_the_annotation_of_what_the_factory_makes_is_not_that_of_the_result() -> None:
    assert get_result_plan(adapted("demo", make)).rebuild is None
    assert inspect.signature(make).return_annotation == "Poem"


def test_a_factory_without_a_signature_is_called_as_it_is_written() -> None:
    assert bind_arguments(adapted("demo", dict), (), {"inputs": None, "a": 1}) == ((), {"inputs": None, "a": 1})


# -- adapters of libraries


def test_an_adapter_says_which_library_it_needs_and_whether_its_bodies_end_when_they_are_to_stop() -> None:
    assert (adapters.find_library("crew"), adapters.find_library("demo")) == ("crewai", None)
    assert heeds_stop(adapted("crew", make))
    assert not heeds_stop(adapted("demo", make))
    assert not heeds_stop(make)


@pytest.fixture
def _no_crewai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    check_version.cache_clear()
    yield
    check_version.cache_clear()


@pytest.mark.usefixtures("_no_crewai")
def test_without_its_library_an_adapter_submits_and_does_not_run() -> None:
    assert describe_callable(adapted("crew", make)).name == "crew+tests.runtime.factories:make"
    assert not adapters.can_run(adapted("crew", make))
    with pytest.raises(CallableNotFoundError, match="needs the extra 'crewai'"):
        resolve_callable("crew+tests.runtime.factories:make")


def test_what_needs_no_library_runs() -> None:
    assert adapters.can_run(make)
    assert adapters.can_run(adapted("demo", make))


def test_a_factory_that_is_known_by_its_name_alone_is_submitted_and_not_run() -> None:
    named = adapted_by_name("demo", "shop.models:make")
    assert describe_callable(named).name == "demo+shop.models:make"
    assert not adapters.can_run(named)
    with pytest.raises(RuntimeError, match="shop.models:make is known by its name alone here"):
        named()


@pytest.mark.parametrize("name", ["make", "shop.models", ":make", "shop..models:make", "demo+shop:make", "shop:a b"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(SubmissionError, match="is not the name of a function of a module"):
        adapted_by_name("demo", name)


def test_results_are_read_by_the_adapter_alone() -> None:
    assert result_reader("demo+not.there:make") is result_reader("demo+shop:make") is not None
    assert result_reader("shop:make") is result_reader("newer+shop:make") is None


class Stored(Struct):
    """What is stored in place of something else."""

    text: str

    def __asyncjobs_restore__(self) -> str:
        return self.text.upper()


def body() -> Stored:
    return Stored("a result")


def test_a_record_that_stands_for_something_else_is_restored() -> None:
    assert decode_result(encode_result(body, body(), "$.result"), body) == "A RESULT"
