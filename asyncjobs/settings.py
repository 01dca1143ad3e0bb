"""Load settings from a file, the environment and flags, with the source of each value.

The order, first wins: flags, ``ASYNCJOBS_*`` variables, the file of ``--config`` or ``ASYNCJOBS_CONFIG``, the project's
``asyncjobs.toml`` or ``[tool.asyncjobs]`` in its ``pyproject.toml``, the user's own file, the defaults.

::

    app = "shop.jobs:jp"            # the processor that the command line works with
    redact = "shop.jobs:redact"     # what commands and ``asyncjobs web`` show of values

    [sqlite]                        # SQLiteConfig
    db_path = "jobs.db"

    [sqs]                           # SQSConfig, with backend = "sqs"
    table = "jobs"
    queues = { images = "jobs-images" }

    [daemon]                        # DaemonConfig
    num_workers = 8
    shutdown_timeout = "2m"

    [logging]                       # LoggingConfig
    format = "json"
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
import types
import typing
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from msgspec import Struct

from asyncjobs.config import (
    BackendConfig,
    BackendType,
    Checked,
    DaemonConfig,
    LoggingConfig,
    MemoryConfig,
    SQLiteConfig,
    SQSConfig,
)
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.spellings import nearest

T = TypeVar("T", bound=Checked)

PREFIX = "ASYNCJOBS_"
FILE = "asyncjobs.toml"
SECTIONS: dict[str, type[Checked]] = {
    "sqlite": SQLiteConfig,
    "sqs": SQSConfig,
    "daemon": DaemonConfig,
    "logging": LoggingConfig,
}
_TOP = ("app", "backend", "redact")
REDACT = "asyncjobs.web:redact_secrets"
"""The function that hides values under keys that look secret."""
_SHORT = {"DB": "sqlite.db_path", "APP": "app", "BACKEND": "backend"}
DETACHED = f"{PREFIX}DETACHED"
"""Set for a daemon that was started in the background."""
_UNRUNNABLE_AFTER = 600.0
_FLAGS = {"sqlite.db_path": "db", "daemon.queues": "queue", "daemon.allowed_modules": "allow"}
WEB_TOKEN = f"{PREFIX}WEB_TOKEN"
"""The token of the HTTP interface that a command serves or asks. It is no setting, so that nothing prints it."""
_NOT_SETTINGS = frozenset({"CONFIG", "DETACHED", "WEB_TOKEN"})
_OF_TESTS = "TEST_"
"""How the names of variables begin that are never settings."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZES = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)")


class Origin(Struct, frozen=True):
    """A given value, and its source: ``the flag --db``, ``ASYNCJOBS_DB``, ``asyncjobs.toml``."""

    value: Any
    source: str


