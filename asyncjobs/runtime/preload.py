"""Import the modules of ``DaemonConfig.preload`` before the first job is claimed.

A library that takes seconds to import would hold up the first job that needs it, and the event loop with it.
"""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Sequence

from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.daemon")


async def preload(modules: tuple[str, ...], *, freeze: bool) -> None:
    """Import these modules in a thread. A caller that is cancelled does not wait for one that hangs.

    :param freeze: see ``import_modules``.
    :raises ConfigurationError: one of them cannot be imported.
    """
    began = time.monotonic()
    await in_thread(import_modules, modules, freeze, abandon_on_cancel=True)
    logger.info("preloaded %s in %.1f s", ", ".join(modules), time.monotonic() - began)


class Libraries:
    """Imports the libraries that adapters need, each once, beside the loop that claims.

    :param owns_process: set the process up for them, too.
    """

    def __init__(self, *, owns_process: bool) -> None:
        self._owns_process = owns_process
        self._loaded: set[str] = set()

    async def load(self, library: str | None) -> None:
        """Import a library. Whether that has worked is found out by whoever needs it."""
        if library is None or library in self._loaded:
            return
        self._loaded.add(library)
        try:
            await preload((library,), freeze=self._owns_process)
        except ConfigurationError as error:
            logger.warning("%s", error.args[0])


_SETUPS = {"crewai": "asyncjobs.integrations.crewai.environment"}
"""By library, the module whose ``set_up()`` prepares a process of ours for it, and whose ``warm_up()`` loads what it
would load when it is first used."""


def set_up_for(name: str) -> None:
    """Prepare a process that runs jobs and nothing else, before it imports a module."""
    setup = _SETUPS.get(name.partition(".")[0])
    if setup is not None:
        importlib.import_module(setup).set_up()


def _warm_up_for(name: str) -> None:
    """Load what a module would load when it is first used."""
    setup = _SETUPS.get(name)
    if setup is not None:
        importlib.import_module(setup).warm_up()


def import_modules(modules: Sequence[str], freeze: bool) -> None:
    """Import these modules, in this order.

    :param freeze: prepare the process for them, and call ``exclude_from_collections``. It is for processes that run
        jobs and nothing else.
    :raises ConfigurationError: one of them cannot be imported.
    """
    for name in modules:
        if freeze:
            set_up_for(name)
        try:
            importlib.import_module(name)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # border: a module may raise anything, or exit
            problem = f"preload: module {name!r} cannot be imported: {type(error).__name__}: {error}"
            raise ConfigurationError("DaemonConfig.preload", name, problem=problem, hint=_hint(name, error)) from error
    if freeze:
        for name in modules:
            _warm_up_for(name)
        exclude_from_collections()


def exclude_from_collections() -> None:
    """Collect garbage, and have later collections skip all objects that exist now.

    A collection stops every thread: for 50 ms with what the SQS store loads, a fifth of a second with large libraries.
    """
    gc.collect()
    gc.freeze()


def _hint(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(f"{error.name}."):
        return "install it for this Python, or correct the name"
    if isinstance(error, SystemExit):
        return f"it ends the program that imports it: put that under 'if __name__ == \"__main__\":' in {name}"
    return f"the whole traceback: python -c 'import {name}'"
