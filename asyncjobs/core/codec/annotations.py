"""Rebuild records by annotation: a stored dataclass, Struct, attrs instance or model becomes one again.

Only these are touched. Every other type is stored as itself, so there is no coercion: a parameter whose annotation
names no record keeps its value, and so does a field. ``msgspec.convert`` is not used, because it refuses annotations
that are common here (``str | Path``, enums of mixed values, two dataclasses in a union, fields with ``init=False``) and
would change values that are right already.

At submit, and when a body returns, the same annotations decide whether a value can be restored: see
``check_arguments``.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import Parameter
from types import FunctionType
from typing import Any, NoReturn

from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.codec.hints import callable_hints, innermost, own_annotations
from asyncjobs.core.codec.layers import (
    Passed,
    borrows_annotations,
    chosen,
    dispatches_on_first,
    find_callee,
    implementations,
)
from asyncjobs.core.codec.mismatches import Look, Mismatch, Rebuild, find_stray
from asyncjobs.core.codec.names import attribute, seems
from asyncjobs.core.codec.parts import has_choice, is_free
from asyncjobs.core.codec.rebuild import compile_rebuild
from asyncjobs.core.codec.refusals import key_step, shortened_path
from asyncjobs.core.codec.stored import plain
from asyncjobs.exceptions import ConversionError, NotSerializableError


class Place(typing.NamedTuple):
    """A parameter, or a result: how its records are rebuilt, and whether its annotation leaves its type open.

    ``unresolved`` is an annotation that has a meaning for type checkers alone: its names are not defined at run time.
    """

    name: str
    rebuild: Rebuild | None
    free: bool
    unresolved: str | None = None


class Plan(typing.NamedTuple):
    """The parameters of one callee.

    ``named`` has every parameter that can be given by name. ``empty``: none holds records, as with most callees.
    ``exact``: dicts must be marked, to distinguish them from records. ``passed``: the parameters are those of a
    function behind a wrapper, which the call may not fit. ``lenient``: only such a function annotates them, so a value
    that does not fit its annotation is left as it is. ``chooses``: each call has the plan of the implementation that
    ``functools.singledispatch`` picks for it; ``positional`` has at most the argument that decides.
    """

    positional: tuple[Place, ...]
    rest: Place | None  # *args: behind the positional ones
    named: Mapping[str, Place]
    others: Place | None  # **kwargs
    empty: bool
    exact: bool
    passed: Passed | None = None
    lenient: bool = False
    chooses: bool = False

    def at(self, index: int) -> Place:
        """Return the place of an argument that is given by position."""
        return self.positional[index] if index < len(self.positional) else self.rest or _ANYWHERE

    def of(self, name: str) -> Place:
        """Return the place of an argument that is given by name."""
        return self.named.get(name) or self.others or _ANYWHERE


class ResultPlan(typing.NamedTuple):
    """The result of one callee; ``rebuild`` is None if its annotation names no record.

    ``restores``: the record stands for something else, which its method ``RESTORE`` returns to whoever reads it.
    """

    rebuild: Rebuild | None
    exact: bool
    lenient: bool
    restores: bool = False


RESTORE = "__asyncjobs_restore__"
"""The method of records that are stored in place of what bodies of ours return, and that this process may not have."""


_ANYWHERE = Place("", None, free=True)
_plans: IdentityCache[Plan] = IdentityCache()
_results: IdentityCache[ResultPlan] = IdentityCache()


def get_plan(func: Callable[..., Any]) -> Plan:
    """Return the plan of the arguments of ``func``; computed once."""
    plan = _plans.get(func)
    if plan is None:
        plan = _plan(func)
        _plans.put(func, plan)
    return plan


def get_result_plan(func: Callable[..., Any]) -> ResultPlan:
    """Return the plan of the result of ``func``, where a class returns itself; computed once."""
    plan = _results.get(func)
    if plan is None:
        annotation = annotation_of_result(func)
        plan = ResultPlan(
            compile_rebuild(annotation),
            has_choice(annotation),
            borrows_annotations(func),
            seems(annotation, type) and attribute(annotation, RESTORE) is not None,
        )
        _results.put(func, plan)
    return plan


# -- after decoding


def convert_arguments(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Rebuild the records in the arguments, where ``func``'s annotations name records.

    None and instances stay. Annotations that cannot be resolved leave their value as it is.

    :raises ConversionError: a value does not fit; it names the parameter, the path and the expected type.
    """
    plan = get_plan(func)
    if plan.empty:
        return args, kwargs
    if plan.chooses:
        return _convert_by_choice(func, plan, args, kwargs)
    if plan.passed is not None and plan.passed.bind(args, kwargs) is None:
        # The wrapper turns this call into another one.
        return tuple(map(plain, args)), {name: plain(value) for name, value in kwargs.items()}
    values = [
        _rebuilt(func, place.rebuild, value, place.name, step, lenient=plan.lenient)
        for (place, step), value in zip(_places(plan, len(args)), args, strict=True)
    ]
    named = {
        name: _rebuilt(func, plan.of(name).rebuild, value, name, lenient=plan.lenient) for name, value in kwargs.items()
    }
    return tuple(values), named


