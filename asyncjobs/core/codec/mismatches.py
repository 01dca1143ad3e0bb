"""Name the place at which a value does not fit its annotation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.names import class_of, kind_of, with_article
from asyncjobs.core.codec.refusals import key_step
from asyncjobs.core.codec.stored import SentDict, StoredRecord, plain

_ATOMS: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})


class Mismatch(Exception):  # noqa: N818 - a signal inside this package, never an error that leaves it
    """A value that does not fit its annotation. Every container on the way out adds its step to ``steps``."""

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(problem, expected)
        self.problem = problem
        self.expected = expected
        self.steps: list[str] = []


class Look(NamedTuple):
    """How a value is checked before it is stored.

    ``handles`` are the types that results of jobs replace. With ``strays``, a record that no annotation names is a
    Mismatch of its own; without, it is not counted. ``dicts`` collects the dicts that will become records: only calling
    their class shows whether it accepts them.
    """

    handles: tuple[type, ...] = ()
    strays: bool = False
    dicts: list[Any] | None = None


class Rebuild(Protocol):
    """The rebuild of one annotation's values. None stays None, an instance stays itself."""

    def __call__(self, value: Any) -> Any:
        """Rebuild the records in a stored value.

        :raises Mismatch: it does not fit the annotation.
        """
        ...

    def check(self, value: Any, look: Look) -> int:
        """Make sure that a value will be restored after it was stored.

        :returns: how many records in it the annotation names.
        :raises Mismatch: it does not fit the annotation.
        """
        ...


def holds_record(value: Any) -> bool:
    """Return whether there is a record in a value, before it is stored or after."""
    if isinstance(value, dict):
        return any(map(holds_record, cast("dict[Any, Any]", value).values()))
    if isinstance(value, (list, tuple)):
        return any(map(holds_record, cast("Sequence[Any]", value)))
    return type(value) is StoredRecord or record_type(class_of(value)) is not None


def find_stray(value: Any, expected: str = "no class for it") -> None:
    """Raise Mismatch for the first record in a value."""
    if type(value) in _ATOMS:
        return
    if record_type(class_of(value)) is not None:
        raise unlike(value, expected)
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            stepping(key_step(key), find_stray, item, expected)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            stepping(f"[{index}]", find_stray, item, expected)


def stepping(step: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function, and add this step to the path of a Mismatch that it raises."""
    try:
        return function(*args)
    except Mismatch as mismatch:
        mismatch.steps.append(step)
        raise


def unlike(value: object, expected: str) -> Mismatch:
    """Return the Mismatch of a value that is not what was expected."""
    if isinstance(value, StoredRecord):
        return Mismatch(f"is {with_article(f'{value.module}.{value.qualname}')}", expected)
    return Mismatch(f"is {kind_of(dict(value) if type(value) is SentDict else value)}", expected)


def rebuild_at(step: str, rebuild: Rebuild | None, value: Any) -> Any:
    """Rebuild the part of a value behind this step; a part without an annotation becomes plain."""
    if rebuild is None:
        return value if type(value) in _ATOMS else plain(value)
    return stepping(step, rebuild, value)


def check_at(step: str, rebuild: Rebuild | None, value: Any, look: Look) -> int:
    """Check the part of a value behind this step, and return how many records its annotation names."""
    if rebuild is not None:
        return cast("int", stepping(step, rebuild.check, value, look))
    if look.strays:
        stepping(step, find_stray, value)
    return 0
