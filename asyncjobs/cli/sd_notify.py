"""Notify systemd that the daemon is ready, alive or stopping; without systemd, do nothing."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Speaks the ``sd_notify`` protocol to ``NOTIFY_SOCKET``."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")  # not for the processes that jobs start
        watchdog = os.environ.pop("WATCHDOG_USEC", "")
        for_whom = os.environ.pop("WATCHDOG_PID", "")
        mine = for_whom in ("", str(os.getpid()))
        self.watchdog = int(watchdog) / 2e6 if watchdog.isdigit() and mine and self._address else None
        """Seconds between two watchdog notifications, or None without a watchdog."""
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # Linux's abstract namespace

    def notify(self, **variables: str | int) -> None:
        """Send assignments, such as ``READY=1``."""
        if not self._address:
            return
        message = "\n".join(f"{name}={value}" for name, value in variables.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.connect(self._address)
            to.sendall(message.encode())