class Settings(Struct, frozen=True, kw_only=True):
    """The settings in effect. ``origins`` has those that were given, by dotted name (``daemon.num_workers``).

    ``redact`` names the function that returns what commands and ``asyncjobs web`` may show of a value; None shows
    everything. ``file`` is the file that was read, None without one.
    """

    app: str | None = None
    backend: BackendType = BackendType.SQLITE
    redact: str | None = REDACT
    sqlite: SQLiteConfig
    sqs: SQSConfig
    daemon: DaemonConfig
    logging: LoggingConfig
    origins: Mapping[str, Origin]
    file: Path | None = None

    @property
    def backend_config(self) -> BackendConfig:
        """Return the settings of the chosen backend."""
        return _config_of(self.backend, self.sqlite, self.sqs)

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Yield dotted name, value and source of every setting."""
        yield "app", self.app, self._source("app")
        yield "backend", self.backend.value, self._source("backend")
        yield "redact", self.redact, self._source("redact")
        for section in SECTIONS:
            config = getattr(self, section)
            for field in dataclasses.fields(config):
                name = f"{section}.{field.name}"
                yield name, getattr(config, field.name), self._source(name)

    @property
    def of_command(self) -> dict[str, Any]:
        """Return the fields of ``DaemonConfig`` that ``asyncjobs daemon start`` sets otherwise, unless they were given.

        A job that no daemon may run would wait for good: in a program, its author is there to see it.
        """
        return {} if "daemon.unrunnable_after" in self.origins else {"unrunnable_after": _UNRUNNABLE_AFTER}

    def _source(self, name: str) -> str:
        origin = self.origins.get(name)
        return "default" if origin is None else origin.source


def flag_of(name: str) -> str:
    """Return the flag that sets a setting, if one does, without its dashes: ``num-workers``."""
    return _FLAGS.get(name) or name.rpartition(".")[2].replace("_", "-")


def load(
    *,
    config: str | os.PathLike[str] | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Settings:
    """Read all sources and check the values: ``JobProcessor(settings.load().sqlite)``.

    Of each setting, the first source that has it wins: ``flags``, the environment (``ASYNCJOBS_DB``,
    ``ASYNCJOBS_SQLITE_SYNCHRONOUS``, …), one file, the default. The file is the first that there is of

    1. ``config``, or the one that ``ASYNCJOBS_CONFIG`` names: if it is missing, that is an error
    2. ``asyncjobs.toml``, or a ``pyproject.toml`` with ``[tool.asyncjobs]``, in ``folder`` or the nearest folder
       above it, but not above a repository
    3. ``asyncjobs/config.toml`` in ``XDG_CONFIG_HOME`` (``~/.config``)

    Without one, the defaults apply; ``Settings.file`` is None then. So a program that may be started in any folder
    names the file. A relative ``db_path`` in a file is beside the file.

    :param config: the file to read. Default: it is looked for.
    :param flags: values by dotted name that win over everything; None values were not given.
    :param environ: default: the process's.
    :param folder: where the search for a file begins. Default: the working directory.
    :raises ConfigurationError: an unknown name, or a value that cannot work, with the source and the nearest name.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Origin] = {}
    file = _find(config or environ.get(f"{PREFIX}CONFIG"), Path(folder or Path.cwd()), environ)
    if file is not None:
        given |= _from_file(file)
    given |= _from_environment(environ)
    for name, value in (flags or {}).items():
        if value is not None:
            flag = flag_of(name)
            given[name] = Origin(value, f"the flag --{flag}")
    if (flags or {}).get("sqlite.db_path") is not None and "backend" in given:
        given["backend"] = Origin(BackendType.SQLITE.value, "the flag --db")  # only SQLite has a file
    sections = {name: _section(name, kind, given) for name, kind in SECTIONS.items()}
    backend = _backend(given.get("backend"))
    sqlite, sqs = cast("SQLiteConfig", sections["sqlite"]), cast("SQSConfig", sections["sqs"])
    daemon = cast("DaemonConfig", sections["daemon"])
    with _named_in("daemon", given):
        daemon = daemon.for_store(_config_of(backend, sqlite, sqs))
    return Settings(
        app=_named("app", given.get("app"), "module:attribute, such as 'shop.jobs:jp'"),
        backend=backend,
        redact=_redact(given.get("redact")),
        sqlite=sqlite,
        sqs=sqs,
        daemon=daemon,
        logging=cast("LoggingConfig", sections["logging"]),
        origins=given,
        file=file,
    )


def _config_of(backend: BackendType, sqlite: SQLiteConfig, sqs: SQSConfig) -> BackendConfig:
    match backend:
        case BackendType.SQLITE:
            return sqlite
        case BackendType.SQS:
            return sqs
        case BackendType.MEMORY:
            return MemoryConfig()


# -- where values come from


