"""Define the settings: frozen objects that are checked when they are made."""

from __future__ import annotations

from asyncjobs.config.checked import MEBIBYTE, Checked
from asyncjobs.config.daemon import DaemonConfig
from asyncjobs.config.logs import LoggingConfig
from asyncjobs.config.sqs import SQSConfig
from asyncjobs.config.stores import BackendConfig, BackendType, MemoryConfig, SQLiteConfig

__all__ = [
    "MEBIBYTE",
    "BackendConfig",
    "BackendType",
    "Checked",
    "DaemonConfig",
    "LoggingConfig",
    "MemoryConfig",
    "SQLiteConfig",
    "SQSConfig",
]
