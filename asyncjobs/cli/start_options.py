"""Define the options of ``daemon start``, which ``daemon unit`` takes as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from asyncjobs.cli.daemon_name import NAME

_OPTIONS = (
    NAME,
    click.option(
        "--http",
        metavar="[HOST]:PORT",
        help="Also serve the HTTP interface; needs the extra 'web'. With ASYNCJOBS_WEB_TOKEN in the environment, to "
        "callers that present this token, else to this machine.",
    ),
    click.option(
        "--allow",
        "allowed",
        multiple=True,
        metavar="MODULE",
        help="Run functions of this module or package. Repeatable.",
    ),
    click.option(
        "--preload",
        multiple=True,
        metavar="MODULE",
        help="Import this module before the first job is claimed. Repeatable.",
    ),
    click.option("--queue", "queues", multiple=True, help="Serve only this queue. Repeatable."),
    click.option("--num-workers", type=int, help="Maximum number of jobs that run at the same time."),
)


@dataclass(frozen=True)
class StartOptions:
    """The options that a daemon was started with, or is to be started with."""

    name: str
    http: str | None
    allowed: tuple[str, ...]
    preload: tuple[str, ...]
    queues: tuple[str, ...]
    num_workers: int | None

    @property
    def flags(self) -> dict[str, Any]:
        """Return the settings that the options set."""
        return {
            "daemon.num_workers": self.num_workers,
            "daemon.queues": list(self.queues) or None,
            "daemon.allowed_modules": list(self.allowed) or None,
            "daemon.preload": list(self.preload) or None,
        }

    @property
    def arguments(self) -> list[str]:
        """Return the options as words of a command line."""
        return [
            *(("--name", self.name) if self.name != "default" else ()),
            *(() if self.num_workers is None else ("--num-workers", str(self.num_workers))),
            *(word for queue in self.queues for word in ("--queue", queue)),
            *(word for module in self.allowed for word in ("--allow", module)),
            *(word for module in self.preload for word in ("--preload", module)),
            *(() if self.http is None else ("--http", self.http)),
        ]


def start_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which takes them as one ``StartOptions``."""

    @wraps(function)
    def run(
        *,
        name: str,
        http: str | None,
        allowed: tuple[str, ...],
        preload: tuple[str, ...],
        queues: tuple[str, ...],
        num_workers: int | None,
        **others: Any,
    ) -> None:
        function(StartOptions(name, http, allowed, preload, queues, num_workers), **others)

    command: Callable[..., None] = run
    for option in _OPTIONS:
        command = option(command)
    return command