def _find(named: str | os.PathLike[str] | None, folder: Path, environ: Mapping[str, str]) -> Path | None:
    if named:
        file = Path(named).expanduser()
        if not file.is_file():
            raise ConfigurationError("config", str(named), problem=f"there is no configuration file {str(named)!r}")
        return file
    for parent in (folder.absolute(), *folder.absolute().parents):
        if (parent / FILE).is_file():
            return parent / FILE
        project = parent / "pyproject.toml"
        if project.is_file() and _read_table(project) is not None:
            return project
        if (parent / ".git").exists():
            break  # what is above a repository does not belong to it
    home = environ.get("XDG_CONFIG_HOME") or (Path(environ["HOME"]) / ".config" if environ.get("HOME") else None)
    own = None if home is None else Path(home) / "asyncjobs" / "config.toml"
    return own if own is not None and own.is_file() else None


def _read_table(file: Path) -> dict[str, Any] | None:
    """Return the settings in a file, or None for a pyproject.toml without any."""
    try:
        with file.open("rb") as opened:
            document = tomllib.load(opened)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("config", str(file), problem=f"{file} is not TOML: {error}") from error
    if file.name == "pyproject.toml":
        return document.get("tool", {}).get("asyncjobs")
    return document


def _from_file(file: Path) -> dict[str, Origin]:
    given: dict[str, Origin] = {}
    for name, value in (_read_table(file) or {}).items():
        if name in SECTIONS and isinstance(value, dict):
            for field, inner in cast("dict[str, Any]", value).items():
                _check_name(f"{name}.{field}", str(file))
                given[f"{name}.{field}"] = Origin(inner, str(file))
        else:
            _check_name(name, str(file))
            given[name] = Origin(value, str(file))
    path = given.get("sqlite.db_path")
    if path is not None and isinstance(path.value, str):  # beside the file, wherever the program is started
        given["sqlite.db_path"] = Origin(str(file.parent / Path(path.value).expanduser()), path.source)
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[str, Origin]:
    given: dict[str, Origin] = {}
    names = {name.upper().replace(".", "_"): name for name in _names()} | _SHORT
    for variable, value in environ.items():
        key = variable.removeprefix(PREFIX)
        if key == variable or key in _NOT_SETTINGS or key.startswith(_OF_TESTS):
            continue
        name = names.get(key)
        if name is None:
            near = nearest(key, {*names, "WEB_TOKEN"})
            if near is None:
                continue  # not like any setting: a variable of another program
            raise ConfigurationError(
                variable,
                value,
                problem=f"the environment variable {variable} is not a setting",
                hint=f"did you mean {PREFIX}{near}?",
            )
        given[name] = Origin(value, variable)
    return given


def _names() -> list[str]:
    names: list[str] = [*_TOP]
    for section, kind in SECTIONS.items():
        names += [f"{section}.{field.name}" for field in dataclasses.fields(cast("Any", kind))]
    return names


def _check_name(name: str, source: str) -> None:
    known = _names()
    if name not in known:
        section, dot, field = name.partition(".")
        fields = [other.partition(".")[2] for other in known if other.startswith(f"{section}.")] if dot else []
        near = nearest(field, fields) if fields else nearest(name, [*known, *SECTIONS])
        if near is not None and fields:
            near = f"{section}.{near}"
        # Listed here, because a command that shows the settings would read the same file and fail likewise.
        there = [f"{section}.{other}" for other in fields] or [*_TOP, *(f"[{other}]" for other in SECTIONS)]
        raise ConfigurationError(
            name,
            problem=f"{source}: {name} is not a setting",
            hint=f"did you mean {near!r}?" if near else f"known settings: {', '.join(there)}",
        )


# -- what values are


def _section(section: str, kind: type[T], given: Mapping[str, Origin]) -> T:
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cast("Any", kind)):
        origin = given.get(f"{section}.{field.name}")
        if origin is not None:
            values[field.name] = _value(f"{section}.{field.name}", origin, hints[field.name])
    with _named_in(section, given):
        return kind(**values)


