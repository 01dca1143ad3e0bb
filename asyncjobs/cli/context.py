"""Give every command its settings, its output and access to the store."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property, wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from asyncjobs.cli.failures import NOT_FOUND, USAGE, Failure, render_failure
from asyncjobs.cli.hints import AT_LEAST, find_modules, start_command
from asyncjobs.cli.output import Form, Output
from asyncjobs.cli.signals import interruptible
from asyncjobs.cli.stores import ChosenStore, choose_store
from asyncjobs.config import LoggingConfig, SQSConfig
from asyncjobs.core.codec import adapted
from asyncjobs.core.codec.adapters import find_problem as find_adapter_problem
from asyncjobs.core.codec.names import split_name
from asyncjobs.core.mains import APP_MARK
from asyncjobs.error_texts import only_error
from asyncjobs.exceptions import ConfigurationError, JobProcessorError
from asyncjobs.models import JobStatus
from asyncjobs.requests import JobQuery
from asyncjobs.settings import PREFIX, Settings, load
from asyncjobs.spellings import nearest

if TYPE_CHECKING:
    from asyncjobs.processor import JobProcessor
    from asyncjobs.runtime.engine import Engine

P = ParamSpec("P")
T = TypeVar("T")

_OF_AWS = ("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", *(f"AWS_ENDPOINT_URL_{of}" for of in ("DYNAMODB", "S3", "SQS")))
"""Environment variables that select the store on AWS, besides the settings."""
_LOOKED_AT = 50


class Context:
    """The state of one invocation. Settings are read when a command first needs them."""

    def __init__(
        self, *, config: str | None, flags: dict[str, Any], form: Form, colour: bool | None, quiet: bool, verbose: int
    ) -> None:
        self._config = config
        self._flags = flags
        self._colour = colour
        self.out = Output(form, colour=colour, quiet=quiet, root=self.root_arguments)
        self.verbose = verbose
        self.when_interrupted: str | None = None
        """Hint for a user who interrupts the command now."""

    @property
    def json(self) -> bool:
        """Return whether errors are printed as JSON."""
        return self.out.json

    @cached_property
    def settings(self) -> Settings:
        """Return the settings, read from flags, environment and file.

        :raises Failure: one of them is invalid.
        """
        try:
            return load(config=self._config, flags=self._flags)
        except ConfigurationError as error:
            raise render_failure(error) from error

    @property
    def root_arguments(self) -> list[str]:
        """Return the options with which another command finds the same store and application."""
        return _given(
            ("--config", self._config), ("--db", self._flags.get("sqlite.db_path")), ("--app", self._flags.get("app"))
        )

    def unit_arguments(self, *, in_image: bool) -> list[str]:
        """Return these options for a command that the system starts: without ``--db``, and with absolute paths.

        :raises Failure: the configuration file is outside of the folder that an image is built from.
        """
        config = self._config or os.environ.get("ASYNCJOBS_CONFIG")
        if config is not None:
            path = Path(config).expanduser().absolute()
            config = str(path)
            if in_image:
                if not path.is_relative_to(Path.cwd()):
                    raise Failure(
                        f"the configuration file {config} would not be part of the image",
                        exit_code=USAGE,
                        hint="move it into this folder, which is copied into the image, and pass its new path",
                    )
                config = str(path.relative_to(Path.cwd()))
        return _given(("--config", config), ("--app", self._flags.get("app")))

    def unit_environment(self, *, in_image: bool) -> dict[str, str]:
        """Return the environment variables that set something, except the path of the store and credentials.

        A profile of AWS may name the region, and so the store. It is in a file of this machine, not in an image.
        """
        settings = {origin.source for name, origin in self.settings.origins.items() if name != "sqlite.db_path"}
        named = [name for name in settings if name.startswith(PREFIX)]
        if isinstance(self.chosen_store.config, SQSConfig):
            named += _OF_AWS if in_image else (*_OF_AWS, "AWS_PROFILE")
        return {name: os.environ[name] for name in sorted(named) if name in os.environ}

    def answer_as(self, form: Form) -> None:
        """Use another output format than that of the root command."""
        self.out = Output(form, colour=self._colour, quiet=self.out.quiet, root=self.root_arguments)

    def use_config(self, file: str) -> None:
        """Use this configuration file. Call it before the settings are read."""
        self._config = file
        self.answer_as(self.out.form)

    def add_flags(self, flags: dict[str, Any]) -> None:
        """Add the options of a sub-command. Call it before the settings are read."""
        self._flags.update(flags)
        self.answer_as(self.out.form)

    @property
    def log_config(self) -> LoggingConfig:
        """Return the logging settings, adjusted by ``-v`` and ``-q``."""
        config = self.settings.logging
        level = "debug" if self.verbose else "warning" if self.out.quiet else config.level
        return replace(config, level=level)

    def set_up_logging(self) -> None:
        """Show the log with ``-v``; otherwise only the output of the command is printed."""
        if self.verbose:
            from asyncjobs.observability.logs import set_up

            set_up(self.log_config, colour=self.out.colour)
        else:
            logging.getLogger("asyncjobs").addHandler(logging.NullHandler())

    @cached_property
    def chosen_store(self) -> ChosenStore:
        """Return the configured store, or else the application's own.

        :raises Failure: no other process can reach it.
        """
        return choose_store(self.settings, lambda: self._app_engine)

    def processor(self) -> JobProcessor:
        """Return a processor that runs jobs, not entered yet: the application's own, if there is one.

        :raises Failure: the processor would have nothing to run.
        """
        from asyncjobs.processor import JobProcessor, get_engine
        from asyncjobs.runtime.setup import run_app_with

        self.check_runnable()
        settings = self.settings
        daemon = replace(settings.daemon, **settings.of_command)
        # The object itself, because functions of its module use it.
        target = self.chosen_store.target
        jp = JobProcessor(target) if settings.app is None else self.app
        run_app_with(get_engine(jp), target, daemon)
        return jp

    def check_runnable(self) -> None:
        """Check that a daemon with these settings could run something: import what it may run.

        :raises Failure: nothing is configured that it may run, or an import fails.
        """
        settings = self.settings
        if settings.app is None and settings.daemon.allowed_modules is None:
            raise Failure(
                "this daemon has nothing to run: no application and no allowed modules are configured",
                exit_code=USAGE,
                hint="--app module:attribute, or --allow MODULE for each module whose functions are jobs",
                code="nothing-allowed",
            )
        if settings.app is not None:
            _ = self.app
        for module_name in settings.daemon.allowed_modules or ():
            self._import_module(module_name)

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a command body; turn errors of this package into failures with an exit code."""
        import anyio

        try:
            return anyio.run(function)
        except (JobProcessorError, BaseExceptionGroup) as error:
            inner = only_error(error)
            if isinstance(inner, JobProcessorError):
                raise render_failure(inner) from error
            if isinstance(inner, (click.ClickException, KeyboardInterrupt)):
                raise inner from error
            raise

    @asynccontextmanager
    async def store(self, *, must_exist: bool = True) -> AsyncGenerator[JobProcessor]:
        """Open a processor on the configured store, without a daemon.

        :raises Failure: the file does not exist, and ``must_exist``.
        """
        from asyncjobs.processor import JobProcessor

        self.set_up_logging()
        chosen = self.chosen_store
        if must_exist and chosen.missing:
            raise Failure(
                f"there is no store at {chosen.shown} yet",
                exit_code=NOT_FOUND,
                hint="submit a job first, or choose another store with --db PATH",
                code="no-store",
            )
        functions = self._app_engine.functions.registered.values() if self.settings.app else ()
        async with JobProcessor(chosen.target, enable_daemon=False, functions=functions) as jp:
            yield jp

    def start_hint(self, functions: Iterable[str] = (), *, name: str | None = None) -> str:
        """Return the command that starts a daemon for these functions, or the reason why there is none."""
        settings = self.settings
        given: Sequence[str] = self._flags.get("daemon.allowed_modules") or ()
        if settings.app is not None or settings.daemon.allowed_modules is not None:
            return start_command(given, name=name)
        modules = find_modules(functions)
        if modules:
            return start_command(modules, name=name)
        return "start a daemon: pass your program's JobProcessor with --app, or the modules of its jobs with --allow"

    async def start_hint_for(self, jp: JobProcessor) -> str:
        """Return the command that starts a daemon for the jobs that wait in the store."""
        waiting = await jp.find_jobs(JobQuery(status=JobStatus.PENDING, limit=_LOOKED_AT))
        return self.start_hint(job.func for job in waiting)

    async def warn_if_nobody_works(self, jp: JobProcessor) -> None:
        """Warn once while the command waits for jobs and no worker is alive, also if the last one dies meanwhile."""
        from asyncjobs.processor import get_engine
        from asyncjobs.runtime.no_worker_warning import warn_when_no_worker_lives

        start = await self.start_hint_for(jp)

        def warn(_: str | None) -> None:
            self.out.warn("no worker is alive; waiting until one starts", start)

        get_engine(jp).start_soon(
            lambda: warn_when_no_worker_lives(
                jp.backend, jp.clock, awaited=lambda: [""], followed=lambda: True, warn=warn
            )
        )

    @property
    def _app_engine(self) -> Engine:
        from asyncjobs.processor import get_engine

        return get_engine(self.app)

    @cached_property
    def app(self) -> JobProcessor:
        """Return the processor that ``--app module:attribute`` names, not running.

        :raises Failure: it cannot be imported, or is not a processor.
        """
        from asyncjobs.processor import JobProcessor

        name = self.settings.app
        if name is None:
            raise Failure("no application is configured", exit_code=USAGE, hint="--app module:attribute")
        module_name, _, attribute = name.partition(":")
        found = self._import(module_name, attribute)
        setattr(sys.modules[module_name], APP_MARK, True)
        if not isinstance(found, JobProcessor):
            raise Failure(f"{name} is not a JobProcessor (it is of type {type(found).__name__})", exit_code=USAGE)
        return found

    @cached_property
    def redact(self) -> Callable[[str, Any], Any] | None:
        """Return the function of the setting ``redact``, which hides secrets; None shows everything.

        :raises Failure: it cannot be imported.
        """
        return None if self.settings.redact is None else self.function(self.settings.redact)

    def function(self, target: str) -> Callable[..., Any]:
        """Return the function ``module:name``, imported from the working directory or an installed package.

        :raises Failure: the function does not exist.
        """
        module_name, colon, name = target.partition(":")
        if not colon or not name:
            raise Failure(f"{target!r} does not name a function", exit_code=USAGE, hint="use the form module:function")
        found = self._import(module_name, name)
        if not callable(found):
            raise Failure(f"{target} is not callable (it is of type {type(found).__name__})", exit_code=USAGE)
        return found

    def job_function(self, target: str) -> Callable[..., Any]:
        """Return the function of a job by its stored name, which may begin with an adapter: ``crew+module:factory``.

        :raises Failure: the function or its adapter does not exist.
        """
        problem = find_adapter_problem(target)
        if problem is not None:
            raise Failure(problem, exit_code=USAGE)
        adapter, name = split_name(target)
        return self.function(name) if adapter is None else adapted(adapter, self.function(name))

    def _import_module(self, module_name: str) -> Any:
        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.insert(0, folder)
        try:
            with interruptible():
                return import_module(module_name)
        except (Exception, SystemExit) as error:  # border: code of the program, which may also exit
            raise Failure(
                f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}",
                exit_code=USAGE,
                hint=f"searched from {folder}",
            ) from error

    def _import(self, module_name: str, attribute: str) -> Any:
        found = self._import_module(module_name)
        for part in attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                near = nearest(part, dir(found))
                hint = f"did you mean {near!r}?" if near else None
                raise Failure(f"{module_name!r} has no {attribute!r}", exit_code=USAGE, hint=hint) from None
        return found

    async def job_id(self, jp: JobProcessor, given: str) -> str:
        """Return the job id for a given id or unique prefix.

        :raises Failure: no id matches, or several do.
        """
        if await jp.backend.get_jobs([given]):
            return given
        if len(given) < AT_LEAST:
            await self._too_short(jp, given)
        found = await jp.backend.find_ids(given, 6)
        if len(found) == 1:
            return found[0]
        if not found:
            await jp.get_job(given)
        listed = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
        raise Failure(f"{given!r} is a prefix of several ids: {listed}", exit_code=USAGE, code="ambiguous")

    async def _too_short(self, jp: JobProcessor, given: str) -> None:
        """Refuse a prefix of an id that is too short.

        :raises Failure: always.
        """
        found = await jp.backend.find_ids(given, 6) if given else ()
        if not found:
            await jp.get_job(given)  # raises an error that names the nearest id
        listed = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
        raise Failure(
            f"there is no job {given!r}",
            exit_code=NOT_FOUND,
            hint=f"an id prefix needs at least {AT_LEAST} characters; ids with this prefix: {listed}",
            code="job-not-found",
        )


def _given(*options: tuple[str, object]) -> list[str]:
    return [part for name, value in options if value is not None for part in (name, str(value))]


pass_context = click.make_pass_decorator(Context)


def command(function: Callable[Concatenate[Context, P], Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a click command of an async body that takes the ``Context``: see ``Context.run``."""

    @pass_context
    @wraps(function)
    def run(context: Context, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def body() -> T:
            return await function(context, *args, **kwargs)

        return context.run(body)

    return run
