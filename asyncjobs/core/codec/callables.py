"""Turn callables into stored names and back.

A job is stored with the name of its function, so a callable is accepted only if its name leads back to that very
object. ``describe_callable`` checks this at submit, ``resolve_callable`` finds the object in the worker.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os.path
import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, MethodType, ModuleType
from typing import Any

import msgspec

from asyncjobs.core.codec.adapted import Mark, find_mark
from asyncjobs.core.codec.adapters import ADAPTERS, adapt, adapt_named, check_runnable, find_problem
from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.codec.hints import MOST_LAYERS
from asyncjobs.core.codec.layers import wrapped_by
from asyncjobs.core.codec.names import (
    attribute,
    is_home,
    kind_of,
    loaded_module,
    main_name,
    seems,
    split_name,
    stored_module,
)
from asyncjobs.error_texts import shown
from asyncjobs.exceptions import ConfigurationError, MissingExtraError, NotSerializableError, SubmissionError

_MODULE_LEVEL = "move it to module level, or submit it with local=True (it then runs in this process only)"
_NO_METHOD = (
    "an object cannot be sent to another process; submit a module-level function that makes or finds it, or use "
    "local=True (it then runs in this process only)"
)
_IN_A_FILE = "put it into a file, or submit it with local=True (it then runs in this process only)"
_NAME_IT = (
    "bind it to a name in the module of its class, or wrap it in a module-level function, or submit it with "
    "local=True (it then runs in this process only)"
)


class CallableRef(msgspec.Struct, frozen=True):
    """A callable that another process can find again.

    ``func`` is the callable itself, without the ``functools.partial`` objects around it. Their arguments are ``args``
    and ``kwargs``, and go before and below the job's own arguments (see ``join``).
    """

    name: str
    func: Callable[..., Any]
    is_async: bool
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}

    def join(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return the arguments for ``func``: those of the partials, then ``args``; ``kwargs`` win over theirs."""
        if self.args:
            args = self.args + args
        if self.kwargs:
            kwargs = {**self.kwargs, **kwargs}
        return args, kwargs


class CallableNotFoundError(LookupError):
    """A stored name does not lead to a callable in this process, for the ``reason`` given."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot run here: {reason}")
        self.name = name
        self.reason = reason


# Name and asyncness only: an entry that held its own function would keep it alive for ever.
_described: IdentityCache[tuple[str, bool]] = IdentityCache()


def describe_callable(func: Callable[..., Any]) -> CallableRef:
    """Return the stored name of ``func`` and what to call.

    Functions, classes, static and class methods, builtins, and callable objects are accepted if the name leads back
    to the same object; so is ``functools.partial`` of these.

    :raises NotSerializableError: another process could not find it again (at ``"$.func"``).
    :raises SubmissionError: it is a generator function, or not callable.
    """
    known = _described.get(func)
    if known is not None:
        return CallableRef(known[0], func, known[1])
    if seems(func, functools.partial):
        inner = describe_callable(func.func)
        args, kwargs = inner.join(func.args, func.keywords)
        return CallableRef(inner.name, inner.func, inner.is_async, args, kwargs)
    is_async = is_async_callable(func)
    mark = find_mark(func)
    name = _findable_name(func) if mark is None else f"{mark.adapter}+{_name_of_factory(mark)}"
    _described.put(func, (name, is_async))
    return CallableRef(name, func, is_async)


def _name_of_factory(mark: Mark) -> str:
    return describe_callable(mark.factory).name if mark.named is None else mark.named


def resolve_callable(name: str, *, allow_import: bool = False) -> Callable[..., Any]:
    """Return the callable with a stored name.

    The object must belong to the named module, so that an allowed module does not give access to what it imports
    (``app:os.system``, ``app:rmtree``). The caller must decide first whether the module may be used at all.

    :param allow_import: import the module if it is not loaded.
    :raises CallableNotFoundError: this process has no such callable.
    """
    problem = find_problem(name)
    if problem is not None:
        raise CallableNotFoundError(name, problem)
    adapter, factory = split_name(name)
    if adapter is not None:
        return adapted_as(name, resolve_callable(factory, allow_import=allow_import))
    return _find(name, allow_import=allow_import)


def _find(name: str, *, allow_import: bool) -> Callable[..., Any]:
    module_name, _, qualname = name.rpartition(":")
    if not module_name or not qualname:
        raise CallableNotFoundError(name, "it is not a name of the form 'module:function'")
    module = loaded_module(module_name) or _imported(name, module_name, allow_import)
    found: Any = module
    for part in qualname.split("."):
        if found is not module and not isinstance(found, type):
            raise CallableNotFoundError(name, f"{qualname} leads through something that is not a class")
        try:
            found = getattr(found, part)
        except Exception as error:  # border: a module's own __getattr__ may raise anything
            reason = f"the module {module_name} has no {qualname}"
            raise CallableNotFoundError(name, reason) from error
    if not callable(found):
        raise CallableNotFoundError(name, f"it is {kind_of(found)}, which cannot be called")
    home = _origin(found)[0]
    if home is None or not is_home(home, module_name, module):
        raise CallableNotFoundError(name, _not_at_home(found, home))
    return found


def adapted(adapter: str, factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return the callable that is submitted in place of a factory: an adapter calls the factory and runs what it makes.

    :raises ConfigurationError: there is no such adapter. SubmissionError: see ``adapt``.
    """
    if adapter not in ADAPTERS:
        raise ConfigurationError("adapter", adapter, allowed=", ".join(map(repr, sorted(ADAPTERS))))
    if seems(factory, functools.partial):
        return functools.partial(adapted(adapter, factory.func), *factory.args, **factory.keywords)
    try:
        name = describe_callable(factory).name
    except NotSerializableError:
        return adapt(adapter, factory)  # it may be submitted with local=True
    return _body(f"{adapter}+{name}", adapter, factory)