def _convert_by_choice(
    func: Callable[..., Any], plan: Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Rebuild the first argument as a class with an implementation, the others as that implementation has them."""
    if args and plan.positional:
        # Lenient: a value of none of these classes goes to the implementation for any object.
        args = (_rebuilt(func, plan.positional[0].rebuild, args[0], "the first", lenient=True), *args[1:])
    implementation = chosen(find_callee(func).target, args)
    if implementation is not None and not get_plan(implementation).empty:
        return convert_arguments(implementation, args, kwargs)
    return tuple(map(plain, args)), {name: plain(value) for name, value in kwargs.items()}


def convert_result(func: Callable[..., Any], value: Any) -> Any:
    """Rebuild the records in a result, by ``func``'s return annotation.

    :raises ConversionError: the value does not fit; it names the path and the expected type.
    """
    plan = get_result_plan(func)
    # Lenient: a wrapper may have changed what the annotated function returned.
    if plan.rebuild is None:
        return value
    record = _rebuilt(func, plan.rebuild, value, None, lenient=plan.lenient)
    return getattr(record, RESTORE)() if plan.restores and record is not None else record


def result_stand_in(func: Callable[..., Any], *, local: bool) -> Callable[..., Any] | None:
    """Return a callable that stands in for ``func`` in ``convert_result`` without keeping alive what ``func`` holds.

    A program may keep a handle for as long as it likes, and the arguments of partials, the variables of closures and
    the defaults of lambdas may be large.

    :param local: do not keep ``func`` itself alive either, once its job is over.
    :returns: None if nothing is converted.
    """
    if not local and type(func) is FunctionType:
        return func
    inner = innermost(func)
    if not local or seems(inner, type):
        return inner
    plan = get_result_plan(inner)
    if plan.rebuild is None:
        return None
    annotations = {"return": annotation_of_result(inner)}
    stand_in = _without_body(annotations)
    if plan.lenient:
        functools.update_wrapper(stand_in, _without_body(annotations))
    stand_in.__qualname__ = _function_name(inner)
    return stand_in


def _without_body(annotations: dict[str, Any]) -> Callable[..., Any]:
    def stand_in() -> None: ...

    stand_in.__annotations__ = annotations
    return stand_in


def _rebuilt(
    func: Callable[..., Any],
    rebuild: Rebuild | None,
    value: Any,
    name: str | None,
    step: str = "",
    *,
    lenient: bool = False,
) -> Any:
    if rebuild is None:
        return plain(value)
    try:
        return rebuild(value)
    except Mismatch as mismatch:
        if lenient:
            return plain(value)
        root = "$" if name is None else f"$.{name}{step}"
        where = root + "".join(reversed(mismatch.steps))
        raise ConversionError(where, mismatch.problem, mismatch.expected, owner_of(func, name)) from mismatch.__cause__


# -- before encoding


def check_arguments(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    counts: Sequence[int],
    handles: tuple[type, ...],
) -> None:
    """Make sure that these arguments will be restored as they are.

    :param counts: how many records were written of each argument, by position and then by sorted name; empty for none.
    :param handles: the types of the handles that results replace.
    :raises NotSerializableError: an argument does not fit its annotation, or has a record that the annotation does not
        name. Without an annotation (or with Any), records become plain dicts by design.
    """
    plan = get_plan(func)
    if plan.empty and not counts:
        return
    if plan.chooses:
        _check_by_choice(func, plan, args, kwargs, counts, handles)
        return
    if plan.passed is not None and plan.passed.bind(args, kwargs) is None:
        return  # what the wrapper makes of it is unknown
    places = [(f"$.args[{index}]", plan.at(index), value) for index, value in enumerate(args)]
    places += [(f"$.kwargs{key_step(name)}", plan.of(name), kwargs[name]) for name in sorted(kwargs)]
    for number, (where, place, value) in enumerate(places):
        records = counts[number] if counts else 0
        if place.unresolved is not None and records:
            _refuse_unresolved(where, value, place.unresolved, owner_of(func, place.name))
        if place.rebuild is None and (place.free or not records):
            continue
        if plan.lenient and not records:
            continue
        _check(func, where, place.name or None, place.rebuild, value, records, handles)


def _check_by_choice(
    func: Callable[..., Any],
    plan: Plan,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    counts: Sequence[int],
    handles: tuple[type, ...],
) -> None:
    """Check a call by the implementation that ``functools.singledispatch`` picks for it, if that is known yet."""
    if plan.positional and args and isinstance(args[0], handles):
        return
    target = find_callee(func).target
    implementation = chosen(target, args)
    if implementation is None:
        return
    if plan.positional:
        # The first argument is checked by the union of all choices.
        if counts and counts[0] and innermost(implementation) is not implementations(target).get(object):
            _check(func, "$.args[0]", "the first", plan.positional[0].rebuild, args[0], counts[0], handles)
        args, counts = (None, *args[1:]), (0, *counts[1:]) if counts else ()
    check_arguments(implementation, args, kwargs, counts, handles)


def check_result(func: Callable[..., Any], value: Any, records: int, where: str) -> bool:
    """Make sure that a result will be restored as it is, if the return annotation names records.

    :returns: whether dicts in it will become records: only reading the stored result shows whether that is possible.
    :raises NotSerializableError: the result would not be restored.
    """
    plan = get_result_plan(func)
    dicts: list[Any] = []
    if plan.rebuild is not None and (records or not plan.lenient):
        _check(func, where, None, plan.rebuild, value, records, (), dicts)
    return bool(dicts)


def _check(
    func: Callable[..., Any],
    where: str,
    name: str | None,
    rebuild: Rebuild | None,
    value: Any,
    records: int,
    handles: tuple[type, ...],
    dicts: list[Any] | None = None,
) -> None:
    try:
        if rebuild is None:
            find_stray(value)
        elif rebuild.check(value, Look(handles, dicts=dicts)) != records:
            rebuild.check(value, Look(handles, strays=True))
    except Mismatch as mismatch:
        _refuse(mismatch, where, value, owner_of(func, name))


def _refuse_unresolved(where: str, value: Any, annotation: str, owner: str) -> NoReturn:
    steps, problem = [], "a record"
    try:
        find_stray(value)
    except Mismatch as mismatch:
        steps, problem = mismatch.steps, mismatch.problem.removeprefix("is ")
    raise NotSerializableError(
        shortened_path(where, steps),
        f"{problem}; the annotation {annotation!r} of the {owner} cannot be resolved, so it could not be restored",
        hint="import what it names in the module itself, not under 'if TYPE_CHECKING:', and not inside of a function",
    )


def _refuse(mismatch: Mismatch, where: str, value: Any, owner: str) -> NoReturn:
    problem = mismatch.problem
    what = problem.removeprefix("is ") if problem.startswith("is ") else f"a value that {problem}"
    raise NotSerializableError(
        shortened_path(where, mismatch.steps),
        f"{what}, and the annotation of the {owner} names {mismatch.expected}, so it could not be restored",
        hint="annotate it with the class of what is passed, or pass what the annotation names",
    ) from mismatch.__cause__


def owner_of(func: Callable[..., Any], name: str | None) -> str:
    """Describe for messages what a value is: the argument with this name, or the result if there is no name."""
    label = _function_name(func)
    return f"result of {label}()" if name is None else f"argument {name!r} of {label}()"


def _function_name(func: Callable[..., Any]) -> str:
    inner = innermost(func)
    name = attribute(inner, "__qualname__")
    return name if isinstance(name, str) else type(inner).__qualname__


def _places(plan: Plan, count: int) -> Iterator[tuple[Place, str]]:
    given = len(plan.positional)
    return ((plan.at(index), "" if index < given else f"[{index - given}]") for index in range(count))


def _plan(func: Callable[..., Any]) -> Plan:
    callee = find_callee(func)
    if callee.dispatches:
        return _plan_of_choice(callee.target)
    parameters = [] if callee.signature is None else list(callee.signature.parameters.values())
    hints = callable_hints(callee.target)
    positional: list[Place] = []
    named: dict[str, Place] = {}
    rest: Place | None = None
    others: Place | None = None
    exact = False
    written = own_annotations(callee.target)
    for parameter in parameters:
        hint = hints.get(parameter.name)
        unresolved = written.get(parameter.name) if hint is None else None
        place = Place(
            parameter.name,
            compile_rebuild(hint),
            is_free(hint),
            unresolved if isinstance(unresolved, str) else None,
        )
        exact = exact or has_choice(hint)
        if parameter.kind is Parameter.VAR_KEYWORD:
            others = place
        elif parameter.kind is Parameter.VAR_POSITIONAL:
            rest = place
        else:
            if parameter.kind is not Parameter.POSITIONAL_ONLY:
                named[parameter.name] = place
            if parameter.kind is not Parameter.KEYWORD_ONLY:
                positional.append(place)
    places = [*positional, *named.values(), rest or _ANYWHERE, others or _ANYWHERE]
    empty = all(place.rebuild is None for place in places)
    return Plan(tuple(positional), rest, named, others, empty, exact, callee.passed, callee.borrowed)


def _plan_of_choice(target: Callable[..., Any]) -> Plan:
    first: tuple[Place, ...] = ()
    choices = implementations(target)
    exact = any(get_plan(implementation).exact for implementation in choices.values())
    if dispatches_on_first(target):
        union = _union(cls for cls in choices if cls is not object)
        first = (Place("", compile_rebuild(union), free=True),)
        exact = exact or has_choice(union)
    return Plan(first, None, {}, None, empty=False, exact=exact, chooses=True)


def annotation_of_result(func: Callable[..., Any]) -> Any:
    """Return the annotation of what ``func`` returns; a class returns itself."""
    inner = innermost(func)
    callee = find_callee(inner)
    if callee.dispatches:
        returns = [
            callable_hints(implementation).get("return") for implementation in implementations(callee.target).values()
        ]
        return _union(returns) if all(hint is not None for hint in returns) else None
    return inner if seems(inner, type) else callable_hints(inner).get("return")


def _union(options: Iterable[Any]) -> Any:
    listed = tuple(options)
    return typing.Union[listed] if listed else None  # noqa: UP007 - its members are known only at run time
