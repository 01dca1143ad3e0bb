"""RetryPolicy: which failures are retried, how often, and after what delay."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from asyncjobs import ConfigurationError, RetryPolicy
from asyncjobs.core.retry import DEFAULT_RETRY, checked_policy, decode_policy, encode_policy, exception_name


class FlakyError(ConnectionError):
    """A user's own error."""


def test_the_default_doubles_from_two_seconds() -> None:
    assert [DEFAULT_RETRY.delay(n, 0.5) for n in (1, 2, 3)] == [2.0, 4.0, 8.0]


def test_the_cap_holds_also_where_the_power_overflows() -> None:
    policy = RetryPolicy(cap=60)
    assert policy.delay(10, 0.5) == 60.0
    assert policy.delay(100_000, 0.5) == 60.0


@settings(deadline=None)  # a busy machine breaks no rule
@given(st.integers(0, 50), st.floats(0, 1), st.floats(0, 1))
def test_jitter_stays_within_its_share(n: int, jitter: float, share: float) -> None:
    policy = RetryPolicy(jitter=share)
    middle = policy.delay(n, 0.5)
    assert middle * (1 - share) - 1e-9 <= policy.delay(n, jitter) <= middle * (1 + share) + 1e-9


@pytest.mark.parametrize(
    ("policy", "error", "retried"),
    [
        (RetryPolicy(), ValueError(), True),
        (RetryPolicy(), SystemExit(), True),
        (RetryPolicy(on=(ConnectionError,)), FlakyError(), True),
        (RetryPolicy(on=(ConnectionError,)), ValueError(), False),
        (RetryPolicy(on=("FlakyError",)), FlakyError(), True),
        (RetryPolicy(on=(f"{__name__}.FlakyError",)), FlakyError(), True),
        (RetryPolicy(never_on=(FlakyError,)), FlakyError(), False),
        (RetryPolicy(never_on=(FlakyError,)), ConnectionError(), True),
        (RetryPolicy(on=(OSError,), never_on=("ConnectionError",)), FlakyError(), False),
    ],
)
def test_errors_are_matched_by_name_along_their_bases(policy: RetryPolicy, error: BaseException, retried: bool) -> None:
    assert policy.retries(error) is retried
    assert decode_policy(encode_policy(policy)).retries(error) is retried


def test_a_stored_policy_comes_back_and_the_default_takes_no_room() -> None:
    assert encode_policy(None) is None
    assert encode_policy(RetryPolicy()) is None
    decode_policy.cache_clear()  # what an earlier test asked for would be answered without being decoded
    assert decode_policy(None) is DEFAULT_RETRY
    policy = RetryPolicy(max_retries=7, base=0.5, cap=9, on=(KeyError,), never_on=(FlakyError,))
    stored = decode_policy(encode_policy(policy))
    assert (stored.max_retries, stored.base, stored.cap) == (7, 0.5, 9)
    assert list(stored.on) == ["builtins.KeyError"]
    assert list(stored.never_on) == [exception_name(FlakyError)]


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("max_retries", -1, "max_retries cannot be -1; allowed: a whole number from 0"),
        ("max_retries", True, "max_retries cannot be True; allowed: a whole number from 0"),
        ("base", -1, "RetryPolicy.base cannot be -1; allowed: a number from 0"),
        ("base", math.nan, "RetryPolicy.base cannot be nan; allowed: a number from 0"),
        ("factor", 0.5, "RetryPolicy.factor cannot be 0.5; allowed: a number from 1"),
        ("cap", math.inf, "RetryPolicy.cap cannot be inf; allowed: a number from 0"),
        ("jitter", 1.5, "RetryPolicy.jitter cannot be 1.5; allowed: a number from 0 to 1"),
        ("max_retries", 1 << 63, f"max_retries cannot be {1 << 63}; allowed: a whole number from 0"),
        ("base", "1", "RetryPolicy.base cannot be '1'; allowed: a number from 0"),
        ("base", None, "RetryPolicy.base cannot be None; allowed: a number from 0"),
        ("factor", True, "RetryPolicy.factor cannot be True; allowed: a number from 1"),
        ("factor", 2j, "RetryPolicy.factor cannot be 2j; allowed: a number from 1"),
        ("cap", Decimal("sNaN"), "RetryPolicy.cap cannot be Decimal('sNaN'); allowed: a number from 0"),
        ("on", [3], "RetryPolicy.on cannot be 3; allowed: exception classes, or their names"),
        ("on", [int], "RetryPolicy.on cannot be <class 'int'>; allowed: exception classes, or their names"),
        ("never_on", [KeyError, ""], "RetryPolicy.never_on cannot be ''; allowed: exception classes, or their names"),
        ("never_on", ["a\nb"], "RetryPolicy.never_on cannot be 'a\\nb'; allowed: exception classes, or their names"),
    ],
)
def test_a_value_that_cannot_work_is_refused(setting: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        RetryPolicy(**{setting: value})
    assert str(refused.value) == message


def test_a_number_beyond_every_float_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"RetryPolicy\.cap cannot be 1000"):
        RetryPolicy(cap=10**400)


