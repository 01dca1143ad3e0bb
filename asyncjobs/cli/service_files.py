"""Write service files that run a daemon, each with the command line in the syntax of its reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import json

from asyncjobs.settings import WEB_TOKEN


@dataclass(frozen=True)
class Unit:
    """The contents of a service file.

    :param python: the interpreter that is installed here; in an image, it is ``python``.
    :param store: the database here; in an image, it is on the volume. None: the store is a service on the network,
        which ``root`` and ``environment`` name.
    :param root: options before the command (``--app shop:jp``), without ``--db``.
    :param start: options of ``daemon start``.
    :param name: the name of the daemon, for its health check.
    :param environment: settings that come from variables.
    :param http: host and port on which it serves the HTTP interface; None: it does not.
    :param timeout: seconds that it may take to stop.
    """

    python: str
    folder: str
    store: str | None
    root: Sequence[str]
    start: Sequence[str]
    name: str
    environment: Mapping[str, str]
    timeout: int
    http: tuple[str, int] | None = None

    def command(self, python: str, store: str | None) -> list[str]:
        """Return the words of the command that runs the daemon."""
        file = () if store is None else ("--db", store)
        return [python, "-m", "asyncjobs", *file, *self.root, "daemon", "start", *self.start]

    def check(self, python: str, store: str | None) -> list[str]:
        """Return the words of its health check."""
        named = self.root if store is None else ("--db", store)
        return [python, "-m", "asyncjobs", *named, "daemon", "status", "--check", "--name", self.name]


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
# The user that owns the store. Without this line, the daemon runs as root.
#User=jobs
WorkingDirectory={unit.folder.replace("%", "%%")}
# Its state file is in /var/lib/asyncjobs, since such a user may have no home. Other commands about this daemon find it
# there with XDG_STATE_HOME=/var/lib.
StateDirectory=asyncjobs
StateDirectoryMode=0700
Environment=XDG_STATE_HOME=%S
{environment}{_TOKEN_FILE if unit.http is not None else ""}ExecStart={command}
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
    # A variable without a value is that of compose; the token is in no file that is printed.
    token = {} if unit.http is None else {WEB_TOKEN: None}
    given = dict(unit.environment) | token
    environment = f"    environment: {_compose(given)}\n" if given else ""
    store, head, volume, volumes = _ON_VOLUME, _LOCAL_VOLUME, '    volumes: ["jobs:/data"]\n', "\nvolumes:\n  jobs: {}"
    if unit.store is None:
        store, head, volume, volumes = None, _CREDENTIALS, "", ""
    return f"""\
{head}
services:
  jobs:
    build: .
    command: {_compose(unit.command("python", store))}
{"" if unit.http is None else _ports(*unit.http)}{environment}{volume}    init: true
    stop_grace_period: {unit.timeout}s
    healthcheck:
      test: {_compose(["CMD", *unit.check("python", store)])}{volumes}"""


def _ports(host: str, port: int) -> str:
    """Write the port that is published, and what has to be known about the token."""
    from asyncjobs.cli.serving import is_own_host

    if is_own_host(host) or not port:
        more = f"--http 0.0.0.0:{port or 8484} also prints a port"
        return f"    # Nothing outside of the container reaches {host}:{port}. {more}.\n"
    return f"""\
    # For this host only, such as a proxy on it. Compose takes the token from its environment or from .env; without it,
    # every request is refused.
    ports: {_flow([f"127.0.0.1:{port}:{port}"])}
"""


def k8s(unit: Unit) -> str:
    """Write a stateful set of one pod, or a deployment for a store on the network."""
    return _stateful_set(unit) if unit.store is not None else _deployment(unit)


def _stateful_set(unit: Unit) -> str:
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
{_pod(unit, _ON_VOLUME, "          volumeMounts: [{name: data, mountPath: /data}]")}
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}"""


def _deployment(unit: Unit) -> str:
    return f"""\
# Any number of pods. IMAGE is yours to name.
{_CREDENTIALS}
apiVersion: apps/v1
kind: Deployment
metadata: {{name: jobs}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: jobs}}}}
  template:
    metadata: {{labels: {{app: jobs}}}}
{_pod(unit, None)}"""


def _pod(unit: Unit, store: str | None, *more: str) -> str:
    """Write the specification of a pod. ``more``: lines of its container."""
    variables = [{"name": name, "value": _no_expansion(value)} for name, value in unit.environment.items()]
    environment = [f"          env: {_flow(variables)}"] if variables else []
    command = [_no_expansion(word) for word in unit.command("python", store)]
    container = "\n".join([f"          command: {_flow(command)}", *environment, *more])
    return f"""\
    spec:
      terminationGracePeriodSeconds: {unit.timeout}
      containers:
        - name: daemon
          image: IMAGE
{container}
          livenessProbe:
            exec: {{command: {_flow(unit.check("python", store))}}}
            periodSeconds: 15
            timeoutSeconds: 10"""


_TOKEN_FILE = """\
# Has a line ASYNCJOBS_WEB_TOKEN=…, and is readable by root only. Without a token, HTTP answers this machine only.
#EnvironmentFile=/etc/asyncjobs.env
"""
_ON_VOLUME = "/data/jobs.db"
_LOCAL_VOLUME = "# The store must be on a local volume: SQLite's locks do not work over a network."
_CREDENTIALS = "# The store is on the network. Its credentials are not in this file."
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
