"""Find the functions that a child process runs, by their stored names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from asyncjobs.core.codec import resolve_callable
from asyncjobs.core.codec.adapters import ADAPTERS, find_library
from asyncjobs.core.codec.names import loaded_module, module_of, split_name
from asyncjobs.core.mains import APP_MARK
from asyncjobs.runtime.main_script import load_main, loading
from asyncjobs.runtime.preload import set_up_for


def load(name: str) -> Callable[..., Any]:
    """Find the function with this stored name; import its module, or load the script, if it is not here yet."""
    module = module_of(name)
    found = loaded_module(module)
    if found is None:
        importlib.invalidate_caches()  # the file may have been created after this process has started
        with loading(module):
            found = load_main(module) if os.path.isabs(module) else importlib.import_module(module)
    if not os.path.isabs(module):
        # It may be the module by which the parent runs a script that is not on this machine: find classes in it, too.
        setattr(found, APP_MARK, True)
    return resolve_callable(name)


def set_up_for_adapter(name: str) -> None:
    """Prepare this process for the library that an adapter in a stored name needs."""
    adapter = split_name(name)[0]
    library = find_library(adapter) if adapter is not None and adapter in ADAPTERS else None
    if library is not None:
        set_up_for(library)


def find_function(name: str) -> Callable[..., Any] | None:
    """Return the function that returned an injected result, if its module is imported; import nothing for it."""
    try:
        return resolve_callable(name)
    except Exception:  # border: CallableNotFoundError, and any error of a lazy proxy
        return None
