"""Rounds: a library, asyncjobs, the next library, asyncjobs, …; and the servers, which are fresh for each library."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

from benchmarks.peers.catalogue import Entry, Peer, limits, ours
from benchmarks.peers.environments import NotInstalledError, python_of, versions_of
from benchmarks.peers.running import Line, Settings, Taken, take
from benchmarks.peers.servers import NoServerError, server


class Rounds:
    """What was taken: ``runs``, and by library the ``versions`` of all that is installed for it.

    Everything is installed at first, so that it takes no time of the rounds. ``stack`` keeps the folder of what
    libraries print; it is worth nothing afterwards.
    """

    def __init__(self, settings: Settings, peers: Sequence[Entry], stack: ExitStack) -> None:
        self.runs: list[Taken] = []
        self.versions: dict[str, tuple[str, ...]] = {}
        self._settings = settings
        self._logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncjobs-peers-")))
        self._ours = cycle(ours())
        self._peers = peers
        self._pythons: dict[str, str] = {}
        self._missing: dict[str, str] = {}
        for entry in [*ours(), *peers]:
            self._install(entry.peer)

    def _install(self, peer: Peer) -> None:
        try:
            self._pythons[peer.name] = python_of(peer)
        except NotInstalledError as error:
            self._missing[peer.name] = str(error)
        else:
            self.versions[peer.name] = versions_of(self._pythons[peer.name])

    def take(self, number: int) -> None:
        """One round. After each library asyncjobs has a turn, NORMAL and FULL alternately, and both have one before."""
        for entry in [*limits(), *ours()]:
            self._take(number, entry)
        for entry in self._peers:
            self._take(number, entry)
            self._take(number, next(self._ours))

    def _take(self, number: int, entry: Entry) -> None:
        print(f"round {number + 1}: {entry.title} …", file=sys.stderr, flush=True)
        for line in self._lines(entry):
            self.runs.append(Taken(number, entry.name, line, os.getloadavg()[0]))
            if line.failed:
                print(f"  {line.scenario}: failed: {line.failed}", file=sys.stderr, flush=True)

    def _lines(self, entry: Entry) -> Iterator[Line]:
        """What becomes of each scenario: a library that cannot be installed fails in all, with the reason."""
        why = self._missing.get(entry.peer.name, "")
        if not why:
            try:
                python = self._pythons.get(entry.peer.name, sys.executable)
                log = self._logs / entry.name.replace(" ", "-")
                with _address(entry) as address:
                    yield from take(entry, python, address, self._settings, log)
                return
            except NoServerError as error:
                why = str(error)
        for scenario in self._settings.scenarios:
            yield Line(scenario, failed=why)


@contextmanager
def _address(entry: Entry) -> Generator[str]:
    if not entry.peer.server:
        yield ""
        return
    with server(entry.peer.server) as address:
        yield address
