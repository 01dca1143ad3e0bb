"""Decide which functions this process may run, and find them.

A function runs here when this process submitted or registered it, when its module is allowed, or (embedded, without
``allowed_modules``) when it belongs to the program itself: a function of a module that the program has imported
already, and that is neither the standard library's nor an installed package's unless it is marked with ``@job``.
Nothing is ever imported because a stored job names it, except from ``allowed_modules``, and the adapters of a closed
table (``core/codec/adapters.py``), which run the object that a function makes, if that function may run here.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from asyncjobs.core.codec import (
    CallableNotFoundError,
    adapted_as,
    describe_callable,
    is_async_callable,
    resolve_callable,
)
from asyncjobs.core.codec.adapters import find_library, find_problem
from asyncjobs.core.codec.names import JOB_OPTIONS, attribute, loaded_module, module_of, seems, split_name
from asyncjobs.core.retry import exception_name
from asyncjobs.error_texts import shown
from asyncjobs.exceptions import ConfigurationError, NotSerializableError, SubmissionError
from asyncjobs.runtime.known_answers import KnownAnswers
from asyncjobs.runtime.local_callables import LocalCallables


class Functions:
    """Names to callables, as far as this process may run them."""

    def __init__(self, allowed_modules: Iterable[str] | None = None) -> None:
        self._allowed = None if allowed_modules is None else tuple(allowed_modules)
        self._known: dict[str, Callable[..., Any]] = {}
        self.registered: dict[str, Callable[..., Any]] = {}
        """Functions that the program registered: the only ones that a request may name."""
        self._async: dict[str, bool] = {}
        self._local_names: set[str] = set()
        self.local: LocalCallables = LocalCallables()
        self.answers: KnownAnswers = KnownAnswers()
        self.refused: dict[str, str] = {}
        self._names: frozenset[str] | None = None

    @property
    def names(self) -> frozenset[str]:
        """Every name that may run here."""
        if self._names is None:
            self._names = frozenset(self._known) | self._local_names
        return self._names

    def has(self, name: str, function: Callable[..., Any]) -> bool:
        """Return whether this very function may run in this process under this name."""
        return self._known.get(name) is function

    def add(self, name: str, function: Callable[..., Any]) -> bool:
        """Allow a function to run in this process; return whether it was not allowed before."""
        if self.has(name, function):
            return False
        self._known[name] = function
        self._async.pop(name, None)
        self.refused.pop(name, None)
        self._names = None
        return True

    def register(self, function: Callable[..., Any], field: str = "functions") -> None:
        """Allow an importable function to run here, under its own name.

        :raises ConfigurationError: other processes cannot find it by a name.
        """
        name = _checked_name(function, field)
        self.registered[name] = function
        self.add(name, function)

    def add_local(self, job_id: str, name: str, function: Callable[..., Any]) -> None:
        """Keep a callable that only this process has, for one job."""
        self.local.add(job_id, function)
        if name not in self._local_names:
            self._local_names.add(name)
            self._names = None

    def get(self, name: str, job_id: str) -> Callable[..., Any] | None:
        """Return the callable of this job, if it may run here."""
        function = self._known.get(name)  # compared with None: a callable may be false, or raise in ``__bool__``
        return self.local.get(job_id) if function is None else function

    def is_async(self, name: str, function: Callable[..., Any]) -> bool:
        """Return whether the body is awaited on the loop, found out once per name. Local callables of a name may
        differ."""
        if name in self._local_names:
            return is_async_callable(function)
        known = self._async.get(name)
        if known is None:
            known = self._async[name] = is_async_callable(function)
        return known

    def resolve(self, name: str) -> bool:
        """Resolve the function name of submitted jobs; return whether it may run here."""
        if name in self._known or name in self._local_names:
            return True
        # With an adapter, it may run if the factory may: the rest is code of the adapter, which is ours.
        adapter, plain = split_name(name)
        vouched = None if adapter is None else self._known.get(plain)
        listed = vouched is None and self._is_listed(module_of(name))
        reason = find_problem(name)
        if reason is None and vouched is None and not listed:
            reason = self._reason_against(plain)
        if reason is None:
            reason = self._add_found(name, vouched, listed=listed)
        if reason is not None:
            self.refused[name] = reason
        return reason is None

    def find_library(self, name: str) -> str | None:
        """Return the library that has to be imported to run jobs with this name, if an adapter of ours needs one.

        None if such jobs may not run here, whatever is imported.
        """
        adapter, plain = split_name(name)
        if adapter is None or find_problem(name) is not None:
            return None
        library = find_library(adapter)
        if library is None or plain in self._known or self._is_listed(module_of(name)):
            return library
        return library if self._reason_against(plain) is None else None

    def _add_found(self, name: str, vouched: Callable[..., Any] | None, *, listed: bool) -> str | None:
        """Find the callable with this name that may run here, or return the reason why none does.

        :param vouched: the factory that the name leads to, if this process knows it already.
        """
        try:
            self.add(
                name, resolve_callable(name, allow_import=listed) if vouched is None else adapted_as(name, vouched)
            )
            return None
        except CallableNotFoundError as error:
            return str(error)
        except Exception as error:  # border: a lazy proxy may raise anything when it is accessed
            return _unusable(name, error)

    def _is_listed(self, module_name: str) -> bool:
        return self._allowed is not None and any(
            own == module or own.startswith(f"{module}.")
            for own in _module_names(module_name)
            for module in self._allowed
        )

    def look_again(self) -> None:
        """Forget refusals: a module may have been imported since."""
        self.refused.clear()

    def _reason_against(self, name: str) -> str | None:
        module_name = name.rpartition(":")[0]
        if self._allowed is not None:
            return f"module {module_name!r} is not in allowed_modules"
        module = loaded_module(module_name)
        if module is None:
            return f"module {module_name!r} is not imported here, and not in allowed_modules"
        try:
            function = resolve_callable(name)
            marked = attribute(function, JOB_OPTIONS) is not None
        except CallableNotFoundError as error:
            return str(error)
        except Exception as error:  # border: as above
            return _unusable(name, error)
        if _is_installed(module) and not marked:
            return f"{name!r} is not the program's own code; register it, or list its module in allowed_modules"
        return None


def _checked_name(function: object, field: str) -> str:
    if not callable(function):
        hint = "give the function itself, not its name or what it returns: functions=[render]"
        raise ConfigurationError(field, function, allowed="a function", hint=hint)
    if seems(function, functools.partial):
        hint = "give the function that it wraps, and pass the arguments with each job"
        raise ConfigurationError(field, function, allowed="a function without arguments of its own", hint=hint)
    try:
        return describe_callable(function).name
    except NotSerializableError as error:
        why = f"it is {error.what}"
        hint = "give a function that is defined in a module, under its own name"
    except SubmissionError as error:
        why, hint = str(error.args[0]), error.hint
    raise ConfigurationError(field, function, problem=f"{field} cannot be {shown(function)}: {why}", hint=hint)


def _module_names(module_name: str) -> list[str]:
    """Return the stored name of a module, and the one under which a script is loaded here."""
    module = loaded_module(module_name) if os.path.isabs(module_name) else None
    return [module_name] if module is None else [module_name, module.__name__]


def _unusable(name: str, error: Exception) -> str:
    return f"{name} cannot run here: inspecting it raised {exception_name(type(error))}"


def _is_installed(module: ModuleType) -> bool:
    """Return whether a module is the standard library's or an installed package's."""
    if module.__name__.partition(".")[0] in sys.stdlib_module_names and module.__name__ != "__main__":
        return True
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ != "__main__"
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _install_folders())


def _install_folders() -> set[Path]:
    paths = sysconfig.get_paths()
    folders = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()}
    folders.add(site.getusersitepackages())
    return {Path(folder).resolve() for folder in folders}