@pytest.mark.parametrize("number", [3, 3.0, Decimal(3), Fraction(3)])
def test_numbers_of_any_kind_are_kept_as_floats(number: Any) -> None:
    policy = RetryPolicy(base=number, factor=number, cap=number, jitter=number / 6)
    numbers = [policy.base, policy.factor, policy.cap, policy.jitter]
    assert numbers == [3.0, 3.0, 3.0, 0.5]
    assert set(map(type, numbers)) == {float}


@pytest.mark.parametrize("module", [None, 5, b"somelib"])
def test_a_class_that_does_not_say_its_module_has_a_name_and_is_matched_by_it(module: Any) -> None:
    kind = type("OddError", (Exception,), {"__module__": module})
    assert exception_name(kind) == "?.OddError"
    for policy in (RetryPolicy(on=(kind,)), RetryPolicy(on=("OddError",)), RetryPolicy(on=(Exception,))):
        assert decode_policy(encode_policy(policy)).retries(kind())
    assert not RetryPolicy(on=("somelib.OddError",)).retries(kind())


def test_after_an_interruption_the_delay_is_spread_widely() -> None:
    policy = RetryPolicy(base=2, factor=2)
    assert [policy.delay_after_interruption(1, draw) for draw in (0.0, 0.5, 1.0)] == [2.0, 4.0, 6.0]
    assert [RetryPolicy(base=2, jitter=0).delay_after_interruption(0, draw) for draw in (0.0, 1.0)] == [2.0, 2.0]


# -- what a class and a name mean

Foreign = type("ConnectionError", (Exception,), {"__module__": "somelib.errors"})
OfTheScript = type("ScriptError", (Exception,), {"__module__": "__main__"})
OfTheScriptInAChild = type("ScriptError", (Exception,), {"__module__": "__asyncjobs_main__"})


class Strict(ExceptionGroup[Exception]):
    pass


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("policy", "error", "retried"),
    [
        # a class given as a class: itself and its subclasses
        (RetryPolicy(on=(ConnectionError,)), Foreign(), False),
        (RetryPolicy(on=(ConnectionError,)), ConnectionResetError(), True),
        (RetryPolicy(on=(Foreign,)), ConnectionError(), False),
        (RetryPolicy(on=(Foreign,)), Foreign(), True),
        (RetryPolicy(never_on=(ConnectionError,)), Foreign(), True),
        (RetryPolicy(on=("builtins.ConnectionError",)), Foreign(), False),
        # a bare name: any class of that name
        (RetryPolicy(on=("ConnectionError",)), Foreign(), True),
        (RetryPolicy(on=("ConnectionError",)), ConnectionResetError(), True),
        (RetryPolicy(on=("somelib.errors.ConnectionError",)), Foreign(), True),
        (RetryPolicy(on=("somelib.errors.ConnectionError",)), ConnectionError(), False),
        (RetryPolicy(never_on=("ConnectionError",)), Foreign(), False),
        # the main script is called otherwise in every process
        (RetryPolicy(on=(OfTheScript,)), OfTheScriptInAChild(), True),
        (RetryPolicy(never_on=(OfTheScriptInAChild,)), OfTheScript(), False),
        # a group: each of its members
        (RetryPolicy(on=(ConnectionError,)), group(ConnectionError(), ConnectionResetError()), True),
        (RetryPolicy(on=(ConnectionError,)), group(ConnectionError(), ValueError()), False),
        (RetryPolicy(on=(ConnectionError,)), group(group(ConnectionError()), ConnectionError()), True),
        (RetryPolicy(on=(Exception,)), group(ValueError(), group(KeyError())), True),
        (RetryPolicy(never_on=(ValueError,)), group(ConnectionError(), group(ValueError())), False),
        (RetryPolicy(never_on=(ValueError,)), group(ConnectionError(), KeyError()), True),
        (RetryPolicy(never_on=(Exception,)), group(ConnectionError()), False),
        (RetryPolicy(on=("ConnectionError",)), group(Foreign(), ConnectionError()), True),
        (RetryPolicy(on=(ConnectionError,)), Strict("s", [ConnectionError()]), True),
        (RetryPolicy(on=(ConnectionError,)), BaseExceptionGroup("b", [KeyboardInterrupt()]), False),
        # a group that is named itself
        (RetryPolicy(on=(ExceptionGroup,)), group(ValueError()), True),
        (RetryPolicy(on=(Strict,)), Strict("s", [ValueError()]), True),
        (RetryPolicy(on=(Strict,)), group(ValueError()), False),
        (RetryPolicy(on=(Exception,), never_on=(Strict,)), Strict("s", [ValueError()]), False),
    ],
)
def test_a_class_is_that_class_a_name_any_and_a_group_its_members(
    policy: RetryPolicy, error: BaseException, retried: bool
) -> None:
    assert policy.retries(error) is retried
    assert decode_policy(encode_policy(policy)).retries(error) is retried


