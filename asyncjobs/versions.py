"""Look up installed versions, and the commands that install missing extras."""

from __future__ import annotations

import re
import shlex
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


def install_command(extra: str) -> str:
    """Return the command that installs an extra, from the metadata of the installed package."""
    from importlib.metadata import PackageNotFoundError, requires  # which takes long to import, and is rarely needed

    try:
        listed = requires("asyncjobs-dag") or []
    except PackageNotFoundError:  # run from a folder
        listed = []
    of_extra = [one.partition(";")[0].strip() for one in listed if re.search(rf"extra == ['\"]{extra}['\"]", one)]
    return f"pip install {shlex.join(of_extra or [f'.[{extra}]'])}" + ("" if of_extra else " in a clone of asyncjobs")