@contextmanager
def _named_in(section: str, given: Mapping[str, Origin]) -> Generator[None]:
    """Name the source of a value that a section refuses."""
    try:
        yield
    except ConfigurationError as error:
        name = f"{section}.{error.field.rpartition('.')[2]}"
        origin = given.get(name)
        if origin is None:
            raise
        raise _bad(name, origin, error.allowed or str(error.args[0]), hint=error.hint) from None


def _value(name: str, origin: Origin, hint: Any) -> Any:
    """Return a value as its field needs it."""
    value = origin.value
    if isinstance(value, list):
        return tuple(cast("list[Any]", value))
    return _parsed(name, origin, value, _kinds(hint)) if isinstance(value, str) else value


def _parsed(name: str, origin: Origin, value: str, kinds: set[Any]) -> Any:
    """Parse a string. The cases, in this order: empty for None; yes or no; a number with its unit; a list; pairs; a
    text.

    :raises ConfigurationError: the string is not a valid value of the field.
    """
    text = value.strip()
    if text == "" and type(None) in kinds:
        return None
    if bool in kinds:
        return _boolean(name, origin, text)
    if int in kinds or float in kinds:
        number = _number(text, whole=float not in kinds)
        if number is not None:
            return number
        if str not in kinds:
            raise _bad(name, origin, f"a number, such as {_example(name, whole=float not in kinds)}")
    if tuple in kinds:
        return tuple(_split(text))
    if Mapping in kinds:
        return _pairs(name, origin, text)
    return value


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pairs(name: str, origin: Origin, text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _split(text)]
    if not all(equals and key.strip() for key, equals, _ in pairs):
        raise _bad(name, origin, "pairs, such as 'images=jobs-images, mails=jobs-mails'")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _example(name: str, *, whole: bool) -> str:
    if not whole:
        return "1.5, '30s' or '2h'"
    return "1000000 or '10MB'" if name.endswith(("_size", "_bytes")) else "8"


def _kinds(hint: Any) -> set[Any]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return {kind for option in typing.get_args(hint) for kind in _kinds(option)}
    if origin is Literal:
        return {str}
    return {origin or hint}


def _number(text: str, *, whole: bool) -> int | float | None:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        pass
    match = _AMOUNT.fullmatch(text)
    units: Mapping[str, float] = _SIZES if whole else _UNITS
    if match is None or match[2].lower() not in units:
        return None
    amount = float(match[1]) * units[match[2].lower()]
    return round(amount) if whole else amount


def duration(text: str) -> float:
    """Return the seconds of ``30s``, ``5m``, ``2h``, ``1d``, or of a plain number.

    :raises ValueError: the text is neither.
    """
    number = _number(text.strip(), whole=False)
    if number is None:
        raise ValueError(f"{text!r} is not a duration; use 30s, 5m, 2h or 1d")
    return float(number)


def _boolean(name: str, origin: Origin, text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
        case _:
            raise _bad(name, origin, "true or false")


def _named(name: str, origin: Origin | None, allowed: str) -> str | None:
    if origin is None:
        return None
    if not (isinstance(origin.value, str) and re.fullmatch(r"[\w.]+:[\w.]+", origin.value)):
        raise _bad(name, origin, allowed)
    return origin.value


def _redact(origin: Origin | None) -> str | None:
    if origin is None:
        return REDACT
    if origin.value == "":
        return None
    return _named("redact", origin, "module:function, such as 'shop.jobs:redact', or '' to show everything")


def _backend(origin: Origin | None) -> BackendType:
    if origin is None:
        return BackendType.SQLITE
    try:
        return BackendType(origin.value)
    except ValueError:
        raise _bad("backend", origin, " or ".join(repr(kind.value) for kind in BackendType)) from None


def _bad(name: str, origin: Origin, allowed: str, *, hint: str | None = None) -> ConfigurationError:
    problem = f"{name} cannot be {origin.value!r} (from {origin.source}); allowed: {allowed}"
    return ConfigurationError(name, origin.value, allowed=allowed, problem=problem, hint=hint)
