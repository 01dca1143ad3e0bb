"""Write service files that run a daemon, each with the command line in the syntax of its reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import json


@dataclass(frozen=True)
class Unit:
    """The contents of a service file.

    :param python: the interpreter that is installed here; in an image, it is ``python``.
    :param store: the database here; in an image, it is on the volume.
    :param root: options before the command (``--app shop:jp``), without ``--db``.
    :param start: options of ``daemon start``.
    :param name: the name of the daemon, for its health check.
    :param environment: settings that come from variables.
    :param timeout: seconds that it may take to stop.
    """

    python: str
    folder: str
    store: str
    root: Sequence[str]
    start: Sequence[str]
    name: str
    environment: Mapping[str, str]
    timeout: int

    def command(self, python: str, store: str) -> list[str]:
        """Return the words of the command that runs the daemon."""
        return [python, "-m", "asyncjobs", "--db", store, *self.root, "daemon", "start", *self.start]

    def check(self, python: str, store: str) -> list[str]:
        """Return the words of its health check."""
        return [python, "-m", "asyncjobs", "--db", store, "daemon", "status", "--check", "--name", self.name]


def systemd(unit: Unit) -> str:
    """Write a systemd unit. ``mixed``: only the daemon gets SIGTERM, so that jobs in child processes can continue."""
    command = " ".join(map(_systemd_word, unit.command(unit.python, unit.store)))
    environment = "".join(
        f"Environment={_systemd_word(f'{name}={value}', variables=False)}\n" for name, value in unit.environment.items()
    )
    return f"""\
[Unit]
Description=asyncjobs daemon
After=network.target

[Service]
Type=notify
WorkingDirectory={unit.folder.replace("%", "%%")}
{environment}ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
TimeoutStopSec={unit.timeout}
WatchdogSec=30
Restart=on-failure
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target"""


def docker(unit: Unit) -> str:
    """Write a compose file."""
    environment = f"    environment: {_compose(dict(unit.environment))}\n" if unit.environment else ""
    return f"""\
# The store must be on a local volume: SQLite's locks do not work over a network.
services:
  jobs:
    build: .
    command: {_compose(unit.command("python", _ON_VOLUME))}
{environment}    volumes: ["jobs:/data"]
    init: true
    stop_grace_period: {unit.timeout}s
    healthcheck:
      test: {_compose(["CMD", *unit.check("python", _ON_VOLUME)])}
volumes:
  jobs: {{}}"""


def k8s(unit: Unit) -> str:
    """Write a stateful set of one pod."""
    variables = [{"name": name, "value": _no_expansion(value)} for name, value in unit.environment.items()]
    environment = f"          env: {_flow(variables)}\n" if variables else ""
    command = [_no_expansion(word) for word in unit.command("python", _ON_VOLUME)]
    return f"""\
# One pod: the store is a file on a volume that only one node mounts. IMAGE is yours to name.
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: jobs}}
spec:
  serviceName: jobs
  replicas: 1
  selector: {{matchLabels: {{app: jobs}}}}
  template:
    metadata: {{labels: {{app: jobs}}}}
    spec:
      terminationGracePeriodSeconds: {unit.timeout}
      containers:
        - name: daemon
          image: IMAGE
          command: {_flow(command)}
{environment}          volumeMounts: [{{name: data, mountPath: /data}}]
          livenessProbe:
            exec: {{command: {_flow(unit.check("python", _ON_VOLUME))}}}
            periodSeconds: 15
            timeoutSeconds: 10
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}"""


_ON_VOLUME = "/data/jobs.db"
UNITS: Mapping[str, Callable[[Unit], str]] = {"docker": docker, "k8s": k8s, "systemd": systemd}


def _systemd_word(word: str, *, variables: bool = True) -> str:
    """Quote a word by systemd.syntax(7). ``variables``: ``$`` begins a variable here."""
    word = word.replace("%", "%%")
    if variables:
        word = word.replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", word, re.ASCII):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _flow(value: object) -> str:
    """Return a value on one line of YAML, as JSON."""
    return json.encode(value).decode()


def _compose(value: object) -> str:
    # Compose puts variables in everywhere.
    return _flow(value).replace("$", "$$")


def _no_expansion(word: str) -> str:
    return word.replace("$(", "$$(")
