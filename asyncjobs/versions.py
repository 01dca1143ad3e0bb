"""Look up installed versions."""

from __future__ import annotations

from functools import cache


@cache
def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, or None if it is not installed."""
    from importlib import metadata  # takes long to import, and is rarely needed

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def own_version() -> str:
    """Return the installed version of this package, or "0" if it runs from a folder."""
    return installed_version("asyncjobs-dag") or "0"
