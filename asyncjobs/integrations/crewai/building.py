"""Call the factories of crews and flows: one at a time in a process, and check what they return.

Building a crew is work for the processor, which Python does in one thread at a time. Twenty at once hold up the event
loop and one another; one after the other, the loop goes on.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from asyncjobs.core.retry import exception_name
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.integrations.crewai.library import crewai_module
from asyncjobs.runtime.context import check_cancelled, current_job
from asyncjobs.runtime.final_errors import mark_final

PATIENCE = 10.0
"""Seconds that a factory waits for those before it. One of them may hang."""
_LOOK_EVERY = 0.1

_one = threading.Lock()


def build_crew(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the crew that a factory makes: a function that returns one, or a ``@CrewBase`` class.

    :raises ConfigurationError: it is none.
    """
    crewai = crewai_module()
    with _alone():
        made = factory(*args, **kwargs)
        if not isinstance(made, (crewai.Crew, crewai.Flow)) and not isinstance(made, type):
            method = getattr(made, "crew", None)  # of an instance of a @CrewBase class
            made = method() if callable(method) else made
    return _checked(factory, made, crewai.Crew, "a crew", "submit_flow_run" if isinstance(made, crewai.Flow) else None)


def build_flow(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the flow that a factory makes: a ``Flow`` class, or a function that returns a new flow.

    :raises ConfigurationError: it is none.
    """
    crewai = crewai_module()
    with _alone():
        made = factory(*args, **kwargs)
    return _checked(factory, made, crewai.Flow, "a flow", "submit_crew_run" if isinstance(made, crewai.Crew) else None)


def _checked(factory: Callable[..., Any], made: Any, wanted: type, what: str, other: str | None) -> Any:
    if isinstance(made, wanted):
        return made
    if inspect.iscoroutine(made):
        made.close()
    found = f"the class {made.__qualname__}" if isinstance(made, type) else _kind(made)
    name = getattr(factory, "__qualname__", type(factory).__qualname__)
    hint = f"return {what} that was made for this run" if other is None else f"submit it with {other}()"
    problem = f"{name}() returned {found}, which is not {what}"
    raise mark_final(ConfigurationError("factory", name, problem=problem, hint=hint))


def _kind(made: object) -> str:
    return "None" if made is None else exception_name(type(made))


@contextmanager
def _alone() -> Generator[None]:
    """Wait for the factory that is running in this process, but not for one that hangs."""
    taken = _take_turn()
    try:
        yield
    finally:
        if taken:
            _one.release()


def _take_turn() -> bool:
    ends = time.monotonic() + PATIENCE
    while not _one.acquire(timeout=_LOOK_EVERY):
        check_cancelled()
        if time.monotonic() >= ends:
            current_job().log(
                f"the factory of another crew or flow runs for more than {PATIENCE:.0f} s: not waiting for it",
                level="warning",
            )
            return False
    return True
