"""Make an engine from the store, settings and functions that a program passes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.select import make_backend
from asyncjobs.checks import is_a, listed
from asyncjobs.clock import Clock, checked_clock
from asyncjobs.config import BackendConfig, BackendType, DaemonConfig
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.runtime.engine import Engine
from asyncjobs.runtime.events.publisher import EventPublisher
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.parts import EngineSettings


def new_engine(
    backend: BackendType | str | os.PathLike[str] | BackendConfig | JobBackend,
    config: BackendConfig | None = None,
    *,
    daemon: DaemonConfig | None,
    enable_daemon: bool = True,
    functions: Iterable[Callable[..., Any]] = (),
    fallback: object = None,
    clock: Clock | None = None,
    ctrl_c_elsewhere: bool = False,
    publisher: EventPublisher | None = None,
) -> Engine:
    """Check the arguments of a ``JobProcessor``, and return the engine that they describe.

    :param publisher: passes events on, too, for as long as the engine runs.
    :raises ConfigurationError: a setting cannot work.
    """
    clock = checked_clock("clock", clock)
    store, backend_config = make_backend(backend, config, clock)
    if daemon is not None and not is_a(daemon, DaemonConfig):
        raise ConfigurationError("daemon", daemon, allowed="a DaemonConfig")
    enabled: object = enable_daemon
    if enabled is not True and enabled is not False:
        raise ConfigurationError("enable_daemon", enabled, allowed="True or False")
    if fallback is not None and (not is_a(fallback, str) or fallback != "sync" or enabled):
        raise ConfigurationError("fallback", fallback, allowed="None, or 'sync' with enable_daemon=False")
    given: object = publisher
    if given is not None and (not is_a(given, EventPublisher) or given.backend is not store):
        raise ConfigurationError("event_publisher", given, allowed="an EventPublisher of the same backend")
    known = Functions(daemon.allowed_modules if daemon else None)
    for i, function in enumerate(listed("functions", functions, "functions, in a list")):
        known.register(function, f"functions[{i}]")
    worker = (DaemonConfig() if daemon is None else daemon).for_store(backend_config)
    settings = EngineSettings(
        clock=clock,
        backend_config=backend_config,
        daemon=worker if enabled else None,
        fallback=worker if fallback is not None else None,
        ctrl_c_elsewhere=ctrl_c_elsewhere,
    )
    return Engine(store, known, settings, publisher)


def run_app_with(engine: Engine, backend: JobBackend | BackendConfig, daemon: DaemonConfig) -> None:
    """Have the engine of an application run jobs with this store and these settings in place of its own (ADR 25), in a
    process that does nothing else.

    :raises BackendClosedError: it is entered already.
    """
    clock = engine.settings.clock
    store, backend_config = make_backend(backend, None, clock)
    functions = Functions(daemon.allowed_modules)
    for function in engine.functions.registered.values():
        functions.register(function)
    worker = daemon.for_store(backend_config)
    settings = EngineSettings(clock=clock, backend_config=backend_config, daemon=worker, owns_process=True)
    engine.run_with(store, functions, settings)
