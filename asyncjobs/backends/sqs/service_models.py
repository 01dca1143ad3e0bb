"""Read what botocore has to know of the services, once for a process, and so that the garbage collector skips most."""

from __future__ import annotations

import functools
import gzip
import os
from pathlib import Path
from typing import Any

import msgspec

_USED = ("dynamodb", "sqs", "s3", "sts", "portal.sso", "oidc", "signin")
"""Names in the list of endpoints: what a store keeps itself in, and where credentials come from."""


class PlainReader:
    """Reads the files of botocore into plain dicts.

    botocore makes 21,000 OrderedDicts, and each full collection of garbage visits them all, while the event loop stands
    still. Most are of services that nobody calls; of the rest, many are empty or have texts only, and a dict that is so
    is not visited.
    """

    _OPENED = ((".json", Path.open), (".json.gz", gzip.open))

    def exists(self, path: str) -> bool:
        """Return whether there is a file of this path and any ending."""
        return any(os.path.isfile(path + ending) for ending, _ in self._OPENED)

    def load_file(self, path: str) -> Any:
        """Return the content of the file of this path and any ending; None if there is none."""
        for ending, opened in self._OPENED:
            file = Path(path + ending)
            if file.is_file():
                with opened(file, "rb") as stream:
                    content: Any = msgspec.json.decode(stream.read())
                return _of_used(content) if Path(path).name == "endpoints" else content
        return None


def _of_used(endpoints: Any) -> Any:
    """Leave only the addresses of services that this process can call; botocore derives others by the same rule."""
    for partition in endpoints.get("partitions", ()):  # without any, botocore says what is wrong
        services = partition.get("services", {})
        partition["services"] = {name: services[name] for name in _USED if name in services}
    return endpoints


def sharing(session: Any) -> Any:
    """Let a session use what others have read of the services. Reading it takes most of the time of making a client."""
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@functools.cache
def _loader(path: str | None) -> Any:
    import botocore.loaders as loaders

    make: Any = loaders.create_loader  # pyright: ignore[reportUnknownVariableType] - botocore has no types
    loader = make(path)
    loader.file_loader = PlainReader()
    return loader
