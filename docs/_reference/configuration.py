"""The page of settings: from the structs of ``asyncjobs.config`` and what reads them."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import asyncjobs
from asyncjobs.cli.config import meanings, plain, toml
from asyncjobs.cli.start_options import StartOptions
from asyncjobs.config import BackendType
from asyncjobs.settings import PREFIX, REDACT, SECTIONS, WEB_TOKEN, flag_of

HEAD = f"""\
# Configuration

A program passes these as fields: `JobProcessor(SQLiteConfig(db_path=…), daemon=DaemonConfig(num_workers=8))`. Commands
and daemons read them from `asyncjobs.toml` (or the section `[tool.asyncjobs]` of `pyproject.toml`), the environment and
flags; a flag wins over a variable, a variable over the file. A program reads the same with `asyncjobs.settings.load()`:
[where it looks for the file](settings.md#read-the-configuration).

Durations are numbers of seconds, or texts such as `30s`, `5m`, `12h`, `7d`; sizes are numbers of bytes, or texts such
as `64MB`. `asyncjobs config show --origin` prints the settings in effect, and where each comes from.

Two variables are no settings: `{PREFIX}CONFIG` names the file, as `--config` does, and `{WEB_TOKEN}` has the token with
which `asyncjobs web` and `daemon start --http` serve the HTTP interface, and `doctor --url` asks it. No command prints
it.
"""
TOP = {
    "app": ("", "The `JobProcessor` of your program, for the command line: `package.module:jp`."),
    "backend": (
        toml(BackendType.SQLITE.value),
        f"The store: {', '.join(f'`{kind.value}`' for kind in BackendType)}. In memory, it is private to its process.",
    ),
    "redact": (
        toml(REDACT),
        "The function that gets a kind and a value, and returns what commands and the HTTP interface show of it. "
        "Empty: everything is shown. By default, values under keys that look secret are hidden.",
    ),
}
HAS_FLAG = {"app", "sqlite.db_path", *StartOptions("", None, (), (), (), None).flags}


def page() -> str:
    """Write the page."""
    parts = [HEAD, "## For all\n"]
    for name, (default, meaning) in TOP.items():
        parts += _setting(name, name, default, meaning)
    for section, kind in SECTIONS.items():
        parts.append(f"## \\[{section}\\]\n")
        if kind.__name__ in asyncjobs.__all__:
            parts.append(f"{{py:class}}`~asyncjobs.{kind.__name__}`\n")
        texts = meanings(kind)
        for field in dataclasses.fields(cast("Any", kind)):
            default = plain(field.default if field.default_factory is dataclasses.MISSING else field.default_factory())
            written = "" if default is None else toml(default)
            parts += _setting(f"{section}.{field.name}", field.name, written, " ".join(texts.get(field.name, ())))
    return "\n".join(parts)


def _setting(name: str, key: str, default: str, meaning: str) -> list[str]:
    variable = f"{PREFIX}{name.upper().replace('.', '_')}"
    places = f"`{variable}`" + (f", `--{flag_of(name)}`" if name in HAS_FLAG else "")
    shown = f"`{default}`" if default else "none"
    return [f"### {key}\n", f"{meaning[:1].upper()}{meaning[1:]}\n", f"{places}; default {shown}\n"]
