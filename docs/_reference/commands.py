"""The page of commands: from click, with the examples of ``--help``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from asyncjobs.cli import failures
from asyncjobs.cli.examples import EXAMPLES
from asyncjobs.cli.main import root

HEAD = """\
# Command line

`asyncjobs COMMAND --help` prints what is here. The [guide](../guides/daemon.md) shows how daemons are run.
"""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its path."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def page() -> str:
    """Write the page."""
    parts = [HEAD, "## Options of all commands\n", *_options(root), "\nMost can be given behind a command, too.\n"]
    for path, command in commands(root):
        arguments = "".join(f" {_argument(one)}" for one in command.params if isinstance(one, click.Argument))
        parts += [f"## {path}\n", f"`asyncjobs {path} [OPTIONS]{arguments}`\n"]
        parts.append(f"{inspect.cleandoc(command.help or '')}\n")
        parts += _options(command)
        parts += ["\n```shell", *EXAMPLES[path], "```\n"]
    return "\n".join([*parts, "## Exit codes\n", *_exit_codes()]) + "\n"


def _argument(argument: click.Argument) -> str:
    return argument.make_metavar(click.Context(click.Command("any")))


def _options(command: click.Command) -> list[str]:
    options = [
        one for one in command.params if isinstance(one, click.Option) and not (one.name or "").startswith("shared_")
    ]
    if not options:
        return []
    rows = ["| option | meaning | default |", "|---|---|---|"]
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.opts)
        value = "" if option.is_flag or option.count else f" `{_value(option)}`"
        rows.append(f"| {names}{value} | {_cell(option.help or '')} | {_default(option)} |")
    return rows


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "\\|".join(option.type.choices)
    return option.metavar or option.type.name.upper().removesuffix(" RANGE")


def _default(option: click.Option) -> str:
    shown = option.default
    if option.is_flag or option.count or option.multiple or not isinstance(shown, (str, int, float)):
        return ""
    return f"`{shown}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _exit_codes() -> list[str]:
    rows = ["| code | meaning |", "|---|---|"]
    for line in (inspect.getdoc(failures) or "").splitlines():
        code, _, meaning = line.partition("  ")
        if code.strip().isdigit():
            rows.append(f"| {code.strip()} | {meaning.strip()} |")
    return rows
