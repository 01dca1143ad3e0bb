"""Make the backend that a user names. Only this module knows all backends, and imports each on first use."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any, Literal, TypeGuard, get_args

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import is_a
from asyncjobs.clock import Clock, SystemClock
from asyncjobs.config import BackendConfig, BackendType, DaemonConfig, MemoryConfig, SQLiteConfig, SQSConfig
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.spellings import nearest

AWSRole = Literal["worker", "submitter", "reader"]
AWS_ROLES: tuple[AWSRole, ...] = get_args(AWSRole)
_CONFIGS: dict[BackendType, type[BackendConfig]] = {
    BackendType.SQLITE: SQLiteConfig,
    BackendType.SQS: SQSConfig,
    BackendType.MEMORY: MemoryConfig,
}


def make_backend(
    backend: BackendType | str | os.PathLike[str] | BackendConfig | JobBackend,
    config: BackendConfig | None,
    clock: Clock,
) -> tuple[JobBackend, BackendConfig]:
    """Return the selected backend, not opened yet, and its settings.

    :raises ConfigurationError: the kind is unknown, or the settings are of another kind.
    """
    # An object is used as it is. A path and settings are complete by themselves; only a name takes settings beside it.
    if is_a(backend, JobBackend):
        _refuse_beside(config, "config= has no meaning beside a backend object", "configure the object")
        return backend, getattr(backend, "config", None) or BackendConfig()
    if is_path(backend):
        _refuse_beside(config, "a path needs no config=", "put it into the settings: SQLiteConfig(db_path=…)")
        config = SQLiteConfig(db_path=backend)
    elif is_a(backend, BackendConfig):
        _refuse_beside(config, "the settings are given twice", "drop config=")
        config = backend
    else:
        config = _config_for(backend, config)
    return _construct(config, clock), config


def _refuse_beside(config: BackendConfig | None, problem: str, hint: str) -> None:
    if config is not None:
        raise ConfigurationError("config", config, problem=problem, hint=hint)


def _construct(config: BackendConfig, clock: Clock) -> JobBackend:
    if is_a(config, SQLiteConfig):
        from asyncjobs.backends.sqlite.backend import SQLiteBackend

        return SQLiteBackend(config, clock=clock)
    if is_a(config, MemoryConfig):
        from asyncjobs.backends.memory import MemoryBackend

        return MemoryBackend(config, clock=clock)
    if is_a(config, SQSConfig):
        from asyncjobs.backends.sqs.backend import SQSBackend

        # This store uses the clock of AWS, not that of this host; only tests pass one.
        return SQSBackend(config, clock=None if is_a(clock, SystemClock) else clock)
    raise ConfigurationError(
        "backend", config, allowed="a BackendType, SQLiteConfig, SQSConfig, MemoryConfig or a JobBackend"
    )


async def create_on_aws(config: SQSConfig, *, dry_run: bool) -> list[str]:
    """Create missing resources on AWS, and return a line about each; with ``dry_run`` only the lines."""
    from asyncjobs.backends.sqs import provisioning

    return await provisioning.create(config, dry_run=dry_run)


def aws_template(config: SQSConfig) -> str:
    """Return a CloudFormation template of the table, the queues and the bucket."""
    from asyncjobs.backends.sqs import cloudformation

    return cloudformation.template(config)


def aws_policy(config: SQSConfig, role: AWSRole) -> dict[str, Any]:
    """Return the smallest IAM policy for a process with this role."""
    from asyncjobs.backends.sqs import policies

    return policies.policy(config, role)


def is_path(backend: object) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether a file is meant: a ``Path``, or a text with a slash or a suffix. Any other text names a kind."""
    if is_a(backend, str):
        return "/" in backend or os.sep in backend or bool(PurePath(backend).suffix)
    return hasattr(type(backend), "__fspath__")


def _config_for(kind: object, config: BackendConfig | None) -> BackendConfig:
    names = [str(known) for known in BackendType]
    if not is_a(kind, str) or kind not in names:
        near = nearest(kind, names) if is_a(kind, str) else None
        hint = f"did you mean {near!r}?" if near else None
        if is_a(kind, str) and kind and not near:
            hint = f"a path has a slash or a suffix: './{kind}' or '{kind}.db'"
        if is_a(kind, DaemonConfig):
            hint = "JobProcessor(daemon=DaemonConfig(…))"
        allowed = (
            f"{', '.join(map(repr, names))}, a path, SQLiteConfig(…), SQSConfig(…), MemoryConfig(…) or a JobBackend"
        )
        raise ConfigurationError("backend", kind, allowed=allowed, hint=hint)
    wanted = _CONFIGS[BackendType(kind)]
    if config is None:
        return wanted()
    if not is_a(config, wanted):
        raise ConfigurationError("config", config, allowed=f"a {wanted.__name__} for the backend {kind!r}")
    return config
