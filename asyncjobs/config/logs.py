"""Define how the command line and the daemon log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from asyncjobs.checks import is_a
from asyncjobs.config.checked import MEBIBYTE, Checked
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.spellings import nearest


@dataclass(frozen=True, kw_only=True)
class LoggingConfig(Checked):
    """How the command line and the daemon log. A processor inside a program adds no handler.

    :param level: lowest level that is written: ``"debug"``, ``"info"``, ``"warning"``, ``"error"``. Default ``"info"``.
    :param format: ``"text"`` for people, ``"json"`` and ``"logfmt"`` for programs. Default ``"auto"``: text on a
        terminal, logfmt otherwise.
    :param file: also write to this file; created with mode 0600, rotated. Default None.
    :param max_bytes: size after which the file is rotated. Default 10 MiB.
    :param backups: rotated files that are kept. Default 5.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json", "logfmt"] = "auto"
    file: str | os.PathLike[str] | None = None
    max_bytes: int = 10 * MEBIBYTE
    backups: int = 5

    def __post_init__(self) -> None:
        for name, allowed in (
            ("level", ("debug", "info", "warning", "error")),
            ("format", ("auto", "text", "json", "logfmt")),
        ):
            value = getattr(self, name)
            if not is_a(value, str) or value not in allowed:
                near = nearest(value, allowed) if is_a(value, str) else None
                hint = f"did you mean {near!r}?" if near else None
                raise ConfigurationError(f"LoggingConfig.{name}", value, allowed=", ".join(allowed), hint=hint)
        self._number("max_bytes", 4096, whole=True)
        self._number("backups", 0, 1000, whole=True)
