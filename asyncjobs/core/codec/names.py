"""Return the stored names of modules and their members, and find what is loaded under a stored name.

A stored name is ``"pkg.mod:Class.attribute"``, or ``"adapter+pkg.mod:make"`` for what an adapter makes of a factory.
What was defined in ``__main__`` is stored under the module name that ``python -m`` was given (``pkg.mod``,
``pkg.__main__``), else under the real path of the script (``/app/jobs.py:render``), because ``__main__`` is a different
module in every process. A process that imported that file under another name finds it there.
"""

from __future__ import annotations

import os.path
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeGuard

from asyncjobs.core.codec.script_modules import real_path, script_module
from asyncjobs.core.mains import MAIN, MAIN_NAMES
from asyncjobs.core.retry import exception_name

_EMPTY: Mapping[str, Any] = {}
JOB_OPTIONS = "__asyncjobs__"
"""The attribute that ``@job`` leaves on a function."""


def split_name(name: str) -> tuple[str | None, str]:
    """Return the adapter with which a stored name begins, None without one, and the name of the callable itself.

    The path of a script may have a ``+`` in it, and begins with a slash.
    """
    adapter, plus, rest = name.partition("+")
    return (adapter, rest) if plus and "/" not in adapter and ":" not in adapter else (None, name)


def module_of(name: str) -> str:
    """Return the module in a stored name: that of the factory, if it begins with an adapter."""
    return split_name(name)[1].rpartition(":")[0]


def main_name() -> str | None:
    """Return the stored name of this process's ``__main__``: a module, a real path, or None (REPL, ``python -c``)."""
    main = sys.modules.get(MAIN)
    spec: Any = getattr(main, "__spec__", None)
    # The spec of a directory or zip file that is run has only the name "__main__".
    if spec is not None and spec.name not in MAIN_NAMES:
        return str(spec.name)
    file: Any = getattr(main, "__file__", None)
    if not isinstance(file, str) or file.startswith("<"):
        return None
    return real_path(file)


def stored_module(module: str) -> str | None:
    """Return the name under which objects of ``module`` are stored; None for a ``__main__`` of this process alone."""
    return main_name() if module in MAIN_NAMES else module


def loaded_module(name: str) -> ModuleType | None:
    """Return the module with this stored name if it is loaded. Imports nothing."""
    main = main_name()
    if name in MAIN_NAMES:
        # Stored by a session without a name; only another such session may use its own.
        return sys.modules.get(MAIN) if main is None else None
    # __main__ first: if it was imported a second time under its real name, the running one is meant.
    if name == main:
        return sys.modules.get(MAIN)
    return script_module(name) if os.path.isabs(name) else sys.modules.get(name)


def is_home(home: str, name: str, module: ModuleType | None) -> bool:
    """Return whether an object whose ``__module__`` is ``home`` belongs to ``module``, found by the stored ``name``."""
    return stored_module(home) == name or (os.path.isabs(name) and sys.modules.get(home) is module)


def loaded_class(module: str, qualname: str) -> type | None:
    """Return the class with this name if its module is loaded. Imports nothing and runs no code of the module.

    Names come from stored data, so this reads ``__dict__`` only: a module's ``__getattr__`` and descriptors do not run,
    and every step must be a class.
    """
    home = loaded_module(module)
    found = _class_in(home, qualname)
    if found is None:
        return None
    # The class must have this very name, and not be imported from elsewhere.
    own = stored_module(found.__module__) is None or is_home(found.__module__, module, home)
    return found if own and found.__qualname__ == qualname else None


def _class_in(module: ModuleType | None, qualname: str) -> type | None:
    found: Any = module
    for part in qualname.split("."):
        # sys.modules can hold any object, even one without __dict__.
        namespace: Mapping[str, Any] = getattr(found, "__dict__", _EMPTY)
        found = namespace.get(part)
        if not isinstance(found, type):
            return None
    return found


def class_of(value: object) -> type:
    """Return the class of a value, typed as a plain class whatever its declared type is."""
    return type(value)


def seems(value: object, kinds: type | tuple[type, ...]) -> TypeGuard[Any]:
    """Return whether a callable is of one of these classes, or is a proxy of one.

    Never fails: if its ``__class__`` raises, its real type counts.
    """
    try:
        return isinstance(value, kinds)
    except Exception:  # border: __getattribute__ and __class__ may be the program's own code
        return issubclass(type(value), kinds)


def attribute(value: object, name: str) -> Any:
    """Return an attribute of a callable; None if it has none, or if its ``__getattr__`` raises."""
    try:
        return getattr(value, name, None)
    except Exception:  # border: as above
        return None


def class_name(cls: type) -> tuple[str, str]:
    """Return the module and the qualified name under which a class is stored."""
    return stored_module(cls.__module__) or cls.__module__, cls.__qualname__


def defining_class(cls: type) -> type | None:
    """Return the class that the module of ``cls`` has under its name; it may be another one, or None."""
    return _class_in(sys.modules.get(cls.__module__), cls.__qualname__)


def is_named(cls: type, module: str, qualname: str) -> bool:
    """Return whether a class is the one that was stored under this name, perhaps by a script that is a module here.

    Only for classes that are expected at this place: a script equals a module of the same file name.
    """
    return cls.__qualname__ == qualname and _same_module(stored_module(cls.__module__) or cls.__module__, module)


def same_function(one: str, other: str) -> bool:
    """Return whether two stored names are those of one function, perhaps of a script that is a module elsewhere."""
    if one == other:
        return True
    (adapter, one), (other_adapter, other) = split_name(one), split_name(other)
    (module, _, name), (other_module, _, other_name) = one.rpartition(":"), other.rpartition(":")
    return adapter == other_adapter and name == other_name and _same_module(module, other_module)


def _same_module(one: str, other: str) -> bool:
    return one == other or ((os.path.isabs(one) or os.path.isabs(other)) and module_stem(one) == module_stem(other))


def module_stem(module: str) -> str:
    """Return the file name of a script or a module, without its suffix."""
    return os.path.basename(module).removesuffix(".py") if os.path.isabs(module) else module.rpartition(".")[2]


def type_name(cls: type) -> str:
    """Return the name of a class for messages: ``"int"`` for a builtin, else ``"pkg.mod.Class"``."""
    return exception_name(cls)


def kind_of(value: object) -> str:
    """Return the type of a value for messages: ``"a list"``, ``"an httpx.Client"``."""
    return with_article(type_name(type(value)))


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun by its sound: a list, an int, an httpx.Client."""
    first = noun.lstrip("_")[:2].lower()
    spoken_letter = first[:1] in {"h", "m"} and first[1:] in {"t", "p"}  # httpx, html, mp3
    return f"{'an' if first[:1] in set('aeio') or spoken_letter else 'a'} {noun}"
