"""``asyncjobs config``: show, create and validate the configuration."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from pathlib import Path
from typing import Any, cast

import click

from asyncjobs.cli.context import Context, pass_context
from asyncjobs.cli.failures import REFUSED, Failure
from asyncjobs.cli.main import Named
from asyncjobs.cli.stores import shown
from asyncjobs.config import BackendType
from asyncjobs.plurals import counted
from asyncjobs.settings import FILE, REDACT, SECTIONS


@click.group(cls=Named)
def config() -> None:
    """Show, create and validate the configuration."""


@config.command()
@click.option("--origin", is_flag=True, help="Show the source of each value.")
@pass_context
def show(context: Context, origin: bool) -> None:
    """Show every setting and its current value."""
    rows = list(context.settings.rows())
    of_command = {f"daemon.{name}": plain(value) for name, value in context.settings.of_command.items()}
    out = context.out
    if out.json:
        items = {name: {"value": plain(value), "source": source} for name, value, source in rows}
        for name, value in of_command.items():
            items[name]["daemon_start"] = value
        out.data(items)
        return
    width = max(len(name) for name, _, _ in rows)
    for name, value, source in rows:
        shown_value = "" if value is None else toml(plain(value))
        given = f"  {out.style('#', 'cyan')} {source}" if origin else ""
        if name in of_command:
            given += f"{', ' if given else '  # '}{toml(of_command[name])} for 'daemon start'"
        out.text(f"{name:{width}} = {shown_value}{given}")


@config.command()
@pass_context
def validate(context: Context) -> None:
    """Read the configuration and check that it is valid."""
    settings = context.settings
    where = shown(settings.file) if settings.file is not None else "no file"
    context.out.good(f"the configuration is valid ({where}, {counted(len(settings.origins), 'setting')} given)")


@config.command()
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@pass_context
def init(context: Context, force: bool) -> None:
    """Write an asyncjobs.toml with every setting, its meaning and its default."""
    file = Path(FILE)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL), 0o644)
    except FileExistsError:
        raise Failure(f"{FILE} already exists", exit_code=REFUSED, hint="--force overwrites it") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(template())
    context.out.good(f"{FILE} written: every setting with its default, commented out")


def template() -> str:
    """Return a configuration file with every setting commented out."""
    lines = [
        "# Settings of asyncjobs. Settings that are commented out show their defaults.",
        "# Environment variables (ASYNCJOBS_DAEMON_NUM_WORKERS) and flags take precedence over this file.",
        "",
        "# The JobProcessor of your program, for the command line.",
        '# app = "package.module:jp"',
        "",
        f"# The store: {' or '.join(kind.value for kind in BackendType)}; in memory, it is private to its process.",
        f"# backend = {toml(BackendType.SQLITE.value)}",
        "",
        "# The function that gets a kind and a value, and returns what commands and the HTTP interface show of it.",
        "# Empty: everything is shown. Default: values under keys that look secret are hidden.",
        f"# redact = {toml(REDACT)}",
    ]
    for section, kind in SECTIONS.items():
        lines += ["", f"[{section}]"]
        texts = meanings(kind)
        for field in dataclasses.fields(cast("Any", kind)):
            lines += ["", *(f"# {line}" for line in texts.get(field.name, ()))]
            default = plain(field.default if field.default_factory is dataclasses.MISSING else field.default_factory())
            lines.append(f"# {field.name} = {'…' if default is None else toml(default)}")
    return "\n".join(lines) + "\n"


def meanings(kind: type[Any]) -> dict[str, list[str]]:
    """Return the text of each ``:param`` of a class and the classes that it inherits from."""
    found: dict[str, list[str]] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        for match in re.finditer(r"^:param (\w+): (.*(?:\n {4}.*)*)", text, re.MULTILINE):
            found[match[1]] = [line.strip().replace("``", "") for line in match[2].splitlines()]
    return found


def plain(value: Any) -> Any:
    """Return the value of a setting as TOML knows it."""
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in cast("list[Any]", value)) + "]"
    if isinstance(value, dict):
        pairs = [f"{toml(key)} = {toml(inner)}" for key, inner in cast("dict[str, Any]", value).items()]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    return str(value)
