"""Turn a crew or flow that is to be run into a job: the name of its factory, behind an adapter. Imports no CrewAI."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from asyncjobs.checks import checked_dict, is_a
from asyncjobs.core.codec import adapted, adapted_by_name
from asyncjobs.core.codec.names import attribute
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.exceptions import ConfigurationError, SubmissionError
from asyncjobs.models import Isolation, Limit
from asyncjobs.runtime.crewai_inputs import check_inputs
from asyncjobs.runtime.requests import checked_tuple

RunKind = Literal["crew", "flow"]


class ChildRunOptions(TypedDict, total=False):
    """Options of a run that a body submits: its own, and those of ``submit_job``."""

    durable: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] | None
    local: bool
    depends_on: Any
    require: int | None
    group: str | None
    metadata: Mapping[str, Any] | None
    queue: str | None
    priority: int | None
    limit: tuple[str, int] | Limit | None
    retry: RetryPolicy | None
    max_retries: int | None
    max_interruptions: int | None
    timeout: float | None
    delay: float | None
    run_at: datetime | None
    if_exists: Literal["raise", "return"]
    isolation: Isolation | None


class RunOptions(ChildRunOptions, total=False):
    """Options of ``submit_crew_run`` and ``submit_flow_run``."""

    job_id: str | None


_FORMS = {
    "crew": 'give a function that makes it, its @CrewBase class, or a name ("package.module:make_crew")',
    "flow": 'give its class, a function that makes it, or a name ("package.module:Story")',
}
_KIND, _NAME = "kind", "name"


def run_request(
    kind: RunKind,
    factory: Any,
    inputs: object,
    options: Mapping[str, Any],
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the callable of the job, and the options with which it is submitted.

    :param options: those of ``submit_job``, where ``args`` and ``kwargs`` are the factory's own; and ``durable``.
    :raises SubmissionError: the factory cannot be stored. NotSerializableError: CrewAI would refuse the inputs.
    """
    check_inputs(inputs)
    rest = dict(options)
    durable, local = rest.pop("durable", True), rest.pop("local", False)
    args, kwargs = rest.pop("args", ()), rest.pop("kwargs", None)
    if durable is not True and durable is not False:
        raise ConfigurationError("durable", durable, allowed="True or False")
    func, name = _body(kind, factory, local)
    keywords = {**checked_dict("kwargs", {} if kwargs is None else kwargs, "a dict of the factory's own keywords")}
    if inputs is not None:
        keywords["inputs"] = inputs
    if not durable:
        keywords["durable"] = False
    arguments = checked_tuple("args", args, "a tuple of the factory's own arguments", "args=(value,)")
    metadata = _metadata(kind, name, rest.get("metadata"))
    return func, {**rest, "args": arguments, "kwargs": keywords, "local": local, "metadata": metadata}


def _body(kind: RunKind, factory: object, local: object) -> tuple[Callable[..., Any], str]:
    """Return what is submitted, and how the run is called where it is shown."""
    if is_a(factory, str):
        if local:
            raise ConfigurationError("local", True, problem="a factory that is given by its name is no local one")
        text = str.__str__(factory)
        return adapted_by_name(kind, text), text.rpartition(":")[2]
    runs = hasattr(type(factory), "kickoff")
    if callable(factory) and not runs:
        return adapted(kind, factory), _name(factory)
    what = f"an object of class {type(factory).__qualname__}"
    if not runs:
        raise SubmissionError(f"{what} does not make a {kind}", hint=_FORMS[kind])
    if kind == "flow":
        raise SubmissionError(f"{what} keeps the state of one run, and cannot be stored", hint=_FORMS[kind])
    if not local:
        hint = f"{_FORMS[kind]}; with local=True this process runs a copy of the object, and no other can"
        raise SubmissionError(f"{what} cannot be stored", hint=hint)
    crew: Any = factory
    copy = crew.copy()  # now: one that is taken after a run keeps the texts of that run

    def make() -> Any:
        return copy.copy()

    return adapted(kind, make), str(getattr(factory, "name", None) or kind)


def _name(factory: Any) -> str:
    while is_a(factory, functools.partial):
        factory = factory.func
    name = attribute(factory, "__qualname__")
    return name if isinstance(name, str) else type(factory).__qualname__


def _metadata(kind: RunKind, name: str, given: Any) -> Any:
    if given is None:
        return {_KIND: kind, _NAME: name}
    if not is_a(given, dict):
        return given  # refused where all metadata is checked
    own = cast("dict[str, Any]", given)
    if _KIND in own:
        problem = f"metadata[{_KIND!r}] of a run is {kind!r}"
        raise ConfigurationError("metadata", own[_KIND], problem=problem, hint="use another key")
    return {_KIND: kind, _NAME: name, **own}
