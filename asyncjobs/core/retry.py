"""Decide when a failed attempt is tried again. A policy is data, so that it can be stored with its job."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, cast

from msgspec import msgpack
from msgspec.structs import force_setattr

from asyncjobs.checks import CheckedStruct, is_a, listed
from asyncjobs.core.mains import MAIN_NAMES
from asyncjobs.exceptions import ConfigurationError

# From ``type`` itself: a metaclass may override these for its classes, and may raise.
_module_of = type.__dict__["__module__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__
_bases_of = type.__dict__["__mro__"].__get__
_members_of: Callable[[object], Any] = vars(BaseExceptionGroup)["exceptions"].__get__
_LONGEST = 10 * 365 * 86_400.0
"""Seconds: a delay is at most ten years, which every store can add to its clock."""


def exception_name(kind: type) -> str:
    """Return the name of an error class in policies and events: ``ConnectionError``, or ``httpx.ReadTimeout``.

    Never fails, whatever the class itself overrides.
    """
    module, qualname = _module_of(kind), short_name(kind)
    if type(module) is not str:
        module = "?"
    return qualname if module == "builtins" else f"{module}.{qualname}"


def short_name(kind: type) -> str:
    """Return the qualified name of a class. Never fails."""
    return str.__str__(_qualname_of(kind))


class RetryPolicy(CheckedStruct, frozen=True):
    """Which failures are retried, how often, and after what delay.

    :param max_retries: how many more attempts may follow the first; 0 means none. Default 3.
    :param base: seconds; the n-th retry waits ``base * factor ** n`` (default: 2, 4, 8, … s).
    :param factor: growth of the delay, at least 1. Default 2.
    :param cap: longest delay in seconds, before jitter. Default 300.
    :param jitter: the delay is spread evenly over ± this share of it; 0.0 to 1.0. Default 0.1. After an interruption
        it is ± half of it, unless this is 0.
    :param on: exception classes (or their names) that are retried. Default: every one.
    :param never_on: exception classes (or their names) that are not retried, even if ``on`` matches.
    :raises ConfigurationError: a number is negative, NaN or out of its range, or an entry is neither a class nor a
        name.

    Numbers of any type are accepted (Decimal, Fraction, those of numpy) and kept as ints and floats.

    A class matches itself and its subclasses, by their modules and names, so nothing is imported to compare. A name
    given as text matches any class of that qualified name, with its module (``"httpx.ReadTimeout"``) or without: a
    class inside of another is ``"Client.Timeout"``, and not ``"Timeout"``. A group of exceptions is retried if each of
    its members is, unless the group's own class is named.

    A policy is data: it is stored with its job, as its fields. A subclass, whose methods no worker would call, is
    refused where it is given for a job.
    """

    max_retries: int = 3
    base: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: float = 0.1
    on: Sequence[type[BaseException] | str] = ()
    never_on: Sequence[type[BaseException] | str] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "max_retries", _whole(self.max_retries))
        for name, low, high in (
            ("base", 0.0, math.inf),
            ("factor", 1.0, math.inf),
            ("cap", 0.0, math.inf),
            ("jitter", 0.0, 1.0),
        ):
            value = getattr(self, name)
            number = _float(value)
            if number is None or not low <= number <= high or number == math.inf:
                top = "" if high == math.inf else f" to {high:g}"
                raise ConfigurationError(f"RetryPolicy.{name}", value, allowed=f"a number from {low:g}{top}")
            force_setattr(self, name, number)
        for name in ("on", "never_on"):
            force_setattr(self, name, _kinds(f"RetryPolicy.{name}", getattr(self, name)))

    def delay(self, n: int, jitter: float) -> float:
        """Return the seconds before the ``n``-th retry; ``jitter`` is a number from 0 to 1 drawn by the caller."""
        try:
            delay = min(self.cap, self.base * self.factor**n)
        except OverflowError:
            delay = self.cap
        return min(_LONGEST, delay * (1.0 + self.jitter * (2.0 * jitter - 1.0)))

    def delay_after_interruption(self, n: int, jitter: float) -> float:
        """Return the seconds before a job runs again after its worker died: 0.5 to 1.5 times the delay.

        Jobs that were interrupted together, one of which may have killed the worker, do not run again together. If the
        policy's ``jitter`` is 0, they do.
        """
        return self.delay(n, 0.5) * (0.5 + jitter if self.jitter else 1.0)

    def retries(self, error: BaseException) -> bool:
        """Return whether the policy retries this exception."""
        if not self.on and not self.never_on:
            return True
        names: set[str] = set()
        bases: tuple[type, ...] = _bases_of(type(error))[:-1]
        group = BaseExceptionGroup in bases  # not isinstance, which would run a ``__class__`` of the program
        for kind in bases:
            if not group or BaseExceptionGroup in _bases_of(kind):
                names.update((_class_name(kind), exception_name(kind), short_name(kind)))
        if any(_name(entry) in names for entry in self.never_on):
            return False
        if any(_name(entry) in names for entry in self.on):
            return True
        if group:
            return all(self.retries(member) for member in _members_of(error))
        return not self.on


def checked_policy(policy: object) -> RetryPolicy:
    """Return the policy that is given as ``retry=``.

    :raises ConfigurationError: it is not a policy, or is of a subclass: only fields are stored, and no methods.
    """
    if type(policy) is RetryPolicy:
        return policy
    if not is_a(policy, RetryPolicy):
        raise ConfigurationError("retry", policy, allowed="a RetryPolicy", hint="RetryPolicy(max_retries=5)")
    name = short_name(type(policy))
    raise ConfigurationError(
        "retry",
        policy,
        problem=f"retry cannot be a {name}: a policy is stored as its fields, so what a subclass of RetryPolicy adds "
        "would be ignored",
        hint="RetryPolicy(on=[…], never_on=[…]) chooses errors, base=, factor=, cap= and jitter= the delays; for a "
        "decision that needs code, let the function raise an error of a class that never_on names",
    )


def _whole(value: object) -> int:
    # Integral: numpy's numbers are not ints.
    whole = -1 if is_a(value, bool) or not issubclass(type(value), Integral) else int(cast("Any", value))
    if not 0 <= whole < 1 << 63:
        raise ConfigurationError("max_retries", value, allowed="a whole number from 0")
    return whole


def _float(value: object) -> float | None:
    """Return a number of any type (Decimal, Fraction, numpy's) as a float; None if it is not one."""
    if type(value) is float:
        return value
    if is_a(value, bool) or not issubclass(type(value), (Real, Decimal)):
        return None
    try:
        return float(cast("Any", value))
    except (ValueError, OverflowError):  # a signalling NaN; an int beyond every float
        return None


def _kinds(field: str, given: object) -> tuple[type[BaseException] | str, ...]:
    if not issubclass(type(given), Collection):
        hint = "give a list, also of one: [ConnectionError]"
        raise ConfigurationError(field, given, allowed="exception classes, or their names", hint=hint)
    hint = "give a list, also of one: [ConnectionError]"
    entries: list[object] = listed(field, given, "exception classes, or their names", hint=hint)
    for entry in entries:
        named = is_a(entry, str) and entry.isprintable() and entry
        if not named and not (is_a(entry, type) and issubclass(entry, BaseException)):
            raise ConfigurationError(field, cast("object", entry), allowed="exception classes, or their names")
    return tuple(cast("list[type[BaseException] | str]", entries))


DEFAULT_RETRY = RetryPolicy()


def _name(entry: type[BaseException] | str) -> str:
    return entry if isinstance(entry, str) else _class_name(entry)


def _class_name(kind: type) -> str:
    """Return the name under which a class is stored.

    A class of the main script has its bare name, because its module has another name in every process.
    """
    module, qualname = _module_of(kind), short_name(kind)
    return qualname if module in MAIN_NAMES else f"{module if type(module) is str else '?'}.{qualname}"


def encode_policy(policy: RetryPolicy | None) -> bytes | None:
    """Encode a policy for storage; None stands for the default policy, which takes no room."""
    if policy is None or policy is DEFAULT_RETRY or policy == DEFAULT_RETRY:
        return None
    return msgpack.encode(
        (
            policy.max_retries,
            policy.base,
            policy.factor,
            policy.cap,
            policy.jitter,
            [_name(entry) for entry in policy.on],
            [_name(entry) for entry in policy.never_on],
        )
    )


@functools.lru_cache(maxsize=1000)
def decode_policy(data: bytes | None) -> RetryPolicy:
    """Return the policy that ``encode_policy`` stored."""
    if data is None:
        return DEFAULT_RETRY
    *numbers, on, never_on = msgpack.decode(data)
    return RetryPolicy(*numbers, on=tuple(on), never_on=tuple(never_on))