def adapted_by_name(adapter: str, name: str) -> Callable[..., Any]:
    """Return the callable that is submitted in place of a factory of which only the stored name is known here.

    :raises SubmissionError: it cannot be the name of a function.
    """
    module, _, qualname = name.rpartition(":")
    parts = [*module.split("."), *qualname.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise SubmissionError(
            f"{name!r} is not the name of a function of a module", hint='write it as "package.module:function"'
        )
    return adapt_named(adapter, name)


def result_reader(name: str) -> Callable[..., Any] | None:
    """Return a callable by whose annotation the results of a stored name with an adapter are read; None without one.

    The factory need not be known here: results are the adapter's.
    """
    adapter = split_name(name)[0]
    return None if adapter not in ADAPTERS else _reader(adapter)


@functools.cache
def _reader(adapter: str) -> Callable[..., Any]:
    return adapt_named(adapter, adapter)


def adapted_as(name: str, factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return the callable that is stored as ``name``: what its adapter makes of the factory that the name leads to.

    :raises CallableNotFoundError: the adapter takes no such factory, or its extra is not installed here.
    """
    adapter = name.partition("+")[0]
    try:
        check_runnable(adapter)
        return _body(name, adapter, factory)
    except MissingExtraError as error:
        raise CallableNotFoundError(name, f"{error.args[0]} ({error.hint})") from error
    except (ConfigurationError, SubmissionError) as error:
        raise CallableNotFoundError(name, str(error.args[0])) from error
    except ImportError as error:
        raise CallableNotFoundError(name, f"the adapter {adapter!r} cannot be imported: {error}") from error


_bodies: dict[str, Callable[..., Any]] = {}
"""By stored name, what an adapter made: one callable for each, because caches go by the identity of a callable."""
_MOST_BODIES = 1024


def _body(name: str, adapter: str, factory: Callable[..., Any]) -> Callable[..., Any]:
    known = _bodies.get(name)
    mark = None if known is None else find_mark(known)
    if known is not None and mark is not None and mark.factory is factory:
        return known
    body = adapt(adapter, factory)
    if len(_bodies) >= _MOST_BODIES:
        _bodies.clear()
    _bodies[name] = body
    return body


def _not_at_home(found: Any, home: str | None) -> str:
    """Return why a callable is not taken from the module that has it, for a message."""
    if home == _module_of_class(found):
        try:
            _ = found.__module__
        except Exception as error:  # border: a lazy proxy outside of its context, for example
            return f"it is {kind_of(found)}, whose __module__ raises {shown(error)}"
    if home is None:
        return f"it is {kind_of(found)}, which does not name the module it belongs to"
    return f"it belongs to the module {home}, and a function is named by its own module"


def is_async_callable(func: Callable[..., Any]) -> bool:
    """Return whether a call of ``func`` gives a coroutine: ``async def``, a partial of it, an async ``__call__``.

    :raises SubmissionError: it is a generator function, sync or async, or not callable.
    """
    inner: Any = func
    while seems(inner, functools.partial):
        inner = inner.func
    if not callable(inner):
        raise SubmissionError(
            f"{kind_of(inner)} is not callable",
            hint="pass the function itself and its arguments after it: submit_job(render, path)",
        )
    if seems(inner, type):
        return False
    bodies = (inner, type(inner).__call__)
    if any(_is(kind, body) for kind in (inspect.isgeneratorfunction, inspect.isasyncgenfunction) for body in bodies):
        raise SubmissionError(
            f"{callable_label(inner)} is a generator function, and a job returns one value",
            hint="collect its items in a list and return that, or report it with current_job().emit(…)",
        )
    return any(_is(inspect.iscoroutinefunction, body) for body in bodies)


def _is(kind: Callable[[Any], bool], body: Any) -> bool:
    try:
        return kind(body)
    except Exception:  # border: reading its attributes may run code of its own
        return False


def wraps_async(func: Callable[..., Any]) -> bool:
    """Return whether a plain ``func`` wraps an ``async def`` function, and so may return a coroutine."""
    inner = wrapped_by(func)
    for _ in range(MOST_LAYERS):
        if inner is None:
            break
        if _is(inspect.iscoroutinefunction, inner):
            return True
        inner = wrapped_by(inner)
    return False


def callable_label(func: Callable[..., Any]) -> str:
    """Return ``"pkg.mod:qualname"`` of any callable, for display and for ``local=True``. Never fails.

    The label of a callable that ``describe_callable`` refuses need not lead anywhere.
    """
    inner: Any = func
    while seems(inner, functools.partial):
        inner = inner.func
    module, qualname = _origin(inner)
    if qualname is None:
        qualname = f"{type(inner).__qualname__}.__call__"
    return f"{(module and stored_module(module)) or '__main__'}:{qualname}"


def _findable_name(func: Any) -> str:
    """Return the stored name of ``func``, after checking that it leads back to ``func``."""
    module, qualname = _claimed_name(func)
    stored = stored_module(module) if module else None
    if module is None or stored is None:
        why = "defined in an interactive session" if module else "it does not name the module it belongs to"
        raise _unfindable(func, qualname, _IN_A_FILE, why)
    if split_name(stored)[0] is not None:
        raise _unfindable(
            func, f"{stored}:{qualname}", _MODULE_LEVEL, "a module whose name has a '+', as adapters have"
        )
    _check_leads_back(func, module, qualname)
    return f"{stored}:{qualname}"


def _claimed_name(func: Any) -> tuple[str | None, str]:
    """Return the module and the name that ``func`` has, or is bound to; refuse those that cannot lead back."""
    module, qualname = _origin(func)
    owner = attribute(func, "__self__")
    if owner is not None and not seems(owner, (type, ModuleType)):
        what = f"a method of {kind_of(owner)} object"
        raise _unfindable(func, what, _NO_METHOD)
    if qualname is None:
        qualname = next(_names_in_module(func, module), None)
        if qualname is None:
            raise _unfindable(func, f"{kind_of(func)} object without a name", _NAME_IT)
    if qualname.endswith("<lambda>"):
        raise _unfindable(func, "<lambda>", _MODULE_LEVEL)
    if "<locals>" in qualname:
        raise _unfindable(func, qualname, _MODULE_LEVEL, "defined inside a function")
    return module, qualname


def _check_leads_back(func: Any, module: str, qualname: str) -> None:
    found: Any = sys.modules.get(module)
    try:
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception:  # AttributeError; border: a class on the way may have a __getattr__ of its own
        raise _unfindable(func, f"{module}:{qualname}", _MODULE_LEVEL, "a name that leads nowhere") from None
    # Bound methods and builtin methods are new objects on every access, and equal.
    if found is not func and not (seems(func, (MethodType, BuiltinFunctionType)) and found == func):
        why = "a name that now leads to something else: decorated, shadowed or reloaded"
        hint = f"submit what {qualname} is now, or give this one a name of its own at module level"
        raise _unfindable(func, f"{module}:{qualname}", hint, why)


def _origin(func: Any) -> tuple[str | None, str | None]:
    """Return the module and the qualified name that ``func`` claims, each None if it has none."""
    owner = attribute(func, "__self__")
    if seems(owner, type):
        # By the class it was taken from: Sub.make, an inherited classmethod, has the qualified name "Base.make".
        return owner.__module__, f"{owner.__qualname__}.{func.__name__}"
    owner = attribute(func, "__objclass__")
    if seems(owner, type):  # str.upper
        return owner.__module__, f"{owner.__qualname__}.{func.__name__}"
    module = attribute(func, "__module__")
    if not isinstance(module, str):
        module = _module_of_class(func)
    for field in ("__qualname__", "__name__"):
        name = attribute(func, field)
        if isinstance(name, str) and name:
            return module, name
    return module, None


def _module_of_class(func: object) -> str | None:
    """Return the module of an object's class, for an object without a module of its own."""
    module = attribute(type(func), "__module__")
    return module if isinstance(module, str) and module != "builtins" else None


def _names_in_module(func: Any, module: str | None) -> Iterator[str]:
    """Return the names of a callable object in the module of its class.

    Other modules are not searched: the first one that imported it would give the name, which differs between processes.
    """
    namespace = vars(sys.modules[module]) if module in sys.modules else {}
    return (name for name, value in list(namespace.items()) if value is func)


def _unfindable(func: Any, what: str, hint: str, why: str = "") -> NotSerializableError:
    code = attribute(func, "__code__")
    where = f" at {os.path.basename(code.co_filename)}:{code.co_firstlineno}" if isinstance(code, CodeType) else ""
    reason = f" ({why})" if why else ""
    return NotSerializableError(
        "$.func", f"{what}{where}{reason}, which another process could not find again", hint=hint
    )


def _imported(name: str, module_name: str, allow_import: bool) -> ModuleType:
    if os.path.isabs(module_name):
        reason = f"it was submitted by the script {module_name}, and this process runs {main_name() or 'no script'}"
        raise CallableNotFoundError(name, reason)
    if not allow_import:
        raise CallableNotFoundError(name, f"the module {module_name} is not loaded in this process")
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # border: the body of a module may raise anything, a script may exit
        reason = f"importing {module_name} failed with {type(error).__name__}: {error}"
        raise CallableNotFoundError(name, reason) from error