def test_a_policy_that_an_earlier_version_stored_is_read_as_it_was_meant() -> None:
    stored = msgpack.encode((2, 1.0, 2.0, 300.0, 0.1, ["ConnectionError", "somelib.errors.Foreign"], ["KeyError"]))
    policy = decode_policy(stored)
    assert policy.retries(ConnectionResetError())
    assert policy.retries(Foreign())  # "ConnectionError" meant any
    assert not policy.retries(KeyError())


@pytest.mark.parametrize(
    ("make", "problem", "hint"),
    [
        (lambda: RetryPolicy(max_retry=1), "RetryPolicy.max_retry is not a field", "did you mean 'max_retries'?"),
        (lambda: RetryPolicy(never=()), "RetryPolicy.never is not a field", "did you mean 'never_on'?"),
        (
            lambda: RetryPolicy(1, 2, 3, 4, 0.5, (), (), 8),
            "RetryPolicy takes its fields by name after the first 7",
            None,
        ),
        (lambda: RetryPolicy(max_retries=1.5), "max_retries cannot be 1.5; allowed: a whole number from 0", None),
        (lambda: RetryPolicy(on=ConnectionError), "RetryPolicy.on cannot be <class 'ConnectionError'>", "a list"),
    ],
)
def test_what_a_policy_is_not_made_of_is_refused(make: Any, problem: str, hint: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value.args[0]).startswith(problem)
    assert hint is None or hint in str(caught.value.hint)


class _Client:
    class Timeout(Exception): ...


@pytest.mark.parametrize(
    ("name", "retried"),
    [
        ("_Client.Timeout", True),
        (f"{__name__}._Client.Timeout", True),
        (_Client.Timeout, True),
        ("Timeout", False),
        (f"{__name__}.Timeout", False),
    ],
)
def test_a_class_inside_of_another_has_its_qualified_name(name: Any, retried: bool) -> None:
    assert RetryPolicy(on=[name]).retries(_Client.Timeout()) is retried
    assert RetryPolicy(never_on=[name]).retries(_Client.Timeout()) is not retried


@pytest.mark.parametrize("given", ["always", 3, {"max_retries": 3}])
def test_what_is_no_policy_is_refused_with_one(given: object) -> None:
    with pytest.raises(ConfigurationError, match="retry cannot be") as refused:
        checked_policy(given)
    assert "RetryPolicy(max_retries=5)" in str(refused.value)


def test_a_policy_is_itself() -> None:
    policy = RetryPolicy(max_retries=5)
    assert checked_policy(policy) is policy


def test_one_of_a_subclass_is_refused_with_what_its_code_could_do() -> None:
    class Patient(RetryPolicy): ...

    with pytest.raises(ConfigurationError, match=r"retry cannot be a .*Patient") as refused:
        checked_policy(Patient())
    assert "never_on" in str(refused.value)
