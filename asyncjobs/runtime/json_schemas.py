"""Check answers by a stored JSON Schema, in processes that do not have the type of the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import count
from typing import Any

from asyncjobs.exceptions import MissingExtraError

_MOST_CHECKS = 500_000
"""Keywords that are checked for one answer: a schema of 2 kB whose parts refer to each other twice has 2³⁰ of them."""


def load_library() -> Any:
    """Import the library that checks schemas, which takes too long for an event loop.

    :raises MissingExtraError: it is not installed.
    """
    try:
        return import_module("jsonschema")
    except ImportError:
        what = "checking an answer by the stored schema (not needed with answer_type=)"
        raise MissingExtraError("client", what=what) from None


def find_misfit(schema: Mapping[str, Any], value: Any) -> tuple[str, str] | None:
    """Return why a value does not fit a schema, and the path of the misfit; None if it fits.

    References are resolved only within the schema itself, and never fetched.

    :raises MissingExtraError: it cannot be checked here.
    """
    library = load_library()
    referencing: Any = import_module("referencing")  # a dependency of the library
    base = library.Draft202012Validator
    steps = count(1)
    counted = {name: _counted(check, steps) for name, check in base.VALIDATORS.items()}
    # JSON Schema accepts 1.0 as an integer, but the type that reads the answer does not.
    exact = library.validators.extend(base, counted, type_checker=base.TYPE_CHECKER.redefine("integer", _is_integer))
    # A schema that names its dialect would be checked by the class of the library as soon as it refers to itself.
    own = {name: part for name, part in schema.items() if name != "$schema"}
    try:
        error = library.exceptions.best_match(exact(own, registry=referencing.Registry()).iter_errors(value))
    except _TooManyChecksError:
        return f"it takes more than {_MOST_CHECKS:,} checks by its schema", ""
    except Exception as problem:  # border: an invalid schema of another program may break the library anywhere
        return f"its schema cannot be checked: {type(problem).__name__}: {problem}", ""
    return None if error is None else (error.message, error.json_path.removeprefix("$"))


class _TooManyChecksError(Exception):
    """An answer takes too long to be checked by its schema."""


def _counted(check: Callable[..., Any], steps: count[int]) -> Callable[..., Any]:
    """Return the check of a keyword that counts its calls, together with those of the others."""

    def checked(*arguments: Any) -> Any:
        if next(steps) > _MOST_CHECKS:
            raise _TooManyChecksError
        return check(*arguments)

    return checked


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
